"""Every public entry with wrong types and shapes in the place of each argument: the right answer or an `InputError`.

`input_contract` lists the entries and the values; what may be taken is listed here. Add an entry, get its tests free.
"""

import dataclasses
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import continual
import distill
import privacy
from distill import Herding, Identity, LabelledImages, PreprocessedImages, Random, Standardize, SyntheticSet, evaluate
from distill.errors import InputError
from distill.runtime.checks import positions
from input_contract import DISTILLERS_BY_NAME, ENTRIES, RECIPE, WRONG, Entry, call, preprocessed, raw, synthetic
from input_contract_applications import CONTINUAL, PRIVACY
from input_contract_bounds import BOUNDS, RIGHT_IN_BOUNDS

# What is right in its place, by entry and argument; options of the dataclasses are compared with what they became.
RIGHT: dict[tuple[str, str], set[str]] = {
    ("LabelledImages.subset", "indices"): {"empty list", "numbers"},
    ("PreprocessedImages.subset", "indices"): {"empty list", "numbers"},
    ("SyntheticSet.subset", "indices"): {"empty list", "numbers"},
    ("LabelledImages", "name"): {"text"},
    ("SyntheticSet", "made_by"): {"None", "mapping"},
    ("SyntheticSet.save", "path"): {"text", "bytes", "path"},
    ("EncodedSet", "method"): {"None", "text"},
    ("EncodedSet.subset", "indices"): {"empty list", "numbers"},
    ("EncodedSet.save", "path"): {"text", "bytes", "path"},
    ("ImageCodec.encode", "groups"): {"None"},
    ("ImageCodec.subset", "chosen"): {"empty list", "numbers"},
    ("SyntheticSet.plot", "images_per_class"): {"3"},
    ("SyntheticSet.plot", "max_classes"): {"3"},
    ("plot_labels", "examples"): {"3"},
    ("plot_before_after", "images_per_class"): {"3"},
    ("plot_before_after", "max_classes"): {"3"},
    ("plot_evolution", "images"): {"3"},
    ("save_gif", "images"): {"3"},
    ("save_gif", "scale"): {"None", "3"},
    ("save_gif", "seconds_per_frame"): {"2.5", "3"},
    ("ZCA", "centre"): {"tensor"},  # that it is not for these images is seen where both come together
    ("ZCA", "triangle"): {"tensor"},
    ("CheckerboardZCA", "centre"): {"tensor"},
    ("CheckerboardZCA", "triangle"): {"tensor"},
    **{(f"{name}.distill", "held_out"): {"None"} for name in DISTILLERS_BY_NAME},
    **{(f"{name}.distill", "images_per_class"): {"3"} for name in DISTILLERS_BY_NAME},
    ("FRePo.distill in a store", "images_per_class"): {"3"},
    ("FRePo.distill in a store", "seed"): {"0", "3"},
    ("FRePo.distill in a store", "store"): {"None", "text", "bytes", "path", "folder"},
    ("FRePo.distill in a store", "progress"): {"True"},
    ("FRePo.distill in a store", "held_out"): {"None"},
    ("FRePo.distill in a store", "on_release"): {"None"},
    ("FRePo.distill in a store", "snapshots"): {"None"},
    ("Store", "folder"): {"text", "bytes", "path", "folder"},
    ("Store", "shared"): {"None"},
    ("with_options", "iterations"): {"0", "3"},
    ("with_options", "outer_loop"): {"None", "3"},
    ("evaluate", "recipe"): {"None"},
    ("evaluate", "networks"): {"3"},
    ("evaluate", "seed"): {"0", "3"},
    ("evaluate", "progress"): {"True"},
    ("import_set", "labels"): {"None"},
    ("import_set", "classes"): {"None"},
    ("import_set", "channels"): {"None"},
    ("import_set", "name"): {"None", "text"},
    ("import_set", "pixels"): {"None", "True"},
    ("load_images", "data_dir"): {"None", "text", "bytes", "path", "folder"},
    ("load_images", "cache_dir"): {"None", "text", "bytes", "path", "folder"},
    ("load_images", "resolution"): {"None", "3"},
    ("PrivateSGD.train", "network"): {"None"},
    ("PrivateSGD.train", "seed"): {"0", "3"},
    ("PrivateSGD.train", "progress"): {"True"},
    ("class_order", "num_classes"): {"3"},
    ("class_order", "seed"): {"0", "3"},
    ("class_incremental", "steps"): {"3"},
    ("class_incremental with a first step", "first"): {"None"},
    ("class_incremental", "seed"): {"0", "3"},
    ("DistilledBuffer", "num_classes"): {"3"},
    ("DistilledBuffer", "classes"): {"None"},
    ("DistilledBuffer", "preprocessing"): {"None"},
    ("DistilledBuffer", "max_size"): {"None", "3"},
    ("DistilledBuffer", "held_out"): {"None"},
    ("DistilledBuffer", "images_per_class"): {"None", "3"},
    ("DistilledBuffer", "memory_bytes"): {"None"},
    ("DistilledBuffer", "classes_at_once"): {"None", "3"},
    ("DistilledBuffer", "seed"): {"0", "3"},
    ("DistilledBuffer", "adaptive"): {"True"},
    ("DistilledBuffer", "progress"): {"True"},
    ("DistilledBuffer", "transform"): {"None"},
    ("DistilledBuffer", "store"): {"None", "text", "bytes", "path", "folder"},
    ("EncodedBuffer", "num_classes"): {"3"},
    ("EncodedBuffer", "classes"): {"None"},
    ("EncodedBuffer", "preprocessing"): {"None"},
    ("EncodedBuffer", "transform"): {"None"},
    ("EncodedBuffer", "seed"): {"0", "3"},
    ("post_adapt", "strategy"): set(WRONG),  # not asked where the number of classes is given
    ("resize", "strategy"): set(WRONG),  # never asked
    ("resize", "new_size"): {"3"},
    ("GDumb", "recipe"): {"None"},
    ("GDumb", "train_steps"): {"None", "3"},
    ("GDumb", "num_classes"): {"None", "3"},
    ("GDumb", "seed"): {"0", "3"},
    ("GDumb", "eval_mb_size"): {"3"},
    ("GDumb", "plugins"): {"None", "empty list"},
    ("GDumb", "eval_every"): {"-1", "0", "3"},
    ("GDumb", "progress"): {"True"},
    ("PrivateNaive", "plugins"): {"None", "empty list"},
    ("PrivateNaive", "eval_every"): {"-1", "0", "3"},
    ("PrivateNaive", "seed"): {"0", "3"},
    ("PrivateNaive", "eval_mb_size"): {"3"},
    ("PrivateNaive", "progress"): {"True"},
    ("SoftLabelLoss", "num_classes"): {"3"},
    ("SoftLabelLoss", "loss"): {"function"},
    ("SoftLabelLoss", "temperature"): {"None", "3", "2.5"},
    ("SoftLabelLoss", "hard_label_scale"): {"None", "3", "2.5"},
    ("with_soft_labels", "num_classes"): {"3"},
}  # fmt: skip
PUBLIC = {
    distill: {*DISTILLERS_BY_NAME, "CheckerboardZCA", "ZCA", "Standardize", "Store", "SyntheticSet",
              "EncodedSet", "ImageCodec", "LabelledImages", "PreprocessedImages", "PrivateSGD", "TrainingRecipe",
              "codec_of", "evaluate", "import_set", "load_images"},
    continual: {"DistilledBuffer", "EncodedBuffer", "GDumb", "PrivateNaive", "SoftLabelLoss", "class_incremental",
                "class_order", "experience_accuracies", "stream_accuracy", "with_soft_labels"},
}  # fmt: skip
# Functions of the user's own, which are called; and what has tests of its own.
NOT_LISTED = {
    "GDumb": {"evaluator", "reset"},
    "PrivateNaive": {"evaluator"},
}
TAKES_NOTHING = {"Distiller", "TeacherLabels", "Evaluation", "Identity", "InputError", "InputWarning", "Ledger",
                 "ObservedRelease", "Preprocessing", "PrivateNetwork", "Snapshots", "accuracy_evaluator",
                 "average_incremental_accuracy",
                 "forgetting"}  # fmt: skip


def arguments_of(entries: dict[str, Entry]) -> list[Any]:
    pairs = [(name, argument) for name, entry in entries.items() for argument in entry.arguments]
    return [pytest.param(*pair, marks=pytest.mark.slow) if pair == ("evaluate", "recipe") else pair for pair in pairs]


def outcomes(entry: Entry, argument: str, folder: Any) -> dict[str, tuple[Any, Any]]:
    """What was given and what came of it, by the wrong values that were not refused in one line."""
    taken = {}
    place = folder
    for number, (wrong, make) in enumerate(WRONG.items()):
        if any(place.iterdir()):  # a folder of its own for each that leaves something there, which few do
            place = folder / str(number)
            place.mkdir()
        value = make(place)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                taken[wrong] = value, call(entry, place, argument, value)
        except (InputError, privacy.InputError) as error:
            assert "\n" not in str(error), (wrong, str(error))  # noqa: PT017
            assert len(str(error)) < 500, (wrong, str(error))  # noqa: PT017
    return taken


@pytest.mark.parametrize(("name", "argument"), arguments_of({**ENTRIES, **CONTINUAL}))
def test_right_answer_or_input_error(tmp_path, monkeypatch, capsys, name, argument):
    monkeypatch.chdir(tmp_path)
    entry = {**ENTRIES, **CONTINUAL}[name]
    for wrong, (value, result) in outcomes(entry, argument, tmp_path).items():
        if name.endswith("()"):
            became = getattr(result, argument)
            assert became == value, wrong
            assert isinstance(became, bool) == isinstance(value, bool), wrong
        else:
            assert wrong in RIGHT.get((name, argument), ()), wrong


def test_every_argument_of_a_public_name_is_listed():
    listed: dict[str, set[str]] = {}
    for name, entry in {**ENTRIES, **CONTINUAL, **PRIVACY, **BOUNDS}.items():
        listed.setdefault(name.partition(" ")[0].removesuffix("()"), set()).update(entry.arguments)
    for package in (distill, continual, privacy):
        for name in set(package.__all__) & set(listed):
            arguments = set(inspect.signature(getattr(package, name)).parameters)
            assert arguments - listed[name] == NOT_LISTED.get(name, set()), name


def test_every_public_name_has_an_entry():
    entries = {name.partition(".")[0].removesuffix("()") for name in {**ENTRIES, **CONTINUAL}}
    for package, names in PUBLIC.items():
        assert set(package.__all__) - TAKES_NOTHING == names
        assert names <= entries


# -- privacy -----------------------------------------------------------------------------------------------------------

RIGHT_IN_PRIVACY: dict[tuple[str, str], set[str]] = {
    ("AttackRecords", "features"): {"None"},
    ("AttackRecords", "references"): {"None"},
    ("AttackRecords.subset", "members"): {"None", "numbers"},
    ("AttackRecords.subset", "non_members"): {"None", "numbers"},
    ("audit", "jobs"): {"None", "3"},
    ("audit", "splits"): {"None", "3"},
    ("audit", "seed"): {"0", "3"},
    ("audit", "by_class"): {"True"},
    ("audit", "by_correctness"): {"True"},
    ("audit", "masks"): {"None"},
    ("audit", "images"): {"None"},
    ("audit", "info"): {"None", "mapping"},
    ("audit", "progress"): {"True"},
    ("AuditReport.save", "path"): {"text", "bytes", "path"},
    ("AuditReport.most_exposed", "count"): {"3"},
    ("roc_of", "members"): {"numbers", "array", "tensor", "bool tensor"},
    ("roc_of", "non_members"): {"numbers", "array", "tensor", "bool tensor"},
    ("auc_ceiling", "seen"): {"0", "3"},
    ("auc_ceiling", "members"): {"3"},
    **{(name, "trained"): {"True"} for name in ("auc_interval", "tpr_interval", "auc_difference")},
    **RIGHT_IN_BOUNDS,
}


@pytest.mark.parametrize(("name", "argument"), arguments_of({**PRIVACY, **BOUNDS}))
def test_privacy_gives_the_right_answer_or_an_input_error(tmp_path, monkeypatch, name, argument):
    monkeypatch.chdir(tmp_path)
    for wrong in outcomes({**PRIVACY, **BOUNDS}[name], argument, tmp_path):
        assert wrong in RIGHT_IN_PRIVACY.get((name, argument), ()), wrong


# -- what says the same in another form gives the same -----------------------------------------------------------------


def as_list(array: Any) -> Any:
    return array.tolist()


def labelled(**changes: Any) -> LabelledImages:
    return LabelledImages(**{"images": raw().images, "labels": raw().labels, "classes": raw().classes, **changes})


def floats(**changes: Any) -> PreprocessedImages:
    return dataclasses.replace(preprocessed(), **changes)


def made(**changes: Any) -> SyntheticSet:
    return dataclasses.replace(synthetic(), **changes)


def content(given: Any) -> list[Any]:
    parts = [given.images, getattr(given, "class_ids", given.labels)]
    return [np.asarray(part).tolist() for part in parts] + [list(given.classes)]


SAME: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "labels as a list": (lambda: labelled(labels=as_list(raw().labels)), raw),
    "labels as a tensor": (lambda: labelled(labels=torch.from_numpy(raw().labels)), raw),
    "labels in a column": (lambda: labelled(labels=raw().labels[:, None]), raw),
    "labels of a byte": (lambda: labelled(labels=raw().labels.astype(np.uint8)), raw),
    "images as a tensor": (lambda: labelled(images=torch.from_numpy(raw().images)), raw),
    "classes as a list": (lambda: labelled(classes=list(raw().classes)), raw),
    "float labels as a list": (lambda: floats(labels=as_list(preprocessed().labels)), preprocessed),
    "float labels in a column": (lambda: floats(labels=preprocessed().labels[:, None]), preprocessed),
    "float labels as an array": (lambda: floats(labels=preprocessed().labels.numpy()), preprocessed),
    "float images as an array": (lambda: floats(images=preprocessed().images.numpy()), preprocessed),
    "class ids as a list": (lambda: made(class_ids=as_list(synthetic().class_ids)), synthetic),
    "class ids of int32": (lambda: made(class_ids=synthetic().class_ids.int()), synthetic),
    "subset by a mask": (lambda: raw().subset(raw().labels == 1), lambda: raw().subset(range(1, 24, 3))),
    "subset by a list": (lambda: preprocessed().subset([3, 1]), lambda: preprocessed().subset(torch.tensor([3, 1]))),
    "subset by a slice": (lambda: synthetic().subset(slice(2)), lambda: synthetic().subset([0, 1])),
    "subset from the end": (lambda: synthetic().subset([-1]), lambda: synthetic().subset([len(synthetic()) - 1])),
    "options of NumPy": (
        lambda: Random().distill(raw(), images_per_class=np.int64(2), seed=np.int32(1)),
        lambda: Random().distill(raw(), images_per_class=2, seed=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_the_same_in_another_form_gives_the_same(case):
    given, wanted = (make() for make in SAME[case])
    assert content(given) == content(wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sets_of_every_float_type_are_saved_drawn_and_evaluated(tmp_path, dtype):
    made = synthetic()
    given = dataclasses.replace(made, images=made.images.to(dtype), soft_labels=made.soft_labels.to(dtype))
    loaded = SyntheticSet.load(given.save(tmp_path / "set.safetensors"))
    assert loaded.images.dtype == dtype
    assert torch.equal(loaded.images, given.images)
    loaded.plot(tmp_path / "set.png")
    exact = dataclasses.replace(given, images=given.images.float(), soft_labels=given.soft_labels.float())
    assert evaluate(loaded, raw(), recipe=RECIPE, networks=1) == evaluate(exact, raw(), recipe=RECIPE, networks=1)


def test_raw_test_images_are_preprocessed_as_the_set(tmp_path):
    results = [evaluate(synthetic(), test, recipe=RECIPE, networks=2) for test in (raw(), preprocessed())]
    assert results[0] == results[1]


def test_what_is_no_data_is_told_how_to_become_it():
    dataset = torch.utils.data.TensorDataset(preprocessed().images, preprocessed().labels)
    with pytest.raises(InputError, match=r"data is a TensorDataset; expected LabelledImages or .*: LabelledImages\("):
        Herding().distill(dataset)
    with pytest.raises(InputError, match=r"test is a TensorDataset; expected LabelledImages or .*: load_images"):
        evaluate(synthetic(), dataset)


@pytest.mark.parametrize("change", ["classes", "channels", "size"])
def test_test_images_of_another_kind_are_refused(change):
    images = raw().images
    test = {
        "classes": LabelledImages(images, raw().labels, ("a", "b", "c", "d")),
        "channels": LabelledImages(np.repeat(images, 3, axis=3), raw().labels, raw().classes),
        "size": LabelledImages(images[:, :4], raw().labels, raw().classes),
    }[change]
    with pytest.raises(InputError, match=r"expected the same in both|does not fit the images"):
        evaluate(synthetic(), test)


def test_positions_are_checked():
    for given, message in (([5], "run from 5 to 5, but there are 5"), ([True], "mask has 1 entries for 5"),
                           ([0.5], "are float64 of shape"), ([[0]], r"of shape \(1, 1\)")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            positions(given, 5)


def test_preprocessing_of_another_shape_is_refused_with_the_set():
    with pytest.raises(InputError, match="standardize is for 3 channels, images have 1"):
        dataclasses.replace(synthetic(), preprocessing=Standardize(torch.zeros(3), torch.ones(3)))
    assert dataclasses.replace(synthetic(), preprocessing=Identity()).preprocessing.kind == "identity"
