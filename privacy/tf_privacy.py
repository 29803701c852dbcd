"""The engine "tf-privacy": TensorFlow Privacy's own attacks on the same records.

Its attack code, the package tensorflow-empirical-privacy, runs with or without TensorFlow, to the same results, but
only on old versions of Python, NumPy and scikit-learn. Everything is imported when it is first used, so that `privacy`
works where it is not installed.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from threadpoolctl import threadpool_limits

from privacy.attacks import ATTACKS
from privacy.errors import InputError
from privacy.records import AttackRecords
from privacy.scores import Scores

__all__ = ["ATTACK_TYPES", "check_official", "official_scores", "official_versions"]

# Our names and those of TensorFlow Privacy's `AttackType`.
ATTACK_TYPES = {
    "threshold": "THRESHOLD_ATTACK",
    "lr": "LOGISTIC_REGRESSION",
    "mlp": "MULTI_LAYERED_PERCEPTRON",
    "rf": "RANDOM_FOREST",
    "knn": "K_NEAREST_NEIGHBORS",
}
TOO_NEW = {"numpy": (2, 0), "scikit-learn": (1, 5)}  # scikit-learn 1.5 dropped functions that it imports
TOO_NEW_PYTHON = (3, 12)  # for which pip does not install it
INSTALL = (
    "in an environment of its own, with Python 3.10 or 3.11, run pip install '.[tf-privacy]', which brings TensorFlow; "
    "or make test-tf-privacy, which leaves one without it in .venv-tf-privacy"
)
PACKAGES = ("tensorflow-empirical-privacy", "tensorflow-privacy", "tensorflow", "scipy", "pandas")


def check_official() -> None:
    """Raise `InputError` that says what TensorFlow Privacy's attacks need here, and how to install it."""
    problems = [
        f"{package} is {version(package)}, expected below {'.'.join(map(str, limit))}"
        for package, limit in TOO_NEW.items()
        if release(version(package)) >= limit
    ]
    try:
        attack_module()
    except ModuleNotFoundError as error:
        if sys.version_info >= TOO_NEW_PYTHON:
            python = ".".join(map(str, TOO_NEW_PYTHON))
            problems.append(f"Python is {sys.version.split()[0]}, expected below {python}")
        problems.append(f"the module {error.name} is missing")
    except Exception as error:  # TensorFlow, where it is installed as well, fails in many ways
        if not problems:  # otherwise this only follows from them
            problems.append(f"importing it fails: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    if problems:
        raise InputError(f"the engine tf-privacy cannot run here: {'; '.join(problems)}; {INSTALL}")


def official_versions() -> dict[str, str]:
    """Versions of the installed packages that its results depend on, beyond those that ours depend on as well."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # TensorFlow need not be there
            continue
    return found


def official_scores(records: AttackRecords, name: str, *, seed: int = 0) -> Scores:
    """Scores of TensorFlow Privacy's attack `name`: "threshold", "lr", "mlp", "rf" or "knn".

    It is given our losses beside the outputs, so that both engines see the same features. It draws from NumPy's global
    random state, which is seeded from `seed` and the attack, and is afterwards as it was before.

    Raises `InputError` for other names, where it is not installed, and where it needs more records.
    """
    if name not in ATTACK_TYPES:
        raise InputError(f"TensorFlow Privacy has no attack {name!r}; expected one of {', '.join(ATTACK_TYPES)}")
    ATTACKS[name].check(records)
    check_official()
    module = attack_module()
    given = attack_input(records)
    # On more threads the last digits would differ.
    with global_seed(seed_words(name, seed)), quiet(), threadpool_limits(1):
        attack_type = getattr(module.AttackType, ATTACK_TYPES[name])
        results = module.run_attacks(given, attack_types=[attack_type]).single_attack_results
    if not results:
        raise InputError(
            f"TensorFlow Privacy's {name} attack needs more records than {len(records.members)} members and "
            f"{len(records.non_members)} non-members; give more, or use only the threshold attack"
        )
    return Scores.of(results[0].membership_scores_train, results[0].membership_scores_test)


def attack_module() -> ModuleType:
    """TensorFlow Privacy's attack code; raises whatever its import raises."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow, where it is installed, warns of the GPUs it lacks
    with warnings.catch_warnings():  # its dependencies warn of the versions of Python they will support
        warnings.filterwarnings("ignore", "You are using a Python version", FutureWarning)
        from tensorflow_privacy.privacy.privacy_tests.membership_inference_attack import membership_inference_attack

    return membership_inference_attack


def attack_input(records: AttackRecords) -> Any:
    """The records as TensorFlow Privacy's `AttackInputData`."""
    members, others = records.members, records.non_members
    outputs = "logits" if records.kind == "logits" else "probs"
    return attack_module().AttackInputData(
        **{f"{outputs}_train": members.outputs, f"{outputs}_test": others.outputs},
        labels_train=members.labels,
        labels_test=others.labels,
        loss_train=members.losses,
        loss_test=others.losses,
    )


def seed_words(name: str, seed: int) -> np.ndarray:
    """What NumPy's global random state is seeded with for an attack."""
    return np.random.SeedSequence([seed, 4, list(ATTACK_TYPES).index(name)]).generate_state(4)


def release(text: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(number) for number in text.split(".")[:2])


@contextmanager
def global_seed(words: np.ndarray) -> Iterator[None]:
    """NumPy's global random state seeded within the context, and restored after it."""
    before = np.random.get_state()  # noqa: NPY002 (what TensorFlow Privacy draws from)
    np.random.seed(words)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextmanager
def quiet() -> Iterator[None]:
    """Without what TensorFlow Privacy logs on every run; all other messages still appear."""
    root = logging.getLogger()
    handlers = list(root.handlers)

    def foreign(record: logging.LogRecord) -> bool:
        return "tensorflow_privacy" not in record.pathname

    root.addFilter(foreign)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 100 and 200 iterations are what it allows
            # Its forests try max_features="auto" too, which meant "sqrt" until scikit-learn 1.3 refused it.
            warnings.filterwarnings("ignore", "(?s).*max_features", FitFailedWarning)
            warnings.filterwarnings("ignore", r"(?s).*max_features=.auto", FutureWarning)
            warnings.filterwarnings("ignore", "One or more of the test scores are non-finite", UserWarning)
            # It divides by zero where a threshold lets no record through; only its bounds on epsilon need that.
            warnings.filterwarnings("ignore", "", RuntimeWarning, r"tensorflow_privacy.*\.epsilon_lower_bound")
            yield
    finally:
        root.removeFilter(foreign)
        for handler in set(root.handlers) - set(handlers):  # logging.info() adds one where there is none
            root.removeHandler(handler)
