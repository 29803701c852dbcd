"""Readable names of classes given by their WordNet ids ("n01440764")."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from distill.errors import InputError

__all__ = ["IMAGENETTE", "IMAGEWOOF", "read_words", "readable"]

IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
IMAGEWOOF = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}


def read_words(*files: Path) -> dict[str, str]:
    """The first name of each id, from the first of `files` that exists: lines of an id, white space and names."""
    for file in files:
        if file.is_file():
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"cannot read {file}: {error}; unpack it again") from error
            pairs = [line.split(maxsplit=1) for line in lines]
            return {pair[0]: pair[1].split(",")[0].strip() for pair in pairs if len(pair) == 2}
    return {}


def readable(wnids: Iterable[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """A name for each id: with the id appended where names are equal, the id itself where it has no name.

    The 1000 classes of ImageNet have names also when `words` is empty: torchvision's.
    """
    ids = list(wnids)
    if not words and len(ids) == 1000:
        from torchvision.models import ResNet18_Weights

        words = dict(zip(sorted(ids), ResNet18_Weights.IMAGENET1K_V1.meta["categories"], strict=True))
    names = [words.get(wnid, wnid) for wnid in ids]
    counts = Counter(names)
    return tuple(
        f"{name} ({wnid})" if counts[name] > 1 else name for name, wnid in zip(names, ids, strict=True)
    )
