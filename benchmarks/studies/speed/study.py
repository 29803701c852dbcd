"""Every case of the speed benchmark, measured or found in the folder."""

import dataclasses
import math
import time
from functools import partial
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

from benchmarks.harness.cost import add_process, machine
from benchmarks.harness.kept import kept
from benchmarks.harness.process import precision_for, set_up_process
from benchmarks.harness.results import print_table, write_results
from benchmarks.harness.run_folder import open_folder
from benchmarks.studies.speed.cases import Case, measured
from benchmarks.studies.speed.options import SpeedOptions
from benchmarks.studies.speed.report import describe, reported
from distill import InputError
from distill.runtime.checks import check_device
from distill.runtime.progress import progress_bar

WIDTHS = (16, 32, 64, 128, 256, 512)
IMAGES = (100, 200, 400, 800, 1600, 3200, 6400)
BATCHES = (128, 256, 512, 1024, 2048)
RESOLUTIONS = (32, 64, 128)
BESIDE_JAX = ((32, 256), (64, 512), (128, 512))  # width and batch
TURNS = (1, 2)
STEPS = ("frepo", "plain", "dm", "dsa")


def studies(device: str) -> dict[str, list[Case]]:
    """The cases of each study; those of one method in ascending size."""
    def case(what: str, **sizes: Any) -> Case:
        return Case(what=what, device=device, **sizes)

    pair = ("frepo", "plain")
    return {
        "target": [
            case(what, width=w, images=n, batch=1024)
            for what in pair for w, n in ((32, 200), (64, 200), (128, 200), (128, 1000))
        ],
        "jax": [
            case(what, width=w, images=200, batch=b, mirror=True, precision=precision, turn=turn)
            for w, b in BESIDE_JAX for turn in TURNS for what, precision in compared_with_jax(device)
        ],
        "width": [case(what, width=w) for what in STEPS for w in WIDTHS],
        "images": [case(what, images=n) for what in STEPS for n in IMAGES],
        "batch": [case(what, images=200, batch=b) for what in pair for b in BATCHES],
        "resolution": [case(what, width=32, resolution=r) for what in pair for r in RESOLUTIONS],
        "training": [
            case(what, width=w, images=500, batch=500) for what in ("training", "plain training") for w in (32, 64, 128)
        ],
        "large": [case("frepo", width=128, images=10_000, batch=1024, distilled_batch=part) for part in (None, 1000)],
        "attacks": [case("attacks", batch=2000, classes=10)],
    }  # fmt: skip


def compared_with_jax(device: str) -> list[tuple[str, str]]:
    """What takes turns with the step in JAX, in which precision; JAX itself where it can be measured."""
    bfloat16 = [("frepo", "bfloat16")] if precision_for(device, "auto") == "bfloat16" else []
    return [("frepo", "float32"), *bfloat16, *([] if why_no_jax(device) else [("jax", "float32")])]


def why_no_jax(device: str) -> str | None:
    """Why the step in JAX cannot be measured here; None if it can."""
    if device != "cpu":
        return f"JAX is left out: it is timed on CPUs alone, but --device is {device}"
    return None if find_spec("jax") else "JAX is left out, as it is not installed; to time it: pip install jax"


def check_options(options: SpeedOptions) -> None:
    """Raise `InputError` for numbers that make no sense, and for what the device does not have."""
    for name in ("longest", "seconds"):
        if not getattr(options, name) > 0:
            raise InputError(f"--{name} is {getattr(options, name)}; expected more than 0")
    if options.seconds == math.inf:
        raise InputError("--seconds is inf; expected seconds that end")
    check_device(options.device)
    # Only to see that it is available:
    set_up_process(device=options.device, precision=precision_for(options.device, options.precision))


def record_of(options: SpeedOptions, study: str, case: Case, before: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of a case, measured or found in the folder."""
    name = "-".join(str(value) for value in (case.what.replace(" ", "-"), case.width, case.images, case.batch,
                                             case.resolution, case.distilled_batch or "all"))  # fmt: skip
    if study == "jax":
        name += f"-{case.precision}-{case.turn}"
    return kept(options.output / study / f"{name}.json", partial(run_case, options, study, case, before))


def run_case(options: SpeedOptions, study: str, case: Case, before: list[dict[str, Any]]) -> dict[str, Any]:
    """Measure a case; left out where the two sizes `before` it say that it takes too long."""
    expected = expected_seconds(before)
    if expected > options.longest:
        result: dict[str, Any] = {"left_out": f"a step would take longer than {options.longest:g} s"}
    else:
        precision = case.precision if study == "jax" else precision_for(options.device, options.precision)
        result = measured(dataclasses.replace(case, time_for=options.seconds, precision=precision))
    return {"study": study, **dataclasses.asdict(case), **result}


def expected_seconds(before: list[dict[str, Any]]) -> float:
    """What the next size takes if it grows as the last two did; nothing is left out without two."""
    if before and "seconds" not in before[-1]:
        return float("inf")
    taken = [record["seconds"]["median"] for record in before]
    return taken[-1] * max(1.0, taken[-1] / taken[-2]) if len(taken) > 1 else 0.0


def all_records(options: SpeedOptions, started: float) -> list[dict[str, Any]]:
    """The records of the chosen studies' cases."""
    records: list[dict[str, Any]] = []
    chosen = {name: cases for name, cases in studies(options.device).items() if name in options.study}
    why_not = why_no_jax(options.device)
    if "jax" in chosen and why_not:
        print(why_not)
    pairs = [(study, case) for study, cases in chosen.items() for case in cases]
    for study, case in progress_bar(pairs, shown=True, desc="speed", unit="case"):
        series = [r for r in records if r["study"] == study and r["what"] == case.what and study in ("width", "images")]
        records.append(record_of(options, study, case, series))
        add_process(options.output, started)
        tqdm.write(describe(records[-1]))
    return records


def main(options: SpeedOptions) -> None:
    """Run the benchmark and write its folder."""
    started = time.monotonic()
    check_options(options)
    folder, given = options.output, {name: str(value) for name, value in vars(options).items() if name != "given"}
    given["study"] = str(list(options.study))
    with open_folder(folder, given, resume=options.resume):
        records = all_records(options, started)
        cost = add_process(folder, started)
        figures, table = reported(folder, records)
        write_results(folder, {"machine": machine(), "cost": cost, **figures}, table)
    print_table(folder)
    print(f"plots: {folder / 'growth.png'}, {folder / 'parts.png'}\nresults in {folder}")
