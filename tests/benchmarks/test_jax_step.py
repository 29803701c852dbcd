"""The step in JAX that the speed benchmark compares with computes what the toolkit does."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.studies.speed import cases
from benchmarks.studies.speed.cases import Case, run_of, started
from distill.distillers.frepo import label_margin, sample_batch, with_mirror_images

jax = pytest.importorskip("jax")
jax_step = pytest.importorskip("benchmarks.studies.speed.jax_step")

pytestmark = pytest.mark.slow  # JAX compiles for seconds

TINY = Case(what="jax", width=4, images=6, batch=8, resolution=16, classes=3, time_for=0.0, least=1)


@pytest.fixture
def in_float64():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def start(case: Case, dtype: str):
    distiller, _, data = started(case)
    distiller = distiller.with_options(dtype=dtype, pool_size=1)
    data = distiller.prepare(data, run_of(case))
    return distiller, distiller.start(data, run_of(case)), data


def relative(got: jax.Array, wanted: torch.Tensor) -> float:
    """Distance over the length of what is wanted; images in their own layouts."""
    expected = jax_step.to_numpy(wanted)
    return float(np.linalg.norm(np.asarray(got) - expected) / np.linalg.norm(expected))


def differences(case: Case, dtype: str) -> list[float]:
    """Of the loss, and of the gradients of images and labels."""
    distiller, state, data = start(case, dtype)
    images_t, labels_t = sample_batch(data, case.batch, torch.Generator().manual_seed(0))
    images_s, labels_s = with_mirror_images(*state.distilled()) if case.mirror else state.distilled()
    model = state.pool.models[0]
    ours = distiller.loss(model, images_t, labels_t, images_s, labels_s) - label_margin(state.labels)
    step = jax_step.JaxStep(distiller, state, model)
    features_t = step.real(jax_step.to_numpy(images_t))
    theirs = step.loss_and_gradients(step.distilled, step.model, features_t, jax_step.to_numpy(labels_t))
    pairs = zip(jax.tree_util.tree_leaves(theirs), [ours, *torch.autograd.grad(ours, state.distilled())], strict=True)
    return [relative(got, wanted) for got, wanted in pairs]


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("mirror", [False, True])
def test_loss_and_gradients_are_the_toolkits_in_float64(mirror: bool) -> None:
    assert max(differences(dataclasses.replace(TINY, mirror=mirror, resolution=32), "float64")) < 1e-10


def test_loss_and_gradients_in_float32_are_the_toolkits_within_its_rounding() -> None:
    case = dataclasses.replace(TINY, mirror=True, width=16, images=30, batch=20, resolution=32)
    assert max(differences(case, "float32")) < 1e-3


@pytest.mark.usefixtures("in_float64")
def test_steps_are_the_toolkits() -> None:
    distiller, state, data = start(dataclasses.replace(TINY, mirror=True), "float64")
    step = jax_step.JaxStep(distiller, state, state.pool.models[0])
    generator = torch.Generator()
    generator.set_state(state.generator.get_state())
    for _ in range(3):
        distiller.step(state, data)
        step.step(*map(jax_step.to_numpy, sample_batch(data, TINY.batch, generator)))
    for got, wanted in zip(step.distilled, state.distilled(), strict=True):
        assert relative(got, wanted) < 1e-6  # JAX's has a constant rate
    (weights, statistics), (our_weights, our_statistics) = step.model, jax_step.model_of(state.pool.models[0].network)
    jax.tree_util.tree_map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), weights, our_weights)
    # PyTorch's running variance is that of a sample, Flax's of the population.
    jax.tree_util.tree_map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2), statistics, our_statistics)


def test_a_case_is_measured_with_its_parts_in_the_first_turn(monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)  # holds for a whole process
    monkeypatch.setattr(cases, "CEILING_SIDE", 64)
    for name in ("NPROC", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "")  # to be as before afterwards
    record = cases.measure(TINY)
    assert record["jax"] == jax.__version__
    assert list(record["parts"]) == ["real", "meta", "pool"]
    assert sum(part["operations"] for part in record["parts"].values()) == record["operations"]
    assert "parts" not in cases.measure(dataclasses.replace(TINY, turn=2))
