"""Records with reference models whose log-odds are normal, so that what attacks find is known."""

import numpy as np

from privacy import AttackRecords, References, reference_splits


def as_logits(margins: np.ndarray) -> np.ndarray:
    """Outputs of two classes whose log-odds at class 0 are the margins."""
    return np.stack((margins, np.zeros_like(margins)), axis=-1)


def gaussian_records(
    n: int = 200,
    m: int = 200,
    *,
    shift: float = 1.0,
    models: int = 8,
    seed: int = 0,
    difficulty: float = 3.0,
    online: bool = True,
    spread_in: float = 1.0,
) -> AttackRecords:
    """Log-odds around each record's own mean, with standard deviation 1; higher by `shift` in models with the record.

    `difficulty`: the standard deviation of the records' means. `online`: half of the references have each record, else
    none has. `spread_in`: standard deviation in models with the record.
    """
    generator = np.random.default_rng(seed)
    means = difficulty * generator.normal(size=n + m)
    trained_on = reference_splits(n + m, models, seed) if online else np.zeros((models, n + m), bool)
    is_member = np.arange(n + m) < n

    def drawn(inside: np.ndarray) -> np.ndarray:
        return means + shift * inside + np.where(inside, spread_in, 1) * generator.normal(size=inside.shape)

    target, references = as_logits(drawn(is_member)), as_logits(drawn(trained_on))
    labels = np.zeros(n + m, int)
    return AttackRecords(
        members=(target[:n], labels[:n]),
        non_members=(target[n:], labels[n:]),
        references=References(
            member_outputs=references[:, :n], non_member_outputs=references[:, n:],
            member_in=trained_on[:, :n], non_member_in=trained_on[:, n:],
        ),
    )  # fmt: skip
