"""Lower bounds on epsilon beside TensorFlow Privacy's, from the same counts; `make test-tf-privacy` runs this."""

import numpy as np
import pytest

from privacy.errors import InputError
from privacy.tf_privacy import check_official

epsilon = pytest.importorskip("privacy.epsilon")

try:
    check_official()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)


def official_bound(true_positives: int, false_positives: int, members: int, non_members: int) -> float:
    """Theirs, by Clopper and Pearson: the larger of `log(TPR / FPR)` and `log(TNR / FNR)`, each 95 % sure, or 0."""
    from tensorflow_privacy.privacy.privacy_tests import epsilon_lower_bound as theirs

    method = theirs.BoundMethod.CLOPPER_PEARSON
    negatives = (non_members - false_positives, members - true_positives, non_members, members)
    ratios = [
        theirs.RatioBound(found, wrong, positives, others, alpha=0.05).compute_bound(method)
        for found, wrong, positives, others in ((true_positives, false_positives, members, non_members), negatives)
    ]
    return float(np.log(np.maximum(1, ratios)).max())


@pytest.mark.parametrize("counts", [(40, 0, 100, 1000), (60, 10, 100, 100), (5, 5, 100, 100), (100, 99, 100, 100),
                                    (0, 0, 50, 50), (50, 0, 50, 50), (990, 20, 1000, 2000)], ids=str)  # fmt: skip
def test_clopper_pearson_bounds_are_theirs(counts):
    found, wrong, members, non_members = counts
    ours = epsilon.epsilon_from_counts(
        found=found, members=members, false_positives=wrong, non_members=non_members, delta=0.0, confidence=0.95
    )
    assert ours.epsilon == pytest.approx(official_bound(*counts), abs=1e-9)
