"""Where TensorFlow Privacy is not installed: what is said. The engine itself is tested in `tests/tf_privacy`."""

import sys

import numpy as np
import pytest

from privacy import AttackRecords, audit, tf_privacy
from privacy.errors import InputError
from privacy.tf_privacy import check_official, official_scores


@pytest.fixture
def records() -> AttackRecords:
    outputs, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 3
    return AttackRecords(members=(outputs, labels), non_members=(outputs[::-1], labels))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Pretend that these versions are installed, and TensorFlow Privacy is or is not."""

    def pretend(numpy: str, scikit_learn: str, *, module: bool) -> None:
        versions = {"numpy": numpy, "scikit-learn": scikit_learn}
        monkeypatch.setattr(tf_privacy, "version", versions.__getitem__)
        if module:
            monkeypatch.setattr(tf_privacy, "attack_module", lambda: None)
        else:
            monkeypatch.setitem(sys.modules, "tensorflow_privacy", None)  # importing it fails

    return pretend


def test_all_is_well(installed) -> None:
    installed("1.26.4", "1.4.2", module=True)
    check_official()


def test_everything_that_is_wrong_is_named_at_once(installed) -> None:
    installed("2.4.6", "1.9.1", module=False)
    with pytest.raises(InputError) as caught:
        check_official()
    message = str(caught.value)
    assert "numpy is 2.4.6, expected below 2.0" in message
    assert "scikit-learn is 1.9.1, expected below 1.5" in message
    assert "tensorflow_privacy" in message
    assert "pip install '.[tf-privacy]'" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("numpy", "scikit_learn", "wrong", "right"),
    [("1.26.4", "1.5.0rc1", "scikit-learn is 1.5.0rc1", "numpy is"), ("2.0.0", "1.4.2", "numpy is 2.0.0", "learn is")],
)
def test_only_what_is_wrong_is_named(installed, numpy: str, scikit_learn: str, wrong: str, right: str) -> None:
    installed(numpy, scikit_learn, module=True)
    with pytest.raises(InputError, match=wrong) as caught:
        check_official()
    assert right not in str(caught.value)


def test_a_python_that_is_too_new_is_named_where_it_is_not_installed(installed, monkeypatch) -> None:
    installed("1.26.4", "1.4.2", module=False)
    monkeypatch.setattr(tf_privacy, "TOO_NEW_PYTHON", (3, 9))
    with pytest.raises(InputError, match=r"Python is 3\.\d+\.\d+.*, expected below 3.9"):
        check_official()


def test_an_import_that_fails_otherwise_is_told(installed, monkeypatch) -> None:
    def fails():
        raise AttributeError("module 'tensorflow' has no attribute 'estimator'\nand more")

    installed("1.26.4", "1.4.2", module=True)
    monkeypatch.setattr(tf_privacy, "attack_module", fails)
    with pytest.raises(InputError, match="AttributeError: module 'tensorflow' has no attribute 'estimator'; in an env"):
        check_official()


def test_nothing_is_run_where_it_is_not_installed(installed, records) -> None:
    installed("1.26.4", "1.4.2", module=False)
    with pytest.raises(InputError, match="tf-privacy cannot run here"):
        official_scores(records, "lr")
    with pytest.raises(InputError, match="tf-privacy cannot run here"):
        audit(records, engine="tf-privacy", attacks="threshold")


def test_other_names_are_refused(records) -> None:
    with pytest.raises(InputError, match="no attack 'lira'; expected one of threshold, lr, mlp, rf, knn"):
        official_scores(records, "lira")
