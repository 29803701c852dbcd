"""On real data, with windows on the accuracy: a wrong algorithm fails here, not only a crash."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness.options import for_channels
from benchmarks.harness.program import run_program
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.membership.options import MembershipOptions
from distill import MTT, FRePo, Herding, PreprocessedImages, PrivateFRePo, Random, TrainingRecipe, evaluate, load_images
from distill.preprocess import Standardize, default_preprocessing
from distill.runtime.memory import keep_freed_memory

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("FREPO_DATA", ROOT.parent / "shared" / "data"))
FIRST_CLASSES = [26, 86, 2, 55, 75, 93, 16, 73, 54, 95]  # class order 0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _fast_memory() -> None:
    keep_freed_memory()


def first_classes(split: str, preprocessing=None) -> PreprocessedImages:
    data = load_images("cifar100", split=split, data_dir=DATA)
    data = data.subset(torch.isin(torch.from_numpy(data.labels), torch.tensor(FIRST_CLASSES)).numpy())
    # ZCA would take longer than all the rest.
    return (preprocessing or Standardize.fit(data)).apply(data)


@pytest.mark.skipif(not (DATA / "cifar100.npz").exists(), reason="needs cifar100.npz")
def test_frepo_beats_the_real_images_it_starts_from_on_cifar100() -> None:
    train = first_classes("train")
    test = first_classes("test", train.preprocessing)
    options = {"images_per_class": 20, "seed": 0}
    quick = ClassIncrementalOptions.presets["quick"]
    frepo = FRePo(**quick["frepo"] | {"steps": 150, "history_points": 2})
    distilled = frepo.distill(train, **options, held_out=test)
    herded = Herding(**quick["herding"]).distill(train, **options)
    assert distilled.made_by["started_from"] == herded.made_by["started_from"]
    recipe = TrainingRecipe(**quick["train"] | {"width": 32, "train_steps": 150})
    ours, start, chosen = (
        evaluate(images, test, recipe=recipe, networks=1).network[0]
        for images in (distilled, herded, Random().distill(train, **options))
    )
    before, after = (entry["krr_accuracy"] for entry in distilled.made_by["history"])
    print(f"FRePo {ours}, herding {start}, random {chosen}, KRR {before} -> {after}")
    assert after - before > 0.07  # in untrained networks: 0.406 -> 0.498 where it was measured
    assert ours - start > 0.01  # 0.527, 0.495 and 0.414 where it was measured
    assert start - chosen > 0.02
    assert 0.48 < ours < 0.60
    assert 0.43 < start < 0.55
    assert 0.37 < chosen < 0.49


@pytest.mark.skipif(not (DATA / "MNIST").exists(), reason="needs MNIST")
def test_frepo_and_dm_reach_their_accuracies_on_mnist_with_one_image_a_class(tmp_path: Path) -> None:
    options = [
        "--dataset", "mnist", "--data-dir", str(DATA), "--images-per-class", "1", "--networks", "1",
        "--method", "frepo", "random", "dm", "--frepo-steps", "300", "--dm-steps", "150",
    ]  # fmt: skip
    assert run_program(DistillationOptions, [*options, "--output", str(tmp_path)]) == 0
    accuracy = {cell["row"]: cell["mean"] for cell in json.loads((tmp_path / "results.json").read_text())["summary"]}
    print(accuracy)
    assert 0.84 < accuracy["frepo"] < 0.92  # 0.880 where it was measured
    assert 0.86 < accuracy["dm"] < 0.94  # 0.899
    assert 0.54 < accuracy["random"] < 0.67  # 0.606
    assert accuracy["frepo"] - accuracy["random"] > 0.2


@pytest.mark.skipif(not (DATA / "MNIST").exists(), reason="needs MNIST")
@pytest.mark.parametrize(("init", "low", "high"), [("clusters", 0.77, 0.9), ("noise", 0.4, 0.56)])
def test_private_frepo_reaches_its_accuracy_on_mnist_at_epsilon_1(init: str, low: float, high: float) -> None:
    """40 steps, not 300: 0.836 and 0.480 where it was measured. From noise, with labels shuffled it is 0.125, with
    another sign of the gradient 0.099, with ten times the noise in the steps 0.224.
    """
    train, test = (load_images("mnist", split=split, data_dir=DATA) for split in ("train", "test"))
    recipe = TrainingRecipe(
        norm="instance", width=16, train_steps=200, warmup_steps=20, learning_rate=2e-3, batch_size=64
    )
    synthetic = PrivateFRePo(epsilon=1.0, steps=40, init=init).distill(train, images_per_class=10, seed=0)
    (accuracy,) = evaluate(synthetic, test.subset(range(2000)), recipe=recipe, networks=1).network
    print(init, accuracy)
    assert 0.99 < synthetic.ledger.epsilon <= 1
    assert low < accuracy < high


@pytest.mark.skipif(not (DATA / "cifar100.npz").exists(), reason="needs cifar100.npz")
def test_back_through_a_training_step_distils_worse_than_through_the_kernel() -> None:
    train = first_classes("train")
    test = first_classes("test", train.preprocessing)
    frepo = FRePo(steps=150, batch_size=256, learning_rate=8e-3, width=16, history_points=2)
    gains = {}
    for meta_gradient in ("krr", "tbptt"):
        distiller = frepo.with_options(meta_gradient=meta_gradient)
        history = distiller.distill(train, images_per_class=1, held_out=test).made_by["history"]
        gains[meta_gradient] = history[-1]["krr_accuracy"] - history[0]["krr_accuracy"]
    print(gains)
    assert gains["krr"] > 0.1
    assert gains["krr"] - gains["tbptt"] > 0.05  # its truncation bias: section C.1 of the paper


def test_frepo_reaches_its_accuracy_on_digits_with_one_image_a_class() -> None:
    train, test = load_images("digits"), load_images("digits", split="test")
    preprocessing = default_preprocessing(train)
    test_images = preprocessing.apply(test)
    frepo = FRePo(steps=300, batch_size=256, learning_rate=8e-3, width=32, history_points=2)
    distilled = frepo.distill(preprocessing.apply(train), images_per_class=1, held_out=test_images)
    history = distilled.made_by["history"]
    print(history)
    assert history[0]["krr_accuracy"] < 0.75
    assert 0.85 < history[-1]["krr_accuracy"] < 0.99


def test_mtt_reaches_its_accuracy_on_digits_with_one_image_a_class() -> None:
    train, test = load_images("digits"), load_images("digits", split="test")
    quick = DistillationOptions.presets["quick"]
    mtt = MTT(**quick["mtt"] | {"learning_rate": 30.0, "width": 16})
    changes = {"norm": "instance", "width": 16, "train_steps": 300, "steps_per_image": 0.0}
    recipe = TrainingRecipe(**for_channels(quick["train"], 1) | changes)
    ours, start = (
        np.mean(evaluate(method.distill(train, images_per_class=1, seed=0), test, recipe=recipe, networks=2).network)
        for method in (mtt, mtt.with_options(steps=0))
    )
    print(f"MTT {ours}, its start {start}")
    assert 0.70 < ours < 0.90  # 0.80 where it was measured, from 0.58
    assert ours - start > 0.12


def test_quick_preset_reaches_its_accuracies_on_digits(tmp_path: Path) -> None:
    assert run_program(ClassIncrementalOptions, ["--dataset", "digits", "--steps", "5", "--output", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "results.json").read_text())["summary"]
    final = {method: part["curve"][-1]["mean"] for method, part in summary.items()}
    print(final)
    assert final["frepo"] > final["random"] - 0.02  # behind by 0.9 points where it was measured
    assert 0.92 < final["frepo"] < 0.98
    assert 0.90 < final["random"] < 0.97


@pytest.mark.skipif(not (DATA / "MNIST").exists(), reason="needs MNIST")
def test_audit_finds_the_members_that_mnist_models_were_trained_on(tmp_path: Path) -> None:
    options = [
        "--dataset", "mnist", "--data-dir", str(DATA), "--members", "1000", "--images-per-class", "10",
        "--width", "16", "--train-steps", "1000", "--frepo-steps", "150", "--attacks", "threshold",
    ]  # fmt: skip
    assert run_program(MembershipOptions, [*options, "--output", str(tmp_path)]) == 0
    rows = {row["arm"]: row for row in json.loads((tmp_path / "results.json").read_text())["rows"]}
    auc = {arm: row["auc"]["threshold"]["mean"] for arm, row in rows.items()}
    accuracy = {arm: row["test_accuracy"]["mean"] for arm, row in rows.items()}
    print(auc, accuracy)
    assert 0.84 < auc["real"] < 0.93  # 0.886 where it was measured
    assert auc["subset, initial members"] > 0.99
    assert 0.46 < auc["subset, other members"] < 0.53
    assert 0.7 < auc["frepo, initial members"] < 0.9  # at few steps and ten images per class the start shows through
    assert 0.87 < accuracy["frepo"] < 0.92
    assert accuracy["frepo"] - accuracy["subset"] > 0.02  # 0.043 where it was measured
