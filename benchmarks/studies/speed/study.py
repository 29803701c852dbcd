"""How fast a FRePo step is, part by part, against this machine's own ceiling, a plain implementation, DM and DSA.

Every case is measured in a process of its own, and beside it the ceiling: the operations a second of a float32 matrix
product of 2048 x 2048. Images are noise, which changes no time. Run it on a quiet machine.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.harness.folder import open_folder
from benchmarks.harness.options import add_machine_options
from benchmarks.harness.process import set_up_process
from benchmarks.harness.results import add_process
from benchmarks.studies.speed.cases import Case, measured
from benchmarks.studies.speed.report import describe, print_report, write_report
from distill import InputError
from distill.files import read_json, write_json
from distill.runtime.checks import check_device
from distill.runtime.progress import progress_bar

WIDTHS = (16, 32, 64, 128, 256, 512)
IMAGES = (100, 200, 400, 800, 1600, 3200, 6400)
BATCHES = (128, 256, 512, 1024, 2048)
RESOLUTIONS = (32, 64, 128)
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
        "released": [
            case(what, width=w, images=200, batch=b, mirror=True)
            for what in pair for w, b in ((32, 256), (64, 512), (128, 512))
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


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, usage="%(prog)s [options]", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--study", nargs="+", choices=studies("cpu"), default=list(studies("cpu")), metavar="NAME",
        help=f"some of {', '.join(studies('cpu'))} (default: all)")
    add("--longest", type=float, default=15.0, metavar="S",
        help="leave out what would take longer than that a step, going by the sizes before it (default: 15)")
    add("--seconds", type=float, default=2.0, metavar="S", help="time steps for at least so long (default: 2)")
    add_machine_options(parser)
    add("--output", type=Path, default=Path("results/speed"), help="folder for results (default: results/speed)")
    add("--resume", action="store_true", help="resume the run in --output")
    arguments = parser.parse_args(argv)
    for name in ("longest", "seconds"):
        if not getattr(arguments, name) > 0:
            raise InputError(f"--{name} is {getattr(arguments, name)}; wanted more than 0")
    check_device(arguments.device)
    set_up_process(device=arguments.device, precision=arguments.precision)  # only to see that it can be had
    return arguments


def run_case(arguments: argparse.Namespace, study: str, case: Case, before: list[dict[str, Any]]) -> dict[str, Any]:
    """Measure a case, or find it in the folder; left out where the two sizes `before` it say it takes too long."""
    name = "-".join(str(value) for value in (case.what.replace(" ", "-"), case.width, case.images, case.batch,
                                             case.resolution, case.distilled_batch or "all"))  # fmt: skip
    path = arguments.output / study / f"{name}.json"
    if path.exists():
        return read_json(path)
    expected = expected_seconds(before)
    if expected > arguments.longest:
        result: dict[str, Any] = {"left_out": f"a step would take longer than {arguments.longest:g} s"}
    else:
        result = measured(dataclasses.replace(case, time_for=arguments.seconds, precision=arguments.precision))
    record = {"study": study, **dataclasses.asdict(case), **result}
    write_json(path, record)
    return record


def expected_seconds(before: list[dict[str, Any]]) -> float:
    """What the next size takes if it grows as the last two did; nothing is left out without two."""
    if before and "seconds" not in before[-1]:
        return float("inf")
    taken = [record["seconds"]["median"] for record in before]
    return taken[-1] * max(1.0, taken[-1] / taken[-2]) if len(taken) > 1 else 0.0


def all_records(arguments: argparse.Namespace, started: float) -> list[dict[str, Any]]:
    """The records of the chosen studies' cases."""
    records: list[dict[str, Any]] = []
    chosen = {name: cases for name, cases in studies(arguments.device).items() if name in arguments.study}
    pairs = [(study, case) for study, cases in chosen.items() for case in cases]
    for study, case in progress_bar(pairs, shown=True, desc="speed", unit="case"):
        series = [r for r in records if r["study"] == study and r["what"] == case.what and study in ("width", "images")]
        records.append(run_case(arguments, study, case, series))
        add_process(arguments.output, started)
        tqdm.write(describe(records[-1]))
    return records


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and write its folder."""
    started = time.monotonic()
    arguments = parse(argv)
    options = {name: str(value) for name, value in vars(arguments).items()}
    with open_folder(arguments.output, options, resume=arguments.resume):
        records = all_records(arguments, started)
        write_report(arguments.output, records, add_process(arguments.output, started))
    print_report(arguments.output)
    print(f"plots: {arguments.output / 'growth.png'}, {arguments.output / 'parts.png'}")
    print(f"results in {arguments.output}")
