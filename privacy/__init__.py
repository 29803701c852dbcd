"""Membership-inference audits of any framework's model, from its outputs and labels; needs no torch.

    from privacy import AttackRecords, audit

    records = AttackRecords(members=(logits, labels), non_members=(other_logits, other_labels))
    report = audit(records)
    print(report)
    report.to_html("audit.html")
"""

from importlib.metadata import PackageNotFoundError, version

from privacy.attack_results import Found, Result
from privacy.attacks import (
    ATTACKS,
    RMIA,
    Attack,
    BaVarIA,
    Calibrated,
    LiRA,
    QuantileRegression,
    ReferenceAttack,
    TrainedAttack,
)
from privacy.auditing import audit
from privacy.canaries import Canaries, make_canaries
from privacy.canary_report import CanariesFound, CanaryReport, canary_report
from privacy.epsilon import EpsilonBound, epsilon_from_counts, epsilon_from_scores
from privacy.errors import InputError
from privacy.exposed import Exposed
from privacy.gaussian_privacy import gaussian_epsilon
from privacy.intervals import auc_difference, auc_interval, tpr_interval
from privacy.metrics import Interval, Roc, auc_ceiling, auc_of, roc_of
from privacy.one_run import epsilon_from_canaries, epsilon_from_guesses
from privacy.records import AttackRecords
from privacy.reference_training import reference_splits, train_references
from privacy.references import References
from privacy.release_scores import ReleaseScores
from privacy.report import AuditReport
from privacy.scores import Scores
from privacy.sets import Pair, SetReport, audit_set
from privacy.shadow import shadow_outputs
from privacy.summary import Summary
from privacy.verdict import Verdict

__all__ = [
    "ATTACKS",
    "RMIA",
    "Attack",
    "AttackRecords",
    "AuditReport",
    "BaVarIA",
    "Calibrated",
    "Canaries",
    "CanariesFound",
    "CanaryReport",
    "EpsilonBound",
    "Exposed",
    "Found",
    "InputError",
    "Interval",
    "LiRA",
    "Pair",
    "QuantileRegression",
    "ReferenceAttack",
    "References",
    "ReleaseScores",
    "Result",
    "Roc",
    "Scores",
    "SetReport",
    "Summary",
    "TrainedAttack",
    "Verdict",
    "auc_ceiling",
    "auc_difference",
    "auc_interval",
    "auc_of",
    "audit",
    "audit_set",
    "canary_report",
    "epsilon_from_canaries",
    "epsilon_from_counts",
    "epsilon_from_guesses",
    "epsilon_from_scores",
    "gaussian_epsilon",
    "make_canaries",
    "reference_splits",
    "roc_of",
    "shadow_outputs",
    "tpr_interval",
    "train_references",
]

try:
    __version__ = version("frepo-toolkit")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"
