"""Pictures of distilled sets: learned labels, before and after distilling, and how images change on the way."""

from distill.sets.drawing.animation import save_gif
from distill.sets.drawing.grids import plot_before_after, plot_evolution
from distill.sets.drawing.label_bars import label_cases, plot_labels

__all__ = ["label_cases", "plot_before_after", "plot_evolution", "plot_labels", "save_gif"]
