"""Saved sets that a run evaluates instead of distilling: this toolkit's, and imported ones."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.studies.distillation.options import DistillationOptions
from distill import InputError, LabelledImages, Preprocessing, SyntheticSet, import_set
from distill.preprocess import KeptElsewhere
from distill.sets.importing import parse_preprocessing

__all__ = ["check_set_options", "files_of", "names_of", "read_set"]

OURS = ".safetensors"
SAID_OF_OTHERS = ("preprocessing", "pixels", "labels")


def check_set_options(options: DistillationOptions) -> None:
    """Raise `InputError` for options that do not go with evaluating saved sets, or with not doing so."""
    stated = [f"--{name}" for name in SAID_OF_OTHERS if getattr(options, name)]
    stated += ["--layout"] if options.layout != "auto" else []
    others = [file for file in options.set if file.suffix != OURS]
    if stated and not others:
        raise InputError(f"{', '.join(stated)}: only valid for imported sets; name them with --set FILE")
    if not options.set:
        return
    clash = [f"--{name.replace('_', '-')}" for name in ("sweep", "method", "seconds", "curve", "budget", "held_out")
             if getattr(options, name)]
    typed = options.given.get("run", ())
    clash += [f"--{name.replace('_', '-')}" for name in ("seeds", "images_per_class") if name in typed]
    if clash:
        raise InputError(f"--set evaluates saved sets only; it cannot be combined with {clash[0]}")
    if missing := [file for file in options.set if not file.exists()]:
        raise InputError(f"--set {missing[0]}: there is no such file or folder")
    folders = [file for file in options.set if file.is_dir()]
    if folders and (options.labels or options.layout != "auto"):
        said = "--labels" if options.labels else "--layout"
        raise InputError(f"{said} does not apply to {folders[0]}, a folder whose class folders define it; remove it")
    if options.labels and len(options.set) > 1:
        raise InputError(f"--labels is for a single set, but --set names {len(options.set)}; evaluate them one by one")
    if others and not options.preprocessing:
        raise InputError(
            f"{others[0]} does not record how its images were preprocessed; specify it with --preprocessing "
            "(identity, 'standardize:mean=...;std=...', a set of this toolkit, or fit)"
        )


def files_of(options: DistillationOptions) -> list[Path]:
    """All files that say what the sets are."""
    stated = [Path(options.preprocessing)] if options.preprocessing and options.preprocessing.endswith(OURS) else []
    return [*options.set, *stated, *([options.labels] if options.labels else [])]


def names_of(files: Sequence[Path]) -> list[str]:
    """A name for each file or folder: its own, with as many parent folders as make all names different."""
    parts = [file.resolve().with_suffix("").parts for file in files]
    for count in range(1, max(map(len, parts), default=1) + 1):
        # In a results folder all sets are called so, and the folders above say which it is.
        tails = [part[-2 - count : -1] if part[-1] == "synthetic" else part[-count:] for part in parts]
        names = [re.sub(r"[^\w.+=-]+", "-", "-".join(tail)).strip("-.") or "set" for tail in tails]
        if len(set(names)) == len(names):
            return names
    raise InputError(f"--set names a file twice: {', '.join(map(str, files))}")


def read_set(
    file: Path, options: DistillationOptions, test: LabelledImages, fitted: Preprocessing | None
) -> SyntheticSet:
    """The set in `file`; `fitted`: what "--preprocessing fit" stands for.

    Raises `InputError` when it cannot be read, or does not go with the data set.
    """
    if file.suffix == OURS:
        synthetic = SyntheticSet.load(file)
    else:
        channels = test.images.shape[-1]
        stated = fitted if options.preprocessing == "fit" else None
        synthetic = import_set(
            file,
            preprocessing=stated or parse_preprocessing(options.preprocessing or "", channels=channels),
            layout=options.layout,
            pixels=options.pixels or None,  # a folder holds pixels whether it is said or not
            labels=options.labels,
            classes=test.classes if file.is_dir() else None,
            channels=channels if file.is_dir() else None,
        )
        if synthetic.classes == tuple(map(str, range(test.num_classes))):  # the file names none
            synthetic = replace(synthetic, classes=test.classes)
    if isinstance(synthetic.preprocessing, KeptElsewhere):
        raise InputError(f"{file}: {KeptElsewhere.missing}")
    height, width, channels = test.images.shape[1:]
    if synthetic.classes != test.classes or synthetic.images.shape[1:] != (channels, height, width):
        raise InputError(
            f"{file} has {synthetic.num_classes} classes ({', '.join(synthetic.classes[:3])}, ...) and images of "
            f"{tuple(synthetic.images.shape[1:])}, {test.name} {test.num_classes} ({', '.join(test.classes[:3])}, ...) "
            f"and {(channels, height, width)}; name the --dataset it was distilled from"
        )
    return synthetic
