"""Dataset distillation: what networks make of a few distilled, chosen or imported images, trained on them from scratch.

Each method makes a set of the training images; networks are trained on the set alone, all by one recipe, and tested on
the test images. With --evaluate-on, networks of other architectures too; with --sweep, one option takes several
values; with --set, saved sets are evaluated instead, this toolkit's or others'.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.harness.folder import check_record, open_folder
from benchmarks.harness.methods import METHODS, OPTION_CLASSES
from benchmarks.harness.options import add_cache_option, add_class_options, add_run_options, fill_preset
from benchmarks.harness.process import set_up_process
from benchmarks.harness.results import add_process
from benchmarks.harness.tasks import add_job_options, check_jobs, workers
from benchmarks.studies.distillation.report import describe, print_table, write_report
from benchmarks.studies.distillation.run import OF_THE_RUN, PRESETS, Run
from benchmarks.studies.distillation.sets import evaluations, pictures
from distill import InputError
from distill.runtime.progress import progress_bar
from distill.runtime.ranks import is_first_rank, leave_ranks, ranks_started, start_ranks, wait_for_ranks

__all__ = ["main"]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line, presets filled in."""
    parser = argparse.ArgumentParser(
        prog="distillation.py", description=__doc__, usage="%(prog)s [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--method", choices=[*METHODS, "all"], nargs="+",
        help="one or several, side by side (default: frepo random herding; with --sweep: the one it is for, random)")
    add("--images-per-class", type=int, default=10, help="images of each class in a set (default: 10)")
    add("--seconds", type=float, metavar="S",
        help="every method that learns images gets as many steps as take it S seconds here, timed at the start by "
        "one process with all cores, whatever --jobs is; overrides --frepo-steps, --dm-steps and --dsa-iterations")
    add("--seeds", type=int, nargs="+", help="a distillation for each (default: 0)")
    add("--networks", type=int, help="networks trained on each set (default: 3 (quick), 5 (paper))")
    add("--evaluate-on", nargs="+", default=[], metavar="NETWORK[:NORM[:DEPTH]]",
        help="networks to train on each set, as conv, conv:none, conv:batch:4, resnet18:instance; without a norm the "
        "network's published one; all: those of the paper's Table 2 and the norms of its appendix C.6 "
        "(default: the one of the --train options)")
    add("--sweep", nargs="+", metavar=("OPTION", "VALUE"), default=[],
        help="an option of a method and its values: --sweep frepo-pool-size 1 2 5 10 20")
    add("--set", type=Path, nargs="+", default=[], metavar="FILE",
        help="evaluate saved sets instead of distilling: .safetensors of this toolkit, .npz or .pt of others, folders "
        "of image files by class")
    add("--preprocessing", metavar="TEXT",
        help="what others' sets went through: identity, 'standardize:mean=...;std=...', a .safetensors set of this "
        "toolkit that shares it, or fit: this toolkit's own, fitted on the training images")
    add("--pixels", action="store_true", help="others' images are pixels, to which --preprocessing is to be applied")
    add("--layout", choices=["auto", "nchw", "nhwc"], default="auto", help="of others' images (default: auto)")
    add("--labels", type=Path, metavar="FILE", help="others' labels, where a file of their own holds them")
    add("--held-out", type=int, default=0, metavar="N",
        help="measure on the first N training images of each class, kept out of training, instead of the test set: "
        "for choosing options (default: 0)")
    add_run_options(parser, presets=PRESETS, dataset="mnist", output="results/distill-DATASET-IMAGES")
    add_cache_option(parser)
    add_job_options(parser, jobs="processes side by side, each on one row of the table and one seed (default: 1).")
    for prefix, cls in OPTION_CLASSES.items():
        presets = {name: preset.get(prefix, {}) for name, preset in PRESETS.items()}
        add_class_options(parser, cls, prefix=prefix, presets=presets, leave_out=OF_THE_RUN)
    arguments = parser.parse_args(argv)
    fill_preset(arguments, PRESETS)
    arguments.output = arguments.output or default_output(arguments)
    return arguments


def default_output(arguments: argparse.Namespace) -> Path:
    """A folder named for what the run is about."""
    name = f"distill-{Path(arguments.dataset).stem}"
    if arguments.set:
        return Path("results") / f"{name}-{arguments.set[0].stem}"
    name = f"{name}-{arguments.images_per_class}"
    return Path("results") / (f"{name}-{arguments.sweep[0]}" if arguments.sweep else name)


def check_ranks(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for options that do not go with several processes under torchrun."""
    count = ranks_started()
    if count == 1:
        return
    if arguments.jobs > 1:
        raise InputError(f"--jobs is {arguments.jobs}, but torchrun started {count} processes; take one of them")
    if arguments.seconds is not None:
        raise InputError("--seconds cannot be told by several processes; give the steps (--frepo-steps, ...) instead")


@contextmanager
def opened_run(arguments: argparse.Namespace) -> Iterator[Run]:
    """The run, its folder open; of several ranks the first one writes there, and then the others read."""
    run = Run(arguments)
    with open_folder(run.folder, run.options(), resume=arguments.resume) if is_first_rank() else nullcontext():
        if is_first_rank():
            run.prepare()
        wait_for_ranks()
        if not is_first_rank():
            check_record(run.folder, run.options())
            run.prepare()
        yield run


def prepared_run(arguments: argparse.Namespace) -> Run:
    """A run that is open already, as a worker needs it."""
    run = Run(arguments)
    check_record(run.folder, run.options())
    run.prepare()
    return run


def set_and_networks(run: Run, row: int, seed: int) -> list[dict[str, Any]]:
    """One set made, evaluated and drawn: the records of its networks. `row`: its position among the run's."""
    records = list(evaluations(run, run.rows[row], seed))
    if is_first_rank():
        pictures(run, run.rows[row], seed)
    return records


def all_records(run: Run, started: float) -> list[dict[str, Any]]:
    """The records of every row and seed."""
    sets = [(index, seed) for index, row in enumerate(run.rows) for seed in run.seeds_of(row)]
    if run.arguments.jobs > 1:
        return records_side_by_side(run, sets, started)
    records = []
    for row, seed in progress_bar(sets, shown=is_first_rank(), desc="sets", unit="set"):
        own = set_and_networks(run, row, seed)
        records += own
        if is_first_rank():
            tqdm.write(describe(own))
            add_process(run.folder, started)
    return records


def records_side_by_side(run: Run, sets: list[tuple[int, int]], started: float) -> list[dict[str, Any]]:
    """The records of the sets, in that order."""
    run.data = None  # the workers have their own
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    with (
        workers(__name__, "prepared_run", run.arguments) as pieces,
        progress_bar(shown=True, total=len(sets), desc="sets", unit="set") as bar,
    ):
        for one, own in pieces.done("set_and_networks", sets):
            found[one] = own
            add_process(run.folder, started, workers=pieces.workers)
            tqdm.write(describe(own))
            bar.update()
    return [record for one in sets for record in found[one]]


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and write its folder."""
    started = time.monotonic()
    arguments = parse(argv)
    check_jobs(arguments)
    set_up_process(device=arguments.device, precision=arguments.precision, shares_out=True)
    check_ranks(arguments)
    start_ranks(arguments.device)
    with opened_run(arguments) as run:
        records = all_records(run, started)
        if is_first_rank():
            report(run, records, started)
    leave_ranks()


def report(run: Run, records: list[dict[str, Any]], started: float) -> None:
    """Write the report, and say where everything is."""
    arguments = run.arguments
    write_report(run, records, add_process(run.folder, started))
    print_table(run.folder)
    print(f"accuracy plot: {run.folder / ('sweep.png' if arguments.sweep else 'accuracy.png')}")
    for row in run.rows:
        print(f"images of {row.name}: {run.folder_of(row, run.seeds_of(row)[0])}")
    print(f"results in {run.folder}")
