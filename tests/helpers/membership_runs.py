"""Tiny runs of the membership-inference benchmark, and what they came to."""

from pathlib import Path
from typing import Any

from distill.files import read_json

OTHER_ARMS = (
    "herding", "dm", "dsa", "mtt", "kip", "random-teacher", "herding-teacher", "private-frepo", "ndpdc", "noisy-means"
)  # fmt: skip
PRIVATE_ARMS = ("private-frepo", "ndpdc", "noisy-means")
TINY = [
    "--dataset", "digits", "--members", "100", "--images-per-class", "2", "--width", "4", "--jobs", "1",
    "--train-steps", "3", "6", "--train-batch-size", "16", "--attacks", "threshold", "knn",
    "--frepo-steps", "6", "--frepo-pool-size", "2", "--frepo-batch-size", "32", "--herding-steps", "2",
    "--dm-steps", "2", "--dm-batch-size", "8", "--dsa-iterations", "1", "--dsa-outer-loop", "2",
    "--dsa-inner-loop", "1", "--dsa-batch-size", "8", "--teacher-steps", "2",
    "--mtt-steps", "2", "--mtt-student-steps", "2", "--mtt-experts", "1", "--mtt-epoch-updates", "1",
    "--kip-steps", "2", "--kip-batch-size", "8", "--kip-network", "fc",
    "--private-steps", "2", "--private-batch-size", "32", "--private-pool-size", "2", "--ndpdc-steps", "2",
    "--ndpdc-batch-size", "32",
]  # fmt: skip
SMALL = ["--arms", "subset,frepo", "--attacks", "threshold"]  # a run of few files


def figures(folder: Path) -> Any:
    """All results but what the run took."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = {"seconds", "cost", "output", "resume"}
            return {key: timeless(inner) for key, inner in value.items() if key not in left_out}
        return [timeless(inner) for inner in value] if isinstance(value, list) else value

    return timeless(read_json(folder / "results.json"))


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


