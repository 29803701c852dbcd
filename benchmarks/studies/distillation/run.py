"""One run of the distillation benchmark: what is to be distilled and evaluated, resolved and checked at the door."""

import argparse
import dataclasses
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.data import check_counts, fingerprints, for_channels, kept_preprocessing, load_parts
from benchmarks.harness.methods import METHODS, OPTION_CLASSES, chosen_methods
from benchmarks.harness.options import class_options, option_value
from benchmarks.studies.distillation.equal_time import with_seconds
from benchmarks.studies.distillation.saved_sets import check_set_options, files_of, names_of, read_set
from distill import Distiller, Identity, InputError, PreprocessedImages, Preprocessing, TrainingRecipe
from distill.distillers.run import Run as DistillerRun
from distill.files import read_json, write_json
from distill.networks import NETWORKS, default_norm
from distill.runtime.checks import check_device

__all__ = ["OF_THE_RUN", "PRESETS", "Column", "Row", "Run"]

OF_THE_RUN = {"images_per_class", "seed", "device"}  # options of all methods alike

# What differs from the defaults of the classes, which are the paper's. "quick": see the README.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "quick": {
        "run": {"seeds": [0], "networks": 3},
        "frepo": {"steps": 1000, "batch_size": 256, "learning_rate": 8e-3, "width": 32, "history_points": 9},
        "herding": {"width": 32},
        "dm": {"steps": 300, "batch_size": 64, "width": 32, "history_points": 9},
        "dsa": {"iterations": 10, "inner_loop": 10, "batch_size": 64, "width": 32, "history_points": 9},
        "train": {
            "width": 32,
            "learning_rate": 2e-3,
            "warmup_steps": 100,
            "batch_size": 128,
            "train_steps": 400,
            "steps_per_image": 1.0,
        },
    },
    "paper": {
        "run": {"seeds": [0], "networks": 5},
        "frepo": {"steps": 500_000, "mirror": True, "history_points": 9},
        "dm": {"history_points": 9},
        "dsa": {"history_points": 9},
        "train": {},
    },
}
# The networks of the paper's Table 2, and the norms of its ablations (C.6).
ALL_COLUMNS = (
    "conv:none", "conv:batch", "conv:instance", "conv:layer", "conv:group", "dcconv:instance", "alexnet:none",
    "vgg11:batch", "vgg11:instance", "resnet18:batch", "resnet18:instance",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What makes one set for each seed: a distiller, or a file. `value`: of the option that is swept, as typed."""

    name: str
    distiller: Distiller | None = None
    file: Path | None = None
    value: str | None = None

    @property
    def method(self) -> str:
        """The distiller's, or "file"."""
        return self.distiller.method if self.distiller is not None else "file"


@dataclass(frozen=True)
class Column:
    """What is trained on each set."""

    name: str
    recipe: TrainingRecipe


class Run:
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder: Path = arguments.output
        check_run_options(arguments)
        self.train, self.test = load_parts(arguments)
        self.columns = columns_of(arguments.evaluate_on, TrainingRecipe(**self._class_options("train")))
        named = zip(names_of(arguments.set), arguments.set, strict=True)
        self.rows = [Row(name, file=file) for name, file in named] or self._distilled_rows()
        self._check_images()
        self._fingerprints = fingerprints(self.train, self.test, files=files_of(arguments))

    def _class_options(self, prefix: str) -> dict[str, Any]:
        preset = PRESETS[self.arguments.preset].get(prefix, {})
        return class_options(self.arguments, prefix=prefix, preset=for_channels(preset, self.train))

    def _distilled_rows(self) -> list[Row]:
        """A row for each method; in its place one for each value, where one of its options is swept."""
        option, *values = self.arguments.sweep or [""]
        swept = option.partition("-")[0]
        given = self.arguments.method or ([swept, "random"] if swept else ["frepo", "random", "herding"])
        rows = []
        for name in chosen_methods(given):
            distiller = METHODS[name](**(self._class_options(name) if name in OPTION_CLASSES else {}))
            if name != swept:
                rows.append(Row(name, distiller))
                continue
            key = option.removeprefix(f"{swept}-").replace("-", "_")
            for value in values:
                changed = distiller.with_options(**{key: option_value(METHODS[name], key, value, flag=option)})
                rows.append(Row(f"{name} {key}={value}", changed, value=value))
        return rows

    def _check_images(self) -> None:
        """Raise `InputError` where an option does not go with the images, minutes before it would be needed."""
        height, width, channels = self.train.images.shape[1:]
        shape = (channels, height, width)
        for row in self.rows:
            if row.distiller is not None:
                check_counts(self.train, self.arguments.images_per_class)
                row.distiller.check_images(shape, self.train.num_classes)
            if row.file is not None:  # read again when "fit" is known; whatever else is wrong with it shows now
                read_set(row.file, self.arguments, self.test, Identity())
        for column in self.columns:
            column.recipe.build(image_shape=shape, num_classes=self.train.num_classes, generator=torch.Generator())

    def options(self) -> dict[str, Any]:
        """Everything that was asked for, as resolved, and fingerprints of the data."""
        given = {k: v for k, v in vars(self.arguments).items() if "." not in k and k != "width"}
        rows = {row.name: row.distiller.options() for row in self.rows if row.distiller is not None}
        columns = {column.name: vars(column.recipe) for column in self.columns}
        resolved = {**given, "rows": rows, "columns": columns, "data": self._fingerprints}
        return json.loads(json.dumps(resolved, default=str))

    def prepare(self) -> None:
        """Preprocess the images, and find out how many steps `--seconds` are; both are kept in the folder."""
        kept, distils = self.folder / "preprocessing.safetensors", not self.arguments.set
        fitted = distils or self.arguments.preprocessing == "fit"
        self.preprocessing = kept_preprocessing(kept, self.train) if fitted else None
        self._tested: PreprocessedImages | None = None
        self.data = self.preprocessing.apply(self.train) if distils and self.preprocessing is not None else None
        if self.arguments.seconds is not None:
            self._allot_seconds()

    def _allot_seconds(self) -> None:
        path = self.folder / "steps.json"
        known = read_json(path) if path.exists() else {}
        for index, row in enumerate(self.rows):
            if row.distiller is None or self.data is None:
                continue
            if row.name in known:
                changed = row.distiller.with_options(**known[row.name]["options"])
            else:
                asked = DistillerRun(images_per_class=self.arguments.images_per_class, device=self.arguments.device)
                changed, seconds = with_seconds(row.distiller, self.data, self.arguments.seconds, asked)
                before, after = row.distiller.options(), changed.options()
                differing = {name: value for name, value in after.items() if value != before[name]}
                known[row.name] = {"options": differing, "seconds_per_step": seconds}
                write_json(path, known)
            self.rows[index] = replace(row, distiller=changed)

    def tested_as(self, preprocessing: Preprocessing) -> PreprocessedImages:
        """The test images, preprocessed as a set was; the last ones are kept."""
        if self._tested is None or not self._tested.preprocessing.same_as(preprocessing):
            self._tested = preprocessing.apply(self.test)
        return self._tested

    def seeds_of(self, row: Row) -> list[int]:
        """Seeds of the distillations; a file is one set."""
        return [0] if row.file is not None else self.arguments.seeds

    def folder_of(self, row: Row, seed: int) -> Path:
        """Where all of one set lies."""
        return self.folder / row.name.replace(" ", "-") / f"seed-{seed}"


def columns_of(names: list[str], recipe: TrainingRecipe) -> list[Column]:
    """What `--evaluate-on` asks for; the recipe's own network where it asks for none."""
    if not names:
        return [Column(f"{recipe.network}:{recipe.norm}", recipe)]
    columns: dict[str, Column] = {}
    for name in (each for given in names for each in (ALL_COLUMNS if given == "all" else [given])):
        network, *more = name.split(":")
        if network not in NETWORKS or len(more) > 2 or (len(more) == 2 and not more[1].isdecimal()):
            raise InputError(
                f"--evaluate-on {name} cannot be had; wanted NETWORK, NETWORK:NORM or NETWORK:NORM:DEPTH, the network "
                f"one of {', '.join(NETWORKS)}"
            )
        norm: Any = more[0] if more else ("none" if network == "conv" else default_norm(network))
        depth = int(more[1]) if len(more) == 2 else None
        full = ":".join([network, norm, *more[1:]])
        columns[full] = Column(full, replace(recipe, network=network, norm=norm, depth=depth))
    return list(columns.values())


def check_run_options(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for numbers that make no sense, options that exclude each other, and absent devices."""
    for name in ("networks", "images_per_class"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; wanted at least 1")
    if arguments.held_out < 0:
        raise InputError(f"--held-out is {arguments.held_out}; wanted 0 or more")
    if arguments.seconds is not None and not 0 < arguments.seconds < math.inf:
        raise InputError(f"--seconds is {arguments.seconds}; wanted more than 0")
    if min(arguments.seeds) < 0 or len(set(arguments.seeds)) < len(arguments.seeds):
        raise InputError(f"--seeds are {arguments.seeds}; wanted different numbers from 0 on")
    check_set_options(arguments)
    dropped = [f"--train-{name}" for name in ("network", "norm", "depth") if f"train.{name}" in vars(arguments)]
    if dropped and arguments.evaluate_on:
        raise InputError(f"{dropped[0]} and --evaluate-on both name networks; leave one out")
    if arguments.sweep:
        check_sweep(arguments)
    check_device(arguments.device)


def check_sweep(arguments: argparse.Namespace) -> None:
    """Raise `InputError` unless it is an option of a method that is run, with values that make a difference."""
    option, *values = arguments.sweep
    prefix, _, name = option.partition("-")
    if prefix not in METHODS or prefix not in OPTION_CLASSES:
        methods = ", ".join(f"{method}-..." for method in METHODS if method in OPTION_CLASSES)
        raise InputError(f"--sweep {option} is no option of a method; wanted {methods}, as in frepo-pool-size")
    known = [f.name for f in dataclasses.fields(METHODS[prefix]) if f.name not in OF_THE_RUN]
    if name.replace("-", "_") not in known:
        raise InputError(f"--sweep {option}: {prefix} has no such option to sweep; it has {', '.join(known)}")
    if arguments.method and prefix not in arguments.method and "all" not in arguments.method:
        raise InputError(f"--sweep {option}, but --method {' '.join(arguments.method)}; add {prefix} to the methods")
    if arguments.seconds and name in ("steps", "iterations", "outer-loop"):
        raise InputError(f"--sweep {option} and --seconds both say how many steps; leave one out")
    if name == "noise-std" and "noise" not in str(vars(arguments).get(f"{prefix}.init")):
        raise InputError(f"--sweep {option} makes no difference to real images; add --{prefix}-init real+noise")
    if not values or len(set(values)) < len(values):
        raise InputError(f"--sweep {option} has values {', '.join(values) or 'none'}; wanted one or more, different")
