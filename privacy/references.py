"""What reference models say of the records that are audited."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.validation import as_array

__all__ = ["REFERENCE_ARRAYS", "Population", "References"]

REFERENCE_ARRAYS = (
    "member_outputs", "member_in", "non_member_outputs", "non_member_in", "population_outputs",
    "population_reference_outputs", "population_labels",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Population:
    """Records that neither the attacked model nor any reference was trained on, and that are not audited."""

    outputs: np.ndarray
    """Of the attacked model, `(p, C)` float64."""
    reference_outputs: np.ndarray
    """Of the references, `(R, p, C)` float32."""
    labels: np.ndarray
    """Their labels, `(p,)`."""

    def __len__(self) -> int:
        return len(self.labels)


class References:
    """What R models of the attacker's own say of the records audited, and which of these each was trained on.

    They are trained as the attacked model was, on other samples of the same data; `train_references` does it for models
    of any framework. The attacked model itself must not be among them.

    - `member_outputs` `(R, members, C)`, `non_member_outputs` `(R, non-members, C)`: the references' outputs for the
      members and the non-members *of the attacked model*, in the records' order; of the same kind as the records',
      logits or probabilities. Kept in float32.
    - `member_in` `(R, members)`, `non_member_in` `(R, non-members)`: booleans, whether a reference was trained on a
      record; by default none was. Every record needs a reference that was not trained on it. With some that were, for
      all records, attacks are "online", which is stronger; otherwise "offline".
    - `population`: `(outputs (p, C), reference outputs (R, p, C), labels (p,))` of further records that no model was
      trained on, for the count of RMIA.

    Raises `InputError` when shapes do not match, values are not finite, there is no reference, or a record has only
    references that were trained on it.

    >>> References(member_outputs=np.zeros((4, 3, 10)), non_member_outputs=np.zeros((4, 5, 10)))
    References(4 models, 3 members, 5 non-members, offline)
    """

    def __init__(
        self,
        *,
        member_outputs: Any,
        non_member_outputs: Any,
        member_in: Any = None,
        non_member_in: Any = None,
        population: Any = None,
    ) -> None:
        given = {"member": (member_outputs, member_in), "non_member": (non_member_outputs, non_member_in)}
        self.member_outputs, self.non_member_outputs = (
            checked_outputs(outputs, f"{side}_outputs of the references") for side, (outputs, _) in given.items()
        )
        models = [len(self.member_outputs), len(self.non_member_outputs)]
        if models[0] != models[1]:
            raise InputError(
                f"there are member_outputs of {models[0]} references and non_member_outputs of {models[1]}; expected "
                "outputs of the same references"
            )
        self.member_in, self.non_member_in = (
            checked_in(trained_on, getattr(self, f"{side}_outputs").shape[:2], side)
            for side, (_, trained_on) in given.items()
        )
        self.population = None if population is None else checked_population(population, models[0])

    def __len__(self) -> int:
        """Number of references R."""
        return len(self.member_outputs)

    @property
    def trained_on(self) -> np.ndarray:
        """Whether a reference was trained on a record, boolean `(R, n)`, members first."""
        return np.concatenate((self.member_in, self.non_member_in), axis=1)

    @property
    def online(self) -> bool:
        """Whether every record has a reference that was trained on it, beside one that was not."""
        return bool(self.member_in.any(0).all() and self.non_member_in.any(0).all())

    def of_model(self, model: int) -> np.ndarray:
        """The outputs of one reference for all records, `(n, C)` float32, members first."""
        return np.concatenate((self.member_outputs[model], self.non_member_outputs[model]))

    def subset(self, *, members: np.ndarray, non_members: np.ndarray) -> "References":
        """The same references for some of the records, which positions pick; the population stays."""
        part = object.__new__(References)
        part.member_outputs, part.member_in = self.member_outputs[:, members], self.member_in[:, members]
        part.non_member_outputs = self.non_member_outputs[:, non_members]
        part.non_member_in = self.non_member_in[:, non_members]
        part.population = self.population
        return part

    def check_fit(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise `InputError` unless these are the shapes of the records: `{"member": (n, C), "non_member": (m, C)}`."""
        for side, wanted in shapes.items():
            shape = getattr(self, f"{side}_outputs").shape
            if shape[1:] != wanted:
                raise InputError(
                    f"{side}_outputs of the references have shape {shape}; expected {(shape[0], *wanted)}, for each "
                    f"reference what the records have of the attacked model"
                )
        if self.population is not None and self.population.outputs.shape[1:] != shapes["member"][1:]:
            raise InputError(
                f"the population has outputs of shape {self.population.outputs.shape}, the records "
                f"{shapes['member'][1]} classes; expected the same number of classes"
            )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays by name, for a file."""
        arrays = {name: getattr(self, name) for name in REFERENCE_ARRAYS[:4]}
        if self.population is not None:
            arrays |= {f"population_{name}": value for name, value in vars(self.population).items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "References":
        """The references that `to_arrays` gave; raises `InputError` when an array is missing or does not fit."""
        if missing := [name for name in ("member_outputs", "non_member_outputs") if name not in arrays]:
            raise InputError(f"the references lack {', '.join(missing)}; expected both sides")
        population = [arrays.get(f"population_{name}") for name in ("outputs", "reference_outputs", "labels")]
        own = {name: value for name, value in arrays.items() if not name.startswith("population_")}
        return cls(**own, population=None if all(value is None for value in population) else population)

    def __repr__(self) -> str:
        members, others = self.member_in.shape[1], self.non_member_in.shape[1]
        mode = "online" if self.online else "offline"
        return f"References({len(self)} models, {members} members, {others} non-members, {mode})"


def checked_outputs(given: Any, name: str) -> np.ndarray:
    """Outputs `(R, n, C)`, or losses `(R, n)`, as float32; raises `InputError` for other shapes and values."""
    array = as_array(given, name, ndim=3)
    if array.ndim not in (2, 3) or 0 in array.shape[:2]:
        raise InputError(
            f"{name} have shape {array.shape}; expected (references, records, classes), at least one of each"
        )
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} are {array.dtype}; expected numbers")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    bad = ~np.isfinite(array.reshape(*array.shape[:2], -1)).all(2)
    if bad.any():
        model, record = (int(at) for at in np.argwhere(bad)[0])
        raise InputError(
            f"{name} contain NaN, infinite values or values too large for float32 for {int(bad.sum())} of {bad.size} "
            f"pairs of a reference and a record, the first is reference {model}, record {record}; leave these out or "
            "fix the reference"
        )
    return array


def checked_in(given: Any, shape: tuple[int, int], side: str) -> np.ndarray:
    """Which reference was trained on which record of a side, boolean `(R, n)`; raises `InputError` otherwise."""
    if given is None:
        return np.zeros(shape, bool)
    array = as_array(given, f"{side}_in", ndim=2)
    if array.shape != shape or (array.dtype != bool and not np.isin(array, (0, 1)).all()):
        raise InputError(
            f"{side}_in is {array.dtype} of shape {array.shape}; expected zeros and ones (or booleans) of shape "
            f"{shape}: whether each reference was trained on each record"
        )
    array = array.astype(bool)
    always: np.ndarray = np.logical_and.reduce(array, axis=0)
    if always.any():
        raise InputError(
            f"{int(always.sum())} of {len(always)} {side}s are in the training data of every reference, the first is "
            f"record {int(always.argmax())}; expected at least one reference without each record: see reference_splits"
        )
    return array


def checked_population(given: Any, models: int) -> Population:
    """The population as arrays; raises `InputError` when they do not fit each other."""
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise InputError(
            f"population is a {type(given).__name__}; expected (outputs, reference outputs, labels) of further records"
        )
    outputs = as_array(given[0], "population outputs", ndim=2)
    references = checked_outputs(given[1], "reference outputs of the population")
    labels = as_array(given[2], "population labels", ndim=1)
    if references.shape != (models, *outputs.shape) or len(labels) != len(outputs):
        raise InputError(
            f"the population has outputs {outputs.shape}, reference outputs {references.shape} and labels "
            f"{labels.shape}; expected (p, C), ({models}, p, C) and (p,)"
        )
    if not np.isfinite(outputs).all():
        raise InputError("population outputs contain NaN or infinite values; leave these records out")
    return Population(outputs.astype(np.float64), references, labels)
