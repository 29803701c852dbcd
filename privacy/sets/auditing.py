"""The audit of a distilled set: what its images themselves reveal, whoever made it and whatever is trained on it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from privacy.attack_results import result_of
from privacy.auditing import versions
from privacy.scores import Scores
from privacy.sets.features import checked_features
from privacy.sets.images import (
    LabelledImages,
    check_classes,
    check_scales,
    checked_images_of_set,
    checked_pair,
)
from privacy.sets.pairs import PAIRS, Pair, to_uint8
from privacy.sets.report import SetReport
from privacy.sets.signals import Signal, distance_signals, ridge_signals
from privacy.slices import WHOLE
from privacy.validation import checked_list, checked_mask, require_mapping

__all__ = ["OTHERS", "STARTED", "audit_set"]

STARTED, OTHERS = "members that started the set", "other members"


def audit_set(
    images: Any,
    labels: Any,
    *,
    members: Any,
    non_members: Any,
    public: Any = None,
    references: Sequence[Any] | None = None,
    features: Any = None,
    started: Any = None,
    info: Mapping[str, Any] | None = None,
) -> SetReport:
    """Attack a distilled set itself: are the images it was made from nearer to it than others are?

    Four distances to the set: of pixels, to the nearest image of the record's class and of any class; correlation; and
    structure at several scales, blind to brightness and contrast. Each by itself, and compared with the distance to
    public images, or to reference sets, where these are given. With `features`, also the loss of kernel ridge
    regression on the set. Nothing is trained, and no attack sees who is a member.

    - `images`: the set, `(n, H, W)` or `(n, H, W, channels)`, integers 0 to 255 or floats on any scale; `labels`:
      classes `(n,)`, or soft labels `(n, C)` whose largest entry is the class.
    - `members`, `non_members`: `(images, classes)` of the records, on the same scale and of classes that the set has.
      Members are records that the set was made from; non-members come from the same distribution.
    - `public`: `(images, classes)` of other images of the same kind, neither members nor non-members, of every class.
    - `references`: a list of `(images, labels)`, sets that were distilled in the same way from other data. They must
      not have seen any member or non-member.
    - `features`: for kernel ridge regression, for each network a callable of images `(n, H, W, channels)` float32
      (integers that were given are divided by 255) that gives features `(n, d)`; or a dictionary with arrays of
      features of `images`, `members`, `non_members` and a list for `references`. One of these, or a list. Networks with
      random weights will do.
    - `started`: which members the images of the set started from, a mask or positions; the report then looks at these
      and at the other members by themselves. If they were selected, not drawn at random, part of what tells them apart
      may be the selection; they count in the answers only among all members.
    - `info`: anything that JSON can hold, to keep with the report.

    Raises `InputError` where shapes, scales or classes do not match.

    >>> random = np.random.default_rng(0)
    >>> pixels, classes = random.random((300, 8, 8)), np.arange(300) % 3
    >>> copies = pixels[:30] + random.normal(0, 0.05, (30, 8, 8))            # a set that hardly left where it started
    >>> sides = {"members": (pixels[:100], classes[:100]), "non_members": (pixels[100:], classes[100:])}
    >>> report = audit_set(copies, classes[:30], **sides, started=range(30))
    >>> report.verdict.exposes_a_few
    True
    >>> print(report.result("nearest", "members that started the set").auc)
    1.000 [0.921, 1.000]
    """
    begun = time.monotonic()
    distilled = checked_images_of_set(images, labels)
    inside, outside = checked_pair(members, "members"), checked_pair(non_members, "non_members")
    others = None if public is None else checked_pair(public, "public")
    pairs = checked_list("references", [] if references is None else references, "(images, labels)")
    shadows = [checked_pair(own, f"reference {k}") for k, own in enumerate(pairs)]
    check_sides(distilled, inside, outside, others, shadows)
    masks = checked_starts(started, len(inside), len(outside))
    require_mapping("info", {} if info is None else info, "{name: value}")
    records = LabelledImages(
        np.concatenate([inside.images, outside.images]), np.concatenate([inside.labels, outside.labels])
    )
    signals, plain = distance_signals(distilled, records, others, shadows)
    networks = 0
    if features is not None:
        under = checked_features(
            features, distilled=distilled, members=inside, non_members=outside, references=shadows
        )
        networks = len(under.records)
        compared = signals["nearest-of-class"].nearest
        signals |= ridge_signals(distilled, records, shadows, under, compared)
    about = {
        "images": len(distilled),
        "members": len(inside),
        "non_members": len(outside),
        "classes": len(np.unique(records.labels)),
        "public": 0 if others is None else len(others),
        "references": len(shadows),
        "networks": networks,
        "seconds": time.monotonic() - begun,
        "versions": versions("fast"),
        "notes": [],
        "left_out": {},
        "one_sided": [name for name in masks if name != WHOLE],
    }
    return report_of(distilled, inside, signals, masks, plain, about=about, info=dict(info or {}))


def check_sides(
    distilled: LabelledImages,
    members: LabelledImages,
    non_members: LabelledImages,
    public: LabelledImages | None,
    references: Sequence[LabelledImages],
) -> None:
    """Raise `InputError` where images have different shapes or scales, or classes are missing."""
    records = [("members", members), ("non_members", non_members)]
    sets = [] if public is None else [("public", public)]
    sets += [(f"reference {k}", own) for k, own in enumerate(references)]
    check_scales(dict([("the set", distilled), *records, *sets]))
    check_classes("the set", distilled, records)
    for name, own in sets:
        check_classes(name, own, records)


def checked_starts(started: Any, members: int, non_members: int) -> dict[str, np.ndarray]:
    """A mask of all records for each slice: all, and those of members that started the set and of the others."""
    masks = {WHOLE: np.ones(members + non_members, bool)}
    if started is not None:
        chosen = checked_mask(list(started) if isinstance(started, range) else started, members, "started")
        for name, own in ((STARTED, chosen), (OTHERS, ~chosen)):
            if own.any():
                masks[name] = np.r_[own, np.ones(non_members, bool)]
    return masks


def report_of(
    distilled: LabelledImages,
    members: LabelledImages,
    signals: Mapping[str, Signal],
    masks: Mapping[str, np.ndarray],
    plain: np.ndarray,
    *,
    about: Mapping[str, Any],
    info: Mapping[str, Any],
) -> SetReport:
    """All results from the attacks' signals."""
    is_member = np.arange(len(plain)) < len(members)
    scores = {name: Scores(signal.scores[None], is_member) for name, signal in signals.items()}
    results = tuple(
        result_of(attack, name, scores[attack].at(mask), tested=name == WHOLE)
        for name, mask in masks.items()
        for attack in scores
    )
    pairs = {name: worst_pairs(scores[name], signal, members, distilled) for name, signal in signals.items()}
    shown = [pair for own in pairs.values() for pair in own]
    low, high = drawn_range([distilled.images, members.images])
    titles = {name: signal.title for name, signal in signals.items()}
    return SetReport(
        results=results, scores=scores, slices=masks, titles=titles, labels=members.labels,
        losses=plain[is_member], about=about, info=info, pairs=pairs,
        pictures=pictures(members.images, [pair.position for pair in shown], low, high),
        set_pictures=pictures(distilled.images, [pair.nearest for pair in shown], low, high),
    )  # fmt: skip


def worst_pairs(
    scores: Scores, signal: Signal, members: LabelledImages, distilled: LabelledImages
) -> tuple[Pair, ...]:
    """The members with the highest scores, each with the image of the set that it is compared with."""
    found = []
    for at in np.argsort(-scores.members, kind="stable")[:PAIRS]:
        near = int(signal.nearest[at])
        gap = members.images[at].astype(np.float64) - distilled.images[near]
        above = int((scores.non_members >= scores.members[at]).sum())
        found.append(Pair(int(at), int(members.labels[at]), near, float(np.sqrt((gap**2).mean())),
                          float(scores.members[at]), above))
    return tuple(found)


def pictures(images: np.ndarray, positions: Sequence[int], low: float, high: float) -> dict[int, np.ndarray]:
    """Some images as uint8, by position."""
    wanted = list(dict.fromkeys(positions))
    return dict(zip(wanted, to_uint8(images[wanted], low, high), strict=True))


def drawn_range(images: Sequence[np.ndarray]) -> tuple[float, float]:
    """What is drawn black and white: 0 and 1 for pixels, else what all but 1 % of the values lie between."""
    if all(own.min() >= -0.5 and own.max() <= 1.5 for own in images):
        return 0.0, 1.0
    ends = [np.quantile(own, (0.005, 0.995)) for own in images]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))
