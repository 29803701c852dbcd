"""What decides the result of a distillation: what is kept of it must have been made from the same."""

from collections.abc import Mapping
from typing import Any

from distill.distillers.base import Distiller
from distill.fingerprint import data_fingerprint, fingerprint, tolerant_fingerprint
from distill.preprocess import PreprocessedImages
from distill.runtime.precision import float32_products
from distill.store import MadeFrom

__all__ = ["made_from"]


def made_from(
    distiller: Distiller,
    data: PreprocessedImages,
    *,
    asked: Mapping[str, Any],
    device: str,
    held_out: PreprocessedImages | None = None,
    tolerant: bool = False,
    shared: Mapping[str, Any] | None = None,
) -> MadeFrom:
    """What an entry of a store was made from: method, class and options of the `distiller`, and all images.

    - `asked`: whatever else decides the result, JSON-able. `device`: whose precision of products counts.
    - `held_out`: images whose accuracy is in the history of the set.
    - `shared`: in place of method, class and options of the distiller, where others use the same entry.
    - `tolerant`: whether pixels may differ in their last bits, as whitened ones do on another machine.
    """
    own = {"method": distiller.method, "class": type(distiller).__qualname__, **distiller.options()}
    options = {"products": float32_products(device), **asked, **(own if shared is None else shared)}
    found: dict[str, Any] = {**(tolerant_fingerprint(data) if tolerant else data_fingerprint(data))}
    if held_out is not None and tolerant:
        other = tolerant_fingerprint(held_out)
        found |= {"held-out images": other["images"], "held-out labels": other["labels"]}
    elif held_out is not None:
        found["held-out images"] = fingerprint(held_out)
    return MadeFrom(options, found)
