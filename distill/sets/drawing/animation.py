"""How images change on the way, as an animated GIF."""

import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.errors import InputError, shown
from distill.files import write_atomically
from distill.runtime.checks import require_a, require_whole
from distill.sets.drawing.shared import check_sets, of_different_classes
from distill.sets.synthetic import SyntheticSet

__all__ = ["save_gif"]

LEAST_SIDE = 64  # pixels that an image is wide at least
MOST_IN_GIF = 100


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
    check_sets(path, (".gif",), sets, steps=steps, images=images)
    is_number = isinstance(seconds_per_frame, Real) and not isinstance(seconds_per_frame, bool)
    if not is_number or not 0.01 <= seconds_per_frame <= 60:
        raise InputError(f"seconds_per_frame is {shown(seconds_per_frame)}; expected 0.01 to 60")
    width = sets[0].images.shape[3]
    scale = math.ceil(LEAST_SIDE / width) if scale is None else scale
    require_whole("scale", scale, least=1)
    chosen = torch.tensor(of_different_classes(sets[0], images))
    frames = [_frame(synthetic.subset(chosen).pixels(), f"step {step:,}".replace(",", " "), scale)
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
