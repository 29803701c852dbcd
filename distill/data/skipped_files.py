"""Files and folders among the images of a set that are skipped: counted, and named in a warning."""

import warnings
from collections.abc import Iterable
from pathlib import Path

from distill.data.decode import is_image
from distill.errors import InputWarning

__all__ = ["SkippedFiles"]

NAMED = 3  # of each kind


class SkippedFiles:
    """What is skipped in `folder`, by reason; true when there is something."""

    def __init__(self, folder: Path, entries: Iterable[Path] = ()) -> None:
        self.folder = folder
        self.others: list[Path] = []
        self.folders: list[Path] = []
        self.links: list[Path] = []
        self.outside: list[Path] = []
        self.add(*entries)

    def add(self, *entries: Path) -> None:
        """Add entries of a class folder that are no images."""
        for entry in entries:
            if entry.is_dir():
                self.folders.append(entry)
            elif entry.is_symlink() and not entry.exists():
                self.links.append(entry)
            else:
                self.others.append(entry)

    def add_beside_classes(self, entry: Path) -> None:
        """Add an entry beside the class folders if it is an image, or a broken link that may have been a class."""
        if entry.is_symlink() and not entry.exists():
            self.links.append(entry)
        elif is_image(entry):
            self.outside.append(entry)

    def __bool__(self) -> bool:
        return bool(self.others or self.folders or self.links or self.outside)

    def __str__(self) -> str:
        kinds = {
            "files that are no images": self.others,
            "folders within class folders": self.folders,
            "broken links": self.links,
            "images outside of class folders": self.outside,
        }
        return "; ".join(f"{len(found)} {kind}: {self._names(found)}" for kind, found in kinds.items() if found)

    def warn(self) -> None:
        """Warn about what is skipped, if anything."""
        if self:
            warnings.warn(f"skipped in {self.folder}: {self}", InputWarning, stacklevel=3)

    def _names(self, entries: list[Path]) -> str:
        names = [str(entry.relative_to(self.folder)) for entry in entries[:NAMED]]
        return ", ".join(names) + (", ..." if len(entries) > NAMED else "")
