"""Tiny runs of the distillation benchmark, and what they came to."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

TINY = [
    "--dataset", "digits", "--images-per-class", "2", "--networks", "2", "--width", "4",
    "--frepo-steps", "6", "--frepo-pool-size", "2", "--frepo-batch-size", "64", "--frepo-history-points", "3",
    "--dm-steps", "3", "--dm-batch-size", "8", "--dsa-iterations", "1", "--dsa-outer-loop", "2",
    "--dsa-batch-size", "8", "--herding-steps", "3", "--train-steps", "6", "--train-warmup-steps", "2",
    "--mtt-steps", "3", "--mtt-student-steps", "2", "--mtt-experts", "1", "--mtt-epoch-updates", "1",
    "--kip-steps", "3", "--kip-batch-size", "8", "--kip-network", "fc",
    "--teacher-steps", "3", "--train-steps-per-image", "0",
]  # fmt: skip


def rows_of(folder: Path) -> dict[str, list[str]]:
    """The lines of the table by their first word or words (all but the columns of results)."""
    lines = (folder / "table.txt").read_text().splitlines()
    rule = next(i for i, line in enumerate(lines) if line.startswith("----"))
    table = [re.split(r"\s{2,}", line) for line in lines[rule + 1 : lines.index("", rule)]]
    return {name: cells for name, *cells in table}


def assert_refused(capsys, code: int, message: str, *, late: bool = False) -> None:
    """Exit code 2 and one line on stderr that says why (the last line, where a progress bar stood before it)."""
    captured = capsys.readouterr()
    line = captured.err.splitlines()[-1]
    assert code == 2
    assert late or captured.err.count("\n") == 1, captured.err
    assert line.startswith("error: "), captured.err
    assert "Traceback" not in captured.err
    assert re.search(message, line), line


def image_folder(path: Path) -> Path:
    """Two classes of images of five modes and several sizes."""
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (path / name).mkdir(parents=True)
        for i, mode in enumerate(("RGB", "L", "P", "RGBA", "LA", "RGB", "L", "P")):
            pixels = generator.integers(0, 256, (12 + i, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(path / name / f"{i}.png")
    return path
