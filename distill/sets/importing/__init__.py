"""Distilled sets that other programs saved, as a `SyntheticSet`.

- `reader`: `import_set`.
- `files`, `class_folders`: images and labels from array files, and from folders of image files.
- `labels`, `preprocessing`: soft labels from either kind of labels; the preprocessing that the caller states.
"""

from distill.sets.importing.preprocessing import parse_preprocessing
from distill.sets.importing.reader import Layout, import_set

__all__ = ["Layout", "import_set", "parse_preprocessing"]
