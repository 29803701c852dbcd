"""Membership-inference audit of models trained on real images, on a few of them, and on images distilled from them.

Members are a part of the training set; a model is trained on all of them ("real"), on a few of them drawn at random
("subset"), or on the same number of images distilled from them. Each model is attacked five ways, with as many other
images as non-members; measured is how well members are told from non-members, and accuracy on test images.
"""

import argparse
import time
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from benchmarks.harness.folder import check_record, open_folder
from benchmarks.harness.methods import OPTION_CLASSES
from benchmarks.harness.options import add_cache_option, add_class_options, add_run_options, fill_preset
from benchmarks.harness.process import set_up_process
from benchmarks.harness.results import add_process
from benchmarks.harness.tasks import add_job_options, workers
from benchmarks.studies.membership.audits import audits
from benchmarks.studies.membership.report import print_report, write_report
from benchmarks.studies.membership.run import ARMS, PRESETS, Run
from distill.runtime.progress import progress_bar
from privacy import ATTACKS, AuditReport
from privacy.auditing import Engine

LEFT_OUT = {"images_per_class", "seed", "device", "train_steps", "steps_per_image"}  # options of the run as a whole


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line, presets filled in."""
    parser = argparse.ArgumentParser(
        description=__doc__, usage="%(prog)s [options]", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--arms", nargs="+", default=["real", "subset", "frepo"], metavar="ARM",
        help=f"what models are trained on, some of {', '.join(ARMS)}; commas do as well (default: real subset frepo)")
    add("--members", type=int,
        help="images in a member set, and as many non-members (default: 10000, or half of a smaller training set)")
    add("--images-per-class", type=int, default=50, help="of the subset and the distilled sets (default: 50)")
    add("--train-steps", type=int, nargs="+",
        help="updates of the attacked models, a model for each; several give the curves (default: 10000 (quick), "
        "100 to 16000 (paper))")
    add("--seeds", type=int, nargs="+", help="member sets, disjoint (default: 0 (quick), 0 1 2 3 4 (paper))")
    add("--attacks", nargs="+", choices=[*ATTACKS, "all"], default=["all"], help="which attacks (default: all)")
    add("--engine", choices=get_args(Engine), default="fast",
        help="fast: ours; tf-privacy: TensorFlow Privacy's own code, where it is installed (default: fast)")
    add_cache_option(parser)
    add_run_options(parser, presets=PRESETS, dataset="fmnist", output="results/mia-DATASET")
    add_job_options(parser, default=None, jobs="processes side by side, each on one arm and member set, which it also "
        "attacks by itself (default: one arm after the other, whose attacks have a process for each core; 1: no other "
        "processes at all).")
    for prefix, cls in OPTION_CLASSES.items():
        presets = {name: preset.get(prefix, {}) for name, preset in PRESETS.items()}
        add_class_options(parser, cls, prefix=prefix, presets=presets, leave_out=LEFT_OUT)
    arguments = parser.parse_args(argv)
    fill_preset(arguments, PRESETS)
    arguments.arms = list(dict.fromkeys(arm for given in arguments.arms for arm in given.split(",") if arm))
    arguments.train_steps = sorted(set(arguments.train_steps))
    arguments.output = arguments.output or Path("results") / f"mia-{Path(arguments.dataset).stem}"
    return arguments


def describe(arm: str, report: AuditReport) -> str:
    """One line on one audit."""
    strongest = report.strongest()
    return (
        f"{arm}, member set {report.info['member_set']}, {report.info['train_steps']} steps: test accuracy "
        f"{100 * report.info['test_accuracy']:.1f} %, strongest attack {strongest.attack} with AUC {strongest.auc}; "
        f"members told apart on average: {'yes' if report.verdict.leaks_on_average else 'no'}, a few exposed: "
        f"{'yes' if report.verdict.exposes_a_few else 'no'}"
    )


Reports = list[tuple[str, AuditReport]]  # with the names that they go by


def run_of_worker(arguments: argparse.Namespace) -> Run:
    """A run that is open already, as a worker needs it."""
    run = Run(arguments)
    check_record(run.folder, run.options())
    return run


def audited_arm(run: Run, seed: int, arm: str) -> Reports:
    """All audits of one arm on one member set."""
    return list(audits(run, arm, run.member_set(seed)))


def audit_one_by_one(run: Run, arms: list[tuple[int, str]], started: float) -> Reports:
    """The audits of the arms, each by member set and name."""
    found = []
    for seed, arm in progress_bar(arms, shown=True, desc="arms", unit="arm"):
        for name, report in audits(run, arm, run.member_set(seed)):
            found.append((name, report))
            add_process(run.folder, started)
            tqdm.write(describe(name, report))
    return found


def audit_side_by_side(run: Run, arms: list[tuple[int, str]], started: float) -> Reports:
    """The audits of the arms, in that order."""
    found: dict[tuple[Any, ...], Reports] = {}
    with (
        workers(__name__, "run_of_worker", run.arguments) as pieces,
        progress_bar(shown=True, total=len(arms), desc="arms", unit="arm") as bar,
    ):
        for one, reports in pieces.done("audited_arm", arms):
            found[one] = reports
            add_process(run.folder, started, workers=pieces.workers)
            for name, report in reports:
                tqdm.write(describe(name, report))
            bar.update()
    return [audit for one in arms for audit in found[one]]


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and write its folder."""
    started = time.monotonic()
    arguments = parse(argv)
    set_up_process(device=arguments.device, precision=arguments.precision)
    run = Run(arguments)
    with open_folder(run.folder, run.options(), resume=arguments.resume):
        arms = [(seed, arm) for seed in arguments.seeds for arm in arguments.arms]
        audit = audit_side_by_side if (arguments.jobs or 1) > 1 else audit_one_by_one
        reports: dict[str, list[AuditReport]] = {}
        for name, report in audit(run, arms, started):
            reports.setdefault(name, []).append(report)
        cost = add_process(run.folder, started)
        write_report(run.folder, run.options(), reports, cost)
    print_report(run.folder)
    print(f"page: {run.folder / 'report.html'}\npicture: {run.folder / 'auc.png'}")
    for arm in run.distillers:
        print(f"images of {arm}: {run.folder / arm / f'members-{arguments.seeds[0]}' / 'images.png'}")
    print(f"results in {run.folder}")
