"""Every public entry of the packages with arguments that it takes, and wrong values to put in the place of each."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from distill import (
    DSA,
    ZCA,
    CheckerboardZCA,
    EncodedSet,
    FRePo,
    Identity,
    LabelledImages,
    PreprocessedImages,
    Preprocessing,
    PrivateSGD,
    Random,
    Standardize,
    Store,
    SyntheticSet,
    TrainingRecipe,
    codec_of,
    evaluate,
    import_set,
    load_images,
)
from distill.sets.codecs import coded, label_codec_of
from distill.sets.drawing import plot_before_after, plot_evolution, plot_labels, save_gif
from distillers import DISTILLERS

Make = Callable[[Path], Any]


@dataclass(frozen=True)
class Entry:
    """What is called with keyword arguments that it takes, each made in a folder of its own."""

    call: Callable[..., Any]
    arguments: dict[str, Make] = field(default_factory=dict)


def same(value: Any) -> Make:
    return lambda folder: value


class Odd:
    """An object of no use to anybody."""


# Values that are wrong for nearly every argument; where one is right, the call does what it should.
WRONG: dict[str, Make] = {
    "None": same(None),
    "True": same(True),
    "-1": same(-1),
    "0": same(0),
    "3": same(3),
    "2.5": same(2.5),
    "NaN": same(float("nan")),
    "text": same("text"),
    "bytes": same(b"bytes"),
    "path": lambda folder: folder / "nowhere",
    "folder": lambda folder: folder,
    "empty list": same([]),
    "texts": same(["a", "b"]),
    "numbers": same([0, 1, 2]),
    "ragged": same([[1, 2], [3]]),
    "mapping": same({"a": 1}),
    "object": lambda folder: Odd(),
    "objects": same(np.array([None, "a"], dtype=object)),
    "array": same(np.zeros(3)),
    "tensor": same(torch.zeros(3)),
    "bool tensor": same(torch.ones(4, dtype=torch.bool)),
    "complex": same(torch.zeros(4, 1, 8, 8, dtype=torch.complex64)),
    "5 axes": same(torch.zeros(2, 3, 4, 5, 6)),
    "NaN images": same(torch.full((24, 1, 8, 8), torch.nan)),
    "TensorDataset": same(TensorDataset(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.long))),
    "function": same(len),
    "class": same(FRePo),
}


@lru_cache(maxsize=1)
def data_of_every_test() -> LabelledImages:
    generator = np.random.default_rng(0)
    labels = np.arange(24) % 3
    images = generator.integers(0, 120, (24, 8, 8, 1), dtype=np.uint8) + (60 * labels)[:, None, None, None]
    return LabelledImages(images.astype(np.uint8), labels, ("a", "b", "c"))


@lru_cache(maxsize=1)
def floats_of_every_test() -> PreprocessedImages:
    return Standardize.fit(raw()).apply(raw())


@lru_cache(maxsize=1)
def set_of_every_test() -> SyntheticSet:
    return Random().distill(preprocessed(), images_per_class=2)


def raw(folder: Path | None = None) -> LabelledImages:
    return data_of_every_test()


def preprocessed(folder: Path | None = None) -> PreprocessedImages:
    return floats_of_every_test()


def synthetic(folder: Path | None = None) -> SyntheticSet:
    return set_of_every_test()


def saved(folder: Path) -> Path:
    return synthetic().save(folder / "set.safetensors")


@lru_cache(maxsize=1)
def encoded(folder: Path | None = None) -> EncodedSet:
    return EncodedSet.encode(synthetic(), codec="webp:75", labels="uint8")


def saved_encoded(folder: Path) -> Path:
    return encoded().save(folder / "encoded.safetensors")


def npz(folder: Path) -> Path:
    images, labels = raw().images, raw().labels
    np.savez(folder / "set.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return folder / "set.npz"


def theirs(folder: Path) -> Path:
    torch.save({"images": torch.rand(3, 1, 8, 8), "labels": torch.arange(3)}, folder / "theirs.pt")
    return folder / "theirs.pt"


def picture(folder: Path) -> Path:
    return folder / "one.png"


def two_sets(folder: Path) -> list[SyntheticSet]:
    return [synthetic(), synthetic()]


def of(maker: Callable[..., Any], name: str) -> Make:
    return lambda folder: getattr(maker(), name)


DISTILLERS_BY_NAME = {type(distiller).__name__: distiller for distiller in DISTILLERS}
RECIPE = TrainingRecipe(width=4, train_steps=1, warmup_steps=0)
SGD = PrivateSGD(
    steps=1, batch_size=8, width=4, depth=1, noise_multiplier=1.0, learning_rate=1.0, public_preprocessing=True
)


def options_of(cls: type) -> dict[str, Make]:
    return {option.name: same(option.default) for option in dataclasses.fields(cls)}


def state_of(cls: Any) -> dict[str, Make]:
    return {name: same(tensor) for name, tensor in cls.fit(raw()).state().items()}


OF_OPTIONS: tuple[Any, ...] = (*map(type, DISTILLERS), PrivateSGD, TrainingRecipe)
OF_SET = ("images", "soft_labels", "class_ids", "classes", "preprocessing", "made_by")
SET = {name: of(synthetic, name) for name in OF_SET}
DATA = {name: of(raw, name) for name in ("images", "labels", "classes")}
FLOATS = {name: of(preprocessed, name) for name in ("images", "labels", "classes", "preprocessing")}

ENTRIES: dict[str, Entry] = {
    **{f"{cls.__name__}()": Entry(cls, options_of(cls)) for cls in OF_OPTIONS},
    **{
        f"{name}.distill": Entry(d.distill, {"data": preprocessed, "images_per_class": same(1), "held_out": raw})
        for name, d in DISTILLERS_BY_NAME.items()
    },
    "FRePo.distill in a store": Entry(
        FRePo(steps=1, pool_size=1, width=4, depth=2).distill,
        {"data": raw, "images_per_class": same(1), "seed": same(1), "device": same("cpu"),
         "store": lambda folder: folder / "store", "progress": same(False), "held_out": same(None),
         "on_release": same(None), "snapshots": same(None)},
    ),
    "PrivateSGD.train": Entry(
        SGD.train,
        {"data": preprocessed, "network": same(None), "seed": same(0), "device": same("cpu"), "progress": same(False)},
    ),
    "with_options": Entry(DSA().with_options, {"iterations": same(2), "outer_loop": same(1)}),
    "Store": Entry(Store, {"folder": lambda folder: folder / "store", "shared": same(None)}),
    "LabelledImages": Entry(LabelledImages, {**DATA, "name": same("theirs")}),
    "LabelledImages.subset": Entry(lambda indices: raw().subset(indices), {"indices": same([0, 2])}),
    "PreprocessedImages": Entry(PreprocessedImages, FLOATS),
    "PreprocessedImages.subset": Entry(lambda indices: preprocessed().subset(indices), {"indices": same([0, 2])}),
    "SyntheticSet": Entry(SyntheticSet, SET),
    "SyntheticSet.subset": Entry(lambda indices: synthetic().subset(indices), {"indices": same([0, 2])}),
    "SyntheticSet.concatenate": Entry(SyntheticSet.concatenate, {"sets": lambda folder: [synthetic(), synthetic()]}),
    "SyntheticSet.save": Entry(lambda path: synthetic().save(path), {"path": lambda f: f / "one.safetensors"}),
    "SyntheticSet.load": Entry(SyntheticSet.load, {"path": saved}),
    "SyntheticSet.plot": Entry(
        lambda **given: synthetic().plot(**given),
        {"path": lambda folder: folder / "one.png", "images_per_class": same(1), "max_classes": same(2)},
    ),
    "EncodedSet": Entry(
        EncodedSet, {option.name: of(encoded, option.name) for option in dataclasses.fields(EncodedSet)}
    ),
    "EncodedSet.encode": Entry(
        EncodedSet.encode, {"synthetic": synthetic, "codec": same("uint8"), "labels": same("hard")}
    ),
    "EncodedSet.subset": Entry(lambda indices: encoded().subset(indices), {"indices": same([0, 2])}),
    "EncodedSet.save": Entry(lambda path: encoded().save(path), {"path": lambda f: f / "one.safetensors"}),
    "EncodedSet.load": Entry(EncodedSet.load, {"path": saved_encoded}),
    "codec_of": Entry(codec_of, {"spec": same("webp:50")}),
    "label_codec_of": Entry(label_codec_of, {"spec": same("uint8")}),
    "ImageCodec.encode": Entry(
        codec_of("mosaic:webp:75").encode, {"images": of(synthetic, "images"), "groups": same([4, 2])}
    ),
    "ImageCodec.decode": Entry(
        codec_of("webp:75").decode, {"payload": of(encoded, "images"), "shape": same((6, 1, 8, 8))}
    ),
    "ImageCodec.subset": Entry(
        codec_of("webp:75").subset,
        {"payload": of(encoded, "images"), "shape": same((6, 1, 8, 8)), "chosen": same([0, 2])},
    ),
    "ImageCodec.check_shape": Entry(codec_of("lowres:2").check_shape, {"image_shape": same((1, 8, 8))}),
    "coded": Entry(
        coded,
        {"images": of(synthetic, "images"), "codec": same(codec_of("webp:75")),
         "preprocessing": lambda folder: Identity()},
    ),
    **{f"{cls.__name__}.fit": Entry(cls.fit, {"data": raw}) for cls in (Standardize, ZCA, CheckerboardZCA)},
    "apply": Entry(lambda data: Standardize.fit(raw()).apply(data), {"data": raw}),
    "same_as": Entry(lambda other: Standardize.fit(raw()).same_as(other), {"other": lambda folder: Identity()}),
    "from_state": Entry(
        Preprocessing.from_state, {"kind": same("zca"), "state": lambda folder: ZCA.fit(raw()).state()}
    ),
    "Standardize": Entry(Standardize, {"mean": same(torch.zeros(1)), "std": same(torch.ones(1))}),
    "ZCA": Entry(ZCA, state_of(ZCA)),
    "CheckerboardZCA": Entry(CheckerboardZCA, state_of(CheckerboardZCA)),
    "evaluate": Entry(
        evaluate,
        {"synthetic": synthetic, "test": raw, "recipe": same(RECIPE), "networks": same(1), "seed": same(0),
         "device": same("cpu"), "progress": same(False)},
    ),
    "import_set": Entry(
        import_set,
        {"path": theirs, "preprocessing": same("identity"), "labels": same(None), "classes": same(["a", "b", "c"]),
         "layout": same("auto"), "channels": same(1), "name": same("theirs"), "pixels": same(False)},
    ),
    "plot_labels": Entry(plot_labels, {"synthetic": synthetic, "path": picture, "examples": same(1)}),
    "plot_before_after": Entry(
        plot_before_after,
        {"before": synthetic, "after": synthetic, "path": picture, "images_per_class": same(1), "max_classes": same(1)},
    ),
    "plot_evolution": Entry(
        plot_evolution, {"sets": two_sets, "steps": same([0, 1]), "path": picture, "images": same(1)}
    ),
    "save_gif": Entry(
        save_gif,
        {"sets": two_sets, "steps": same([0, 1]), "path": lambda folder: folder / "one.gif", "images": same(1),
         "seconds_per_frame": same(0.5), "scale": same(1)},
    ),
    "load_images": Entry(
        load_images,
        {"source": npz, "split": same("train"), "data_dir": lambda folder: folder, "resolution": same(4),
         "cache_dir": lambda folder: folder},
    ),
}


def cases(entries: dict[str, Entry]) -> Iterator[tuple[str, str, str]]:
    """Entry, argument and wrong value, by name."""
    pairs = ((name, argument) for name, entry in entries.items() for argument in entry.arguments)
    return ((name, argument, wrong) for name, argument in pairs for wrong in WRONG)


def call(entry: Entry, folder: Path, argument: str, value: Any) -> Any:
    """The entry with its good arguments but one."""
    others = {name: make(folder) for name, make in entry.arguments.items() if name != argument}
    return entry.call(**others, **{argument: value})
