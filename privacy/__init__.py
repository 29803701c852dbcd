"""Membership-inference audits of any framework's model, from its outputs and labels; needs no torch."""

from privacy.attacks import Attack, Scores, TrainedAttack
from privacy.auditing import audit
from privacy.errors import InputError
from privacy.exposed import Exposed
from privacy.intervals import auc_difference, auc_interval, tpr_interval
from privacy.metrics import Interval, Roc, auc_ceiling, roc_of
from privacy.records import AttackRecords
from privacy.registry import ATTACKS
from privacy.report import AuditReport
from privacy.results import Found, Result
from privacy.summary import Summary
from privacy.verdict import Verdict

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackRecords",
    "AuditReport",
    "Exposed",
    "Found",
    "InputError",
    "Interval",
    "Result",
    "Roc",
    "Scores",
    "Summary",
    "TrainedAttack",
    "Verdict",
    "auc_ceiling",
    "auc_difference",
    "auc_interval",
    "audit",
    "roc_of",
    "tpr_interval",
]
