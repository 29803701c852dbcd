"""The speed benchmark: what it counts, the plain implementation it compares with, and a run of its own."""

import dataclasses
import json
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness.program import run_program
from benchmarks.studies.speed import cases, report, study
from benchmarks.studies.speed.cases import Case, frepo_of, gradient_difference, run_of, started
from benchmarks.studies.speed.flops import network_cost, ridge_operations, step_operations, training_operations
from benchmarks.studies.speed.memory import forget_peak_memory, peak_memory_mib
from benchmarks.studies.speed.naive import PlainConv, PlainStep, PlainTraining
from benchmarks.studies.speed.options import SpeedOptions
from distill import TrainingRecipe
from distill.distillers.frepo import sample_batch
from distill.networks import build_network

TINY = Case(what="frepo", width=4, images=6, batch=8, resolution=16, classes=3, time_for=0.0, least=1)


@pytest.fixture(autouse=True)
def memory_as_it_is(monkeypatch):
    monkeypatch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)  # holds for a whole process


def network_of(name: str = "conv", norm: str = "batch", side: int = 16):
    return build_network(
        name, image_shape=(3, side, side), num_classes=5, width=8, norm=norm, generator=torch.Generator().manual_seed(0)
    )


# -- counting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side"), [("conv", 16), ("conv", 32), ("dcconv", 32), ("resnet18", 32), ("alexnet", 32)]
)
def test_operations_of_a_network_are_those_that_torch_counts(name: str, side: int) -> None:
    network = network_of(name, "batch", side).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(3, 3, side, side))
    cost = network_cost(network, (3, side, side))
    assert counter.get_total_flops() == 3 * (cost.features + cost.head)


def test_a_padded_28x28_image_costs_what_32x32_does() -> None:
    wide = build_network("conv", image_shape=(1, 28, 28), num_classes=5, width=8, generator=torch.Generator())
    full = build_network("conv", image_shape=(1, 32, 32), num_classes=5, width=8, generator=torch.Generator())
    assert network_cost(wide, (1, 28, 28)) == network_cost(full, (1, 32, 32))


def test_operations_of_a_training_are_those_that_torch_counts_in_the_plain_network() -> None:
    network = network_of()
    plain = PlainTraining(TrainingRecipe(width=8, norm="batch", augment=False), network)
    with FlopCounterMode(display=False) as counter:
        plain.step(torch.randn(4, 3, 16, 16), torch.randn(4, 5), torch.Generator())
    assert counter.get_total_flops() == training_operations(network_cost(network, (3, 16, 16)), 4)


def test_operations_of_a_step_are_those_of_its_convolutions_and_the_ridge_regression() -> None:
    distiller, network = frepo_of(TINY), network_of()
    cost = network_cost(network, (3, 16, 16))
    counted = step_operations(distiller, cost, images=6, classes=3, real=8)
    assert counted["real"] == 8 * cost.features
    assert counted["meta"] == 2 * 6 * cost.features + ridge_operations(6, cost.dimensions, 3, 8)
    assert counted["pool"] == training_operations(cost, 6)
    mirrored = step_operations(distiller.with_options(mirror=True), cost, images=6, classes=3, real=8)
    assert mirrored["meta"] == 4 * 6 * cost.features + ridge_operations(12, cost.dimensions, 3, 8)
    parts = distiller.with_options(distilled_batch_size=2, pool_batch_size=5)
    counted = step_operations(parts, cost, images=6, classes=3, real=8)
    assert counted["meta"] == 4 * cost.features + ridge_operations(2, cost.dimensions, 3, 8)
    assert counted["pool"] == training_operations(cost, 5)


# -- the plain implementation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
@pytest.mark.parametrize("training", [False, True])
def test_the_plain_network_computes_what_the_toolkits_does(norm: str, training: bool) -> None:
    network = network_of("conv", norm).double().train(training)
    plain, images = PlainConv(network, norm).train(training), torch.randn(5, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(plain(images), network(images))


@pytest.mark.parametrize("mirror", [False, True])
def test_a_step_of_the_toolkit_is_the_plain_one(mirror: bool) -> None:
    case = dataclasses.replace(TINY, mirror=mirror)
    distiller, state, data = started(case)
    distiller = distiller.with_options(dtype="float64", pool_size=1)
    data = distiller.prepare(data, run_of(case))
    state = distiller.start(data, run_of(case))
    plain = PlainStep(distiller, state, state.pool.models[0])
    generator = torch.Generator()
    generator.set_state(state.generator.get_state())
    for _ in range(3):
        distiller.step(state, data)
        plain.step(*sample_batch(data, case.batch, generator))
    ours = state.pool.models[0].network.state_dict().values()
    for got, wanted in zip((state.images, state.labels), (plain.images, plain.labels), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)  # the plain one has a constant rate
    for got, wanted in zip(ours, plain.network.in_order(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_meta_gradient_in_float32_is_the_plain_one_within_its_rounding(mirror: bool) -> None:
    distiller, state, data = started(dataclasses.replace(TINY, mirror=mirror, width=16, images=30, resolution=32))
    assert gradient_difference(distiller, state, sample_batch(data, 20, torch.Generator().manual_seed(0))) < 1e-3


# -- cases and report ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("what", ["frepo", "plain", "dm", "dsa", "training", "plain training"])
def test_every_kind_of_case_is_measured(what: str) -> None:
    record = cases.measure(dataclasses.replace(TINY, what=what))
    assert record["seconds"]["least"] > 0
    assert record["ceiling"] > 0
    if what in ("dm", "dsa"):
        assert "operations" not in record
    else:
        assert record["operations"] > 0
    if what == "frepo":
        assert list(record["parts"]) == ["real", "meta", "pool"]
        assert sum(part["operations"] for part in record["parts"].values()) == record["operations"]


@pytest.mark.slow
def test_every_attack_is_timed() -> None:
    record = cases.measure(Case(what="attacks", batch=60, classes=3))
    assert list(record["attacks"]) == ["threshold", "lr", "mlp", "rf", "knn"]


def test_a_process_that_is_killed_is_a_failed_case(monkeypatch) -> None:
    class Killed:
        def __init__(self, *_, **__) -> None: ...
        def __enter__(self):
            return self
        def __exit__(self, *_) -> None: ...
        def submit(self, *_):
            raise cases.BrokenProcessPool

    monkeypatch.setattr(cases, "ProcessPoolExecutor", Killed)
    assert "memory" in cases.measured(TINY)["failed"]


@pytest.mark.slow
def test_a_fresh_process_measures_a_case() -> None:
    assert cases.measured(TINY)["seconds"]["n"] >= 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak cannot be forgotten")
def test_peak_memory_begins_anew_and_counts_what_is_held_at_most() -> None:
    torch.ones(100 << 18)  # 100 MiB, written
    forget_peak_memory()
    before = peak_memory_mib()
    torch.ones(40 << 18)
    assert 30 < peak_memory_mib() - before < 60


def test_what_the_next_size_takes_is_told_by_the_last_two() -> None:
    def taken(*seconds):
        return [{"seconds": {"median": value}} for value in seconds]

    assert study.expected_seconds(taken(9.0)) == 0
    assert study.expected_seconds(taken(1.0, 3.0)) == 9
    assert study.expected_seconds(taken(3.0, 2.0)) == 2
    assert study.expected_seconds([*taken(1.0, 3.0), {"left_out": "too long"}]) == float("inf")


def test_exponents_are_slopes_of_the_last_three_sizes() -> None:
    points = [(1, 50.0, 9.0), (2, 4.0, 2.0), (4, 16.0, 4.0), (8, 64.0, 8.0)]
    assert report.slopes(points) == pytest.approx({"seconds": 2, "peak_memory_mib": 1})
    assert report.slopes(points[:2]) == {}


@pytest.fixture
def small(monkeypatch):
    """All studies with tiny cases, measured in this process; sizes that the tables name stay as they are."""
    def measure(case: Case):
        fields = {"width": 2, "images": 6, "batch": 6, "resolution": 8, "classes": 3, "time_for": 0.0, "least": 1}
        if case.what == "attacks":
            fields["batch"] = 60
        return cases.measure(dataclasses.replace(case, **fields))

    monkeypatch.setattr(study, "measured", measure)
    monkeypatch.setattr(cases, "CEILING_SIDE", 64)


@pytest.mark.slow
def test_a_run_writes_tables_and_plots_and_goes_on_where_it_was(tmp_path, small, capsys, monkeypatch) -> None:
    folder = tmp_path / "speed"
    assert run_program(SpeedOptions, ["--output", str(folder)]) == 0
    printed = capsys.readouterr().out
    cases = json.loads((folder / "results.json").read_text())["cases"]
    assert len(cases) == sum(map(len, study.studies("cpu").values()))
    assert {path.name for path in folder.iterdir()} >= {"growth.png", "parts.png", "table.txt", "options.json"}
    headings = ("By width", "By images", "A FRePo step by part", "The five attacks", *report.HEADINGS.values())
    assert all(heading in printed for heading in headings)
    monkeypatch.setattr(study, "measured", None)  # nothing is measured again
    assert run_program(SpeedOptions, ["--output", str(folder), "--resume"]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.slow
def test_studies_can_be_chosen_and_what_takes_too_long_is_left_out(tmp_path, small, capsys) -> None:
    options = ["--study", "width", "--longest", "1e-9", "--output", str(tmp_path / "speed")]
    assert run_program(SpeedOptions, options) == 0
    cases = json.loads((tmp_path / "speed" / "results.json").read_text())["cases"]
    assert [case["width"] for case in cases if "seconds" in case] == [16, 32] * 4
    assert all("a step would take longer" in case["left_out"] for case in cases if "seconds" not in case)
    assert "–" in capsys.readouterr().out


def test_without_jax_ours_alone_is_measured_and_one_line_says_how_to_get_it(
    tmp_path, small, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(study, "find_spec", lambda _: None)
    assert run_program(SpeedOptions, ["--study", "jax", "--output", str(tmp_path / "speed")]) == 0
    cases = json.loads((tmp_path / "speed" / "results.json").read_text())["cases"]
    assert {case["what"] for case in cases} == {"frepo"}
    assert [case["width"] for case in cases if case["precision"] == "float32"] == [32, 32, 64, 64, 128, 128]
    assert capsys.readouterr().out.count("pip install jax") == 1


def test_ratios_to_jax_are_of_the_same_turn() -> None:
    def taken(*seconds):
        return [{"turn": turn, "seconds": {"median": value}} for turn, value in enumerate(seconds, 1)]

    assert report.ratio(taken(3.0, 8.0), taken(1.0, 2.0)) == "3.50 (3.00 to 4.00)"
    assert report.ratio([], taken(1.0)) == "–"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--longest", "0"], "--longest is 0.0; expected more than 0"),
        (["--device", "abacus"], "device 'abacus' cannot be used here"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(monkeypatch, capsys, arguments, message) -> None:
    assert run_program(SpeedOptions, arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
