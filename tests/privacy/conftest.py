"""A report that several files look at."""


import numpy as np
import pytest

from audits import FAST, records
from privacy import (
    AuditReport,
    audit,
)


def sliced(**options) -> AuditReport:
    masks = {"first ten": (np.arange(40) < 10, list(range(10))), "odd": (np.arange(1, 40, 2), None)}
    return audit(records(), by_class=True, by_correctness=True, masks=masks, **{**FAST, **options})


@pytest.fixture(scope="session")
def report() -> AuditReport:
    return sliced(info={"model": "conv", "test_accuracy": 0.8125, "train_steps": 100})
