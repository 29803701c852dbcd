"""The class of each image, as bytes."""

import numpy as np
import torch

from distill.sets.codecs.sealed import seal, unseal

__all__ = ["decode_class_ids", "encode_class_ids", "run_lengths", "width_of_ids"]

LONGEST_RUN = 0xFFFF


def width_of_ids(num_classes: int) -> str:
    """The NumPy type of one class id: 1 byte up to 256 classes, 2 up to 65 536, else 4."""
    return "<u1" if num_classes <= 1 << 8 else "<u2" if num_classes <= 1 << 16 else "<u4"


def encode_class_ids(class_ids: torch.Tensor, num_classes: int) -> bytes:
    """Class ids `(n,)` one by one, or as runs of equal ids where that takes fewer bytes; with a checksum.

    >>> len(encode_class_ids(torch.arange(10), 10)), len(encode_class_ids(torch.zeros(500, dtype=torch.int64), 10))
    (15, 8)
    """
    kind = width_of_ids(num_classes)
    ids = class_ids.detach().cpu().numpy().astype(kind)
    lengths = run_lengths(class_ids)
    plain = b"\0" + ids.tobytes()
    runs = b"\1" + ids[np.cumsum([0, *lengths])[:-1]].tobytes() + np.array(lengths).astype("<u2").tobytes()
    short = len(runs) < len(plain) and max(lengths) <= LONGEST_RUN
    return seal(runs if short else plain, _meant(len(ids), num_classes))


def decode_class_ids(payload: bytes, count: int, num_classes: int) -> torch.Tensor:
    """The `count` class ids of a payload, int64 `(n,)`; raises `InputError` when it is damaged."""
    body = unseal(payload, _meant(count, num_classes))
    kind = np.dtype(width_of_ids(num_classes))
    if body[0] == 0:
        ids = np.frombuffer(body[1:], kind)
    else:
        runs = (len(body) - 1) // (kind.itemsize + 2)
        end = 1 + runs * kind.itemsize
        ids = np.repeat(np.frombuffer(body[1:end], kind), np.frombuffer(body[end:], "<u2"))
    return torch.from_numpy(ids.astype(np.int64))


def run_lengths(class_ids: torch.Tensor) -> list[int]:
    """How many images of one class follow each other, again and again.

    >>> run_lengths(torch.tensor([5, 5, 5, 2, 5]))
    [3, 1, 1]
    """
    return torch.unique_consecutive(class_ids.detach().cpu(), return_counts=True)[1].tolist()


def _meant(count: int, num_classes: int) -> str:
    return f"class ids of {count} images of {num_classes} classes"
