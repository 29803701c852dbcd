"""Pictures of distilled sets: learned labels, before and after distilling, and how images change on the way."""

import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from distill.errors import InputError
from distill.errors import shown as in_words
from distill.files import as_path, write_atomically
from distill.runtime.checks import require_a, require_whole
from distill.sets.synthetic import PICTURES, SyntheticSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_before_after", "plot_evolution", "plot_labels", "save_gif"]

CASES = ("high confidence,\nlarge margin", "high confidence,\nsmall margin", "low confidence,\nsmall margin")
BARS = 5  # the top classes, where there are more than ALL_BARS
ALL_BARS = 10
LONGEST_NAME = 22
LEAST_SIDE = 64  # pixels that an image in an animation is wide at least
MOST_IN_GIF = 100


# -- labels ------------------------------------------------------------------------------------------------------------


def plot_labels(synthetic: SyntheticSet, path: str | Path, *, examples: int = 3) -> Path:
    """Draw images beside their learned labels, as bars over class names, in three cases (the paper's Figure 4d).

    Rows: high confidence and large margin; high confidence and small margin; low confidence and small margin. Each
    has `examples` columns, or fewer in a small set. Bars are of the five largest values, or of all in a problem of
    up to ten classes; the bar of the image's own class is darker. Values are as learned: no probabilities.

    How examples are picked, the same ones each time: confidence is a label's largest value, margin its distance to
    the second largest. First come the labels of the largest margin. The more confident half of the others, by
    confidence, gives the second row: those of the smallest margin. Of the rest, the least confident give the third.
    No image is drawn twice; ties are broken by the order of the set. Where all labels are equally confident (never
    learned, say), or there is one image, there are no cases, and the picture does not name any.

    Raises `InputError` for an empty set, `examples` below 1, or a name that is no picture's.
    """
    from matplotlib.figure import Figure  # no pyplot: no global state, no display needed

    _check(path, PICTURES, [synthetic], examples=examples)
    rows = label_cases(synthetic.labels, examples)
    labels = synthetic.labels.detach().float().cpu()
    bars = synthetic.num_classes if synthetic.num_classes <= ALL_BARS else BARS
    shown = {index: _largest(labels[index], bars) for row in rows for index in row}
    longest = max(len(_short(synthetic.classes[i])) for order in shown.values() for i in order)
    columns = max(len(row) for row in rows)
    size = (0.6 + (3.0 + 0.065 * longest) * columns, (0.5 + max(0.19 * bars, 0.95)) * len(rows) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), 2 * columns, squeeze=False, width_ratios=[1, 1.15] * columns)
    for axes in grid.flat:
        axes.set_axis_off()
    values = torch.cat([labels[index][order] for index, order in shown.items()])
    limits = (min(0.0, 1.03 * float(values.min())), 1.03 * max(float(values.max()), 1e-6))
    pixels = synthetic.pixels()
    alike = max(_spans(synthetic.labels)) == 0
    for row, (case, positions) in enumerate(zip(CASES, rows, strict=False)):
        place: dict[str, Any] = {"transform": grid[row, 0].transAxes, "ha": "right", "va": "center", "rotation": 90}
        grid[row, 0].text(-0.08, 0.5, "" if alike else case, fontsize=9, multialignment="center", **place)
        for column, index in enumerate(positions):
            own = int(synthetic.class_ids[index])
            _draw_image(grid[row, 2 * column], pixels[index])
            grid[row, 2 * column].set_title(_short(synthetic.classes[own]), fontsize=9, parse_math=False)
            _draw_bars(grid[row, 2 * column + 1], labels[index], shown[index], synthetic.classes, own, limits)
    note = "all labels are equally confident" if alike and len(labels) > 1 else "soft label, not a probability"
    figure.supxlabel(f"{note}; dark: the class\nthe image was made for".replace("\n", " " if columns > 1 else "\n"),
                     fontsize=9)
    return _save(figure, path)


def label_cases(labels: torch.Tensor, examples: int) -> list[list[int]]:
    """Positions of the images of each case that `plot_labels` draws, at most `examples` each; no empty case."""
    confidence, margin = _confidence_and_margin(labels)
    left = list(range(len(labels)))

    def take(candidates: list[int], count: int) -> list[int]:
        taken = candidates[:count]
        for i in taken:
            left.remove(i)
        return taken

    share = max(1, min(examples, len(left) // len(CASES)))
    wide = take(sorted(left, key=lambda i: -margin[i]), share)
    confident = sorted(left, key=lambda i: -confidence[i])[: max(share, len(left) // 2)]
    narrow = take(sorted(confident, key=lambda i: (margin[i], -confidence[i])), share)
    low = take(sorted(left, key=lambda i: (confidence[i], margin[i])), share)
    return [row for row in (wide, narrow, low) if row]


def _confidence_and_margin(labels: torch.Tensor) -> tuple[list[float], list[float]]:
    """Of each label its largest value, and the distance to the second largest (0 where there is one class)."""
    top = labels.detach().double().cpu().topk(min(2, labels.shape[1])).values
    # Rounded, so that labels that were never learned are equal, whatever the last bit says.
    return [round(x, 6) for x in top[:, 0].tolist()], [round(x, 6) for x in (top[:, 0] - top[:, -1]).tolist()]


def _spans(labels: torch.Tensor) -> list[float]:
    """How far apart confidences and margins lie."""
    return [max(values) - min(values) for values in _confidence_and_margin(labels)]


def _largest(label: torch.Tensor, count: int) -> list[int]:
    """Class ids of the largest values, the largest first, of equal ones the lower id."""
    return sorted(range(len(label)), key=lambda i: (-float(label[i]), i))[:count]


def _draw_bars(
    axes: "Axes", label: torch.Tensor, order: list[int], classes: Sequence[str], own: int, limits: tuple[float, float]
) -> None:
    """Horizontal bars of the values at `order`, the first on top, beside their class names."""
    axes.set_axis_on()
    axes.barh(range(len(order)), label[order].tolist(), color=["#1f4e79" if i == own else "#9cc3e6" for i in order])
    axes.set_yticks(range(len(order)), [_short(classes[i]) for i in order], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(*limits)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


# -- grids -------------------------------------------------------------------------------------------------------------


def plot_before_after(
    before: SyntheticSet,
    after: SyntheticSet,
    path: str | Path,
    *,
    images_per_class: int = 5,
    max_classes: int = 10,
) -> Path:
    """Draw two grids side by side, one row a class with its name: the images at the start and as distilled.

    Image `i` of `before` is where image `i` of `after` started, so both have the same class ids. Of more than
    `max_classes` classes, some are drawn, evenly spread.

    Raises `InputError` when the sets do not belong together, are empty, or the name is no picture's.
    """
    from matplotlib.figure import Figure

    _check(path, PICTURES, [before, after], images_per_class=images_per_class, max_classes=max_classes)
    shown = [_positions(before, c)[:images_per_class] for c in _spread(_present(before), max_classes)]
    names = [_short(before.classes[int(before.class_ids[row[0]])]) for row in shown]
    columns = max(len(row) for row in shown)
    figure = Figure(figsize=(_room(names) + 0.64 * (2 * columns + 0.4), 0.64 * len(shown) + 0.4), layout="constrained")
    # One grid with a narrow empty column, so that all images are of one size.
    ratios = [1] * columns + [0.4] + [1] * columns
    grid = figure.subplots(len(shown), len(ratios), squeeze=False, width_ratios=ratios)
    for axes in grid.flat:
        axes.set_axis_off()
    for first, title, synthetic in ((0, "before", before), (columns + 1, "after", after)):
        pixels = synthetic.pixels()
        middle = grid[0, first + (columns - 1) // 2]
        middle.set_title(title, fontsize=10, x=0.5 if columns % 2 else 1.05)
        for row, positions in enumerate(shown):
            for column, position in enumerate(positions):
                _draw_image(grid[row, first + column], pixels[position])
    for row, name in enumerate(names):
        _name_row(grid[row, 0], name)
    return _save(figure, path)


def plot_evolution(
    sets: Sequence[SyntheticSet], steps: Sequence[int], path: str | Path, *, images: int = 10
) -> Path:
    """Draw a film strip: a row for each image with its class, a column for each recorded step, written above.

    `sets[i]` is the set after `steps[i]` steps; all hold the same images in the same order. Of more images,
    `images` are drawn, of as many classes as there are, evenly spread.

    Raises `InputError` when sets and steps do not match or belong together, or the name is no picture's.
    """
    from matplotlib.figure import Figure

    require_a("steps", steps, list, tuple, range)
    _check(path, PICTURES, sets, steps=steps, images=images)
    shown = _of_different_classes(sets[0], images)
    names = [_short(sets[0].classes[int(sets[0].class_ids[position])]) for position in shown]
    figure = Figure(figsize=(_room(names) + 0.72 * len(sets), 0.72 * len(shown) + 0.6), layout="constrained")
    axes = figure.subplots(len(shown), len(sets), squeeze=False)
    for column, (synthetic, step) in enumerate(zip(sets, steps, strict=True)):
        pixels = synthetic.subset(torch.tensor(shown)).pixels()
        axes[0, column].set_title(f"{step:,}".replace(",", " "), fontsize=9)
        for row in range(len(shown)):
            axes[row, column].set_axis_off()
            _draw_image(axes[row, column], pixels[row])
    for row, name in enumerate(names):
        _name_row(axes[row, 0], name)
    figure.suptitle("steps", fontsize=9)
    return _save(figure, path)


def save_gif(
    sets: Sequence[SyntheticSet],
    steps: Sequence[int],
    path: str | Path,
    *,
    images: int = MOST_IN_GIF,
    seconds_per_frame: float = 0.5,
    scale: int | None = None,
) -> Path:
    """Write an animated GIF that plays for ever: a grid of the images, one frame a set, its step written below.

    `sets` and `steps` as in `plot_evolution`. Of more images, `images` are shown, of as many classes as there are.
    Pixels are enlarged `scale` times, without smoothing; by default so that an image is 64 pixels wide or more. The
    last frame stays three times as long.

    Raises `InputError` when sets and steps do not match or belong together, or the name does not end in .gif.
    """
    require_a("steps", steps, list, tuple, range)
    _check(path, (".gif",), sets, steps=steps, images=images)
    is_number = isinstance(seconds_per_frame, Real) and not isinstance(seconds_per_frame, bool)
    if not is_number or not 0.01 <= seconds_per_frame <= 60:
        raise InputError(f"seconds_per_frame is {in_words(seconds_per_frame)}; wanted 0.01 to 60")
    width = sets[0].images.shape[3]
    scale = math.ceil(LEAST_SIDE / width) if scale is None else scale
    require_whole("scale", scale, least=1)
    shown = torch.tensor(_of_different_classes(sets[0], images))
    frames = [_frame(synthetic.subset(shown).pixels(), f"step {step:,}".replace(",", " "), scale)
              for synthetic, step in zip(sets, steps, strict=True)]
    first, *others = _with_one_palette(frames)
    millis = round(1000 * seconds_per_frame)
    options: dict[str, Any] = {"duration": [millis] * (len(frames) - 1) + [3 * millis], "loop": 0}
    return write_atomically(path, lambda file: first.save(file, save_all=True, append_images=others, **options))


def _with_one_palette(frames: Sequence[Any]) -> list[Any]:
    """The RGB frames in 256 colours, the same ones for all, or colours would flicker from frame to frame."""
    from PIL import Image

    # The colours of the first and the last frame, between which the others lie.
    ends = Image.new("RGB", (frames[0].width, 2 * frames[0].height))
    ends.paste(frames[0], (0, 0))
    ends.paste(frames[-1], (0, frames[0].height))
    palette = ends.quantize(255, kmeans=3)
    colours = (palette.getpalette() or [])[: 3 * 255]
    palette.putpalette([*colours, *[255] * (3 * 256 - len(colours))])  # white stays white
    none: Any = 0  # Image.Dither.NONE, which Pillow 9.0 has under another name
    return [frame.quantize(palette=palette, dither=none) for frame in frames]


def _frame(pixels: torch.Tensor, text: str, scale: int) -> Any:
    """An RGB picture of the grid with the text below."""
    from PIL import Image, ImageDraw, ImageFont

    n, height, width = pixels.shape[:3]
    large = np.repeat(np.repeat(pixels.expand(-1, -1, -1, 3).numpy(), scale, axis=1), scale, axis=2)
    columns = math.ceil(math.sqrt(n))
    rows, gap, strip = math.ceil(n / columns), 4, 28
    down, across = height * scale + gap, width * scale + gap
    font = ImageFont.truetype(_font_file(), 16)
    size = (max(columns * across + gap, math.ceil(font.getlength(text)) + 2 * gap), rows * down + gap + strip)
    frame = Image.new("RGB", size, "white")
    for i in range(n):
        frame.paste(Image.fromarray(large[i]), (i % columns * across + gap, i // columns * down + gap))
    ImageDraw.Draw(frame).text((gap, rows * down + gap + strip / 2), text, fill="black", font=font, anchor="lm")
    return frame


def _font_file() -> str:
    from matplotlib import font_manager

    return font_manager.findfont("DejaVu Sans")  # comes with matplotlib; Pillow's own has one size before 10.1


# -- what they share ---------------------------------------------------------------------------------------------------


def _check(
    path: str | Path,
    endings: Sequence[str],
    sets: Sequence[SyntheticSet],
    *,
    steps: Sequence[int] | None = None,
    **counts: int,
) -> None:
    """Raise `InputError` unless the file can be drawn and the sets hold the same images."""
    if as_path(path).suffix.lower() not in endings:
        raise InputError(f"cannot draw {path}; wanted a name that ends in {', '.join(endings)}")
    for name, count in counts.items():
        require_whole(name, count, least=1)
    require_a("sets", sets, list, tuple)
    if steps is not None:
        for step in steps:
            require_whole("a step", step)
        if not sets or len(steps) != len(sets):
            raise InputError(f"{len(sets)} sets and {len(steps)} steps were given; wanted one step for each set")
    for other in sets:
        require_a("a set", other, SyntheticSet)
        if not len(other):
            raise InputError("cannot draw a set of 0 images")
        first = sets[0]
        if (other.classes, other.images.shape) != (first.classes, first.images.shape) or not torch.equal(
            other.class_ids, first.class_ids
        ):
            raise InputError(f"{first!r} and {other!r} do not hold the same images; wanted one set at different steps")


def _present(synthetic: SyntheticSet) -> list[int]:
    return [int(c) for c in torch.unique(synthetic.class_ids)]


def _positions(synthetic: SyntheticSet, class_id: int) -> list[int]:
    return [int(i) for i in (synthetic.class_ids == class_id).nonzero().flatten()]


def _spread(items: list[int], count: int) -> list[int]:
    """At most `count` of the items, evenly spread."""
    return [items[i * len(items) // count] for i in range(count)] if len(items) > count else items


def _of_different_classes(synthetic: SyntheticSet, count: int) -> list[int]:
    """Positions of at most `count` images of as many classes as possible, those of one class side by side."""
    by_class = [_positions(synthetic, c) for c in _spread(_present(synthetic), count)]
    taken: list[int] = []
    for place in range(max(len(positions) for positions in by_class)):
        taken += [positions[place] for positions in by_class if place < len(positions)]
    chosen = set(taken[:count])
    return [i for positions in by_class for i in positions if i in chosen]


def _draw_image(axes: "Axes", pixels: torch.Tensor) -> None:
    image = pixels.squeeze(-1).numpy()
    axes.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255)


def _name_row(axes: "Axes", name: str) -> None:
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "va": "center"}
    axes.annotate(name, (0, 0.5), xytext=(-6, 0), fontsize=9, parse_math=False, **place)


def _room(names: Sequence[str]) -> float:
    """Inches that names beside images take."""
    return 0.5 + 0.085 * max(len(name) for name in names)


def _short(name: str) -> str:
    """A class name that fits beside an image; the middle goes first, since long names often differ at the end."""
    name = " ".join(name.replace("_", " ").split())
    start, end = LONGEST_NAME - 9, 8
    return name if len(name) <= LONGEST_NAME else f"{name[:start].rstrip()}…{name[-end:].lstrip()}"


def _save(figure: "Figure", path: str | Path) -> Path:
    return write_atomically(path, lambda file: figure.savefig(file, dpi=120))
