"""Members side by side with the images of the set nearest to them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from privacy.sets.pairs import Pair

__all__ = ["pairs_figure"]

COLUMNS = 5


def pairs_figure(
    pairs: Sequence[Pair], members: Mapping[int, np.ndarray], distilled: Mapping[int, np.ndarray]
) -> Figure:
    """Members at the left, the nearest distilled image of each at its right, the highest score first."""
    rows = max(1, -(-len(pairs) // COLUMNS))
    figure = Figure(figsize=(2.3 * COLUMNS, 1.55 * rows), layout="constrained")
    for axes in (all_axes := figure.subplots(rows, COLUMNS, squeeze=False).ravel()):
        axes.set_axis_off()
    for axes, pair in zip(all_axes, pairs, strict=False):
        left, right = members[pair.position], distilled[pair.nearest]
        gap = np.full((left.shape[0], max(1, left.shape[1] // 14), *left.shape[2:]), 255, np.uint8)
        axes.imshow(np.concatenate([left, gap, right], axis=1), cmap="gray", vmin=0, vmax=255)
        axes.set_title(f"member {pair.position}, class {pair.label}\ndistance {pair.distance:.3f}", fontsize=9)
    return figure
