"""Membership-inference audits of models trained on real and on distilled images."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.harness.experiment import run_experiment
from benchmarks.harness.tasks import Tasks
from benchmarks.studies.membership.audits import audits
from benchmarks.studies.membership.options import MembershipOptions
from benchmarks.studies.membership.references import make_reference
from benchmarks.studies.membership.report import reported
from benchmarks.studies.membership.run import MembershipRun
from benchmarks.studies.membership.worst_case import WorstCase, worst_case
from benchmarks.studies.membership.worst_case_report import in_words
from privacy import AuditReport

__all__ = ["Membership", "main"]


def main(options: MembershipOptions) -> None:
    """Run the benchmark and write its folder."""
    run_experiment(Membership, options)


class Membership(MembershipRun):
    """What is measured in a run, and how it is reported."""

    def measure(self, tasks: Tasks) -> tuple[dict[str, list[AuditReport]], list[WorstCase]]:
        """The reports of all arms on all member sets, by the names they go by; and the worst case of each."""
        arms = [(arm, seed) for seed in self.options.seeds for arm in self.options.arms]
        reports: dict[str, list[AuditReport]] = {}
        for name, report in tasks.results(audits, arms, unit="audit", describe=described):
            reports.setdefault(name, []).append(report)
        if not (self.options.references or self.options.canaries or self.options.audit_set):
            return reports, []
        references = [(*arm, index) for arm in arms for index in range(self.options.references)]
        if references:
            tasks.results(make_reference, references, unit="reference", describe=str)
        return reports, tasks.results(worst_case, arms, unit="worst case", describe=in_words)

    def report(
        self, measured: tuple[dict[str, list[AuditReport]], list[WorstCase]], cost: Mapping[str, Any]
    ) -> tuple[dict[str, Any], str]:
        """Draw the plots and write the page; returns the results by name and the table."""
        return reported(self.folder, self.record(), *measured, cost)

    def places(self) -> Iterator[str]:
        """Where the page, the plot and the images are."""
        yield f"page: {self.folder / 'report.html'}"
        yield f"plot: {self.folder / 'auc.png'}"
        for arm in self.distillers:
            if self.options.audit_set:
                yield f"{arm}, the set itself: {self.folder / arm / f'members-{self.options.seeds[0]}' / 'set.html'}"
            yield f"images of {arm}: {self.folder / arm / f'members-{self.options.seeds[0]}' / 'images.png'}"


def described(audited: tuple[str, AuditReport]) -> str:
    """One line on one audit."""
    arm, report = audited
    strongest = report.strongest()
    return (
        f"{arm}, member set {report.info['member_set']}, {report.info['train_steps']} steps: test accuracy "
        f"{100 * report.info['test_accuracy']:.1f} %, strongest attack {strongest.attack} with AUC {strongest.auc}; "
        f"members distinguished on average: {'yes' if report.verdict.leaks_on_average else 'no'}, a few exposed: "
        f"{'yes' if report.verdict.exposes_a_few else 'no'}"
    )
