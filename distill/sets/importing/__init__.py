"""Distilled sets that other programs saved, as sets of ours.

- `reader`: `import_set`, which puts all together.
- `files`, `class_folders`: images and labels out of array files, and out of folders of image files.
- `labels`, `preprocessing`: what the labels mean, and what the images have been through.
"""

from distill.sets.importing.preprocessing import parse_preprocessing
from distill.sets.importing.reader import Layout, import_set

__all__ = ["Layout", "import_set", "parse_preprocessing"]
