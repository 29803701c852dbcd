"""Audits of distilled sets themselves, as arrays, whoever made them."""

from privacy.sets.auditing import audit_set
from privacy.sets.pairs import Pair
from privacy.sets.report import SetReport

__all__ = ["Pair", "SetReport", "audit_set"]
