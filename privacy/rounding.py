"""How far probabilities were rounded before they were given, and what that costs an attack."""

import numpy as np

__all__ = ["SUM_TOLERANCE", "rounding_notes", "sum_tolerance", "tied_loss_notes"]

SUM_TOLERANCE = 1e-3  # probabilities in float16 sum to 1 only so far
BFLOAT16_TOLERANCE = 2e-2
MOST_DIGITS = 4  # with more, rounding is below SUM_TOLERANCE for all but thousands of classes
MANY_TIED = 0.01  # share of a side that is alike


def digits_of(outputs: np.ndarray) -> int | None:
    """Digits after the point that probabilities were rounded to, at most `MOST_DIGITS`; `None` for more.

    >>> digits_of(np.array([[0.25, 0.75], [0.5, 0.5]]))
    2
    """
    smallest = outputs[outputs > 0].min(initial=1)
    for digits in range(MOST_DIGITS + 1):
        unit = 10.0**-digits
        if smallest > 0.9 * unit and np.abs(outputs - unit * (outputs / unit).round()).max() < 1e-6:
            return digits
    return None


def sum_tolerance(outputs: np.ndarray) -> float:
    """How far from 1 the sum of a row of probabilities may be: rounding moves each by half a unit of its last digit."""
    if not (outputs.astype(np.float32).view(np.uint32) & 0xFFFF).any():  # in bfloat16 a share has 8 bits
        return max(BFLOAT16_TOLERANCE, SUM_TOLERANCE)
    digits = digits_of(outputs)
    return SUM_TOLERANCE if not digits else max(SUM_TOLERANCE, 0.5 * outputs.shape[1] * 10.0**-digits + 1e-6)


def rounding_notes(probabilities: np.ndarray, labels: np.ndarray, is_member: np.ndarray) -> list[str]:
    """What to tell a reader about probabilities `(n, C)` rounded so far that records become alike."""
    digits = digits_of(probabilities)
    if digits is not None:
        return [
            f"the probabilities have {digits} digits after the point, so that many records look alike; give logits, or "
            "probabilities as the model computes them"
        ]
    is_one = probabilities[np.arange(len(labels)), labels] >= 1
    if max(is_one[is_member].mean(), is_one[~is_member].mean()) > MANY_TIED:
        return [
            f"the probability of the label is exactly 1 for {is_one[is_member].sum()} of {is_member.sum()} members and "
            f"{is_one[~is_member].sum()} of {(~is_member).sum()} non-members: it was rounded there, and part of what "
            "tells these records apart is lost; give logits"
        ]
    return []


def tied_loss_notes(losses: np.ndarray, is_member: np.ndarray) -> list[str]:
    """What to tell a reader about losses `(n,)` of which many are the same."""
    sides = (losses[is_member], losses[~is_member])
    tied = [np.unique(side, return_counts=True)[1].max() for side in sides]
    if max(tied) > 1 and max(count / len(side) for count, side in zip(tied, sides, strict=True)) > MANY_TIED:
        return [
            f"{tied[0]} of {len(sides[0])} members and {tied[1]} of {len(sides[1])} non-members share one loss: in "
            "single precision the loss of every very sure answer is the same; give losses in double precision"
        ]
    return []
