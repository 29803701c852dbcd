"""Payloads with a checksum, so that damage is found; and several files in one payload."""

import struct
import zlib
from collections.abc import Sequence

from distill.errors import InputError
from distill.runtime.checks import require_a

__all__ = ["join", "seal", "split", "unseal"]

CHECKSUM = struct.Struct("<I")
WIDTHS = {1: "B", 2: "H", 4: "I"}


def seal(body: bytes, meant: str) -> bytes:
    """`body` with 4 bytes of CRC-32 behind it, over the body and what it is `meant` to be (codec and shape).

    >>> unseal(seal(b"abc", "three letters"), "three letters")
    b'abc'
    """
    return body + CHECKSUM.pack(_checksum(body, meant))


def unseal(payload: bytes, meant: str) -> bytes:
    """The body of a payload; raises `InputError` when it is damaged, or not what it is `meant` to be."""
    require_a("the payload", payload, bytes)
    body, checksum = payload[: -CHECKSUM.size], payload[-CHECKSUM.size :]
    if len(payload) < CHECKSUM.size or checksum != CHECKSUM.pack(_checksum(body, meant)):
        raise InputError(
            f"the payload of {len(payload)} bytes is damaged or was not encoded as {meant}; "
            "decode it with the codec and shape it was encoded with, or encode the images again"
        )
    return body


def _checksum(body: bytes, meant: str) -> int:
    return zlib.crc32(body, zlib.crc32(meant.encode()))


def join(files: Sequence[bytes]) -> bytes:
    """Files one after the other, their lengths before them: 1, 2 or 4 bytes each, as the longest needs.

    >>> split(join([b"one", b"", b"three"]), 3)
    [b'one', b'', b'three']
    """
    longest = max(map(len, files), default=0)
    width = 1 if longest < 1 << 8 else 2 if longest < 1 << 16 else 4
    lengths = struct.pack(f"<{len(files)}{WIDTHS[width]}", *map(len, files))
    return bytes([width]) + lengths + b"".join(files)


def split(body: bytes, count: int) -> list[bytes]:
    """The `count` files that `join` made one."""
    width = body[0]
    start = 1 + count * width
    files = []
    for length in struct.unpack(f"<{count}{WIDTHS[width]}", body[1:start]):
        files.append(body[start : start + length])
        start += length
    return files
