"""Whether two runs ended in the same: files, results, tables and sets; all but what they took."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from distill.files import read_json
from distill.tensor_files import read_tensors

__all__ = ["differences"]

COSTS = {"cost", "seconds", "resume", "output"}
COST_LINES = re.compile(r"^resumed: |^-+$|minutes, [\d.]+ GiB of memory$")


def differences(one: Path, other: Path) -> list[str]:
    """What differs, in words; nothing where all is the same."""
    files, wanted = ({str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} for run in (one, other))
    found = [f"only in one: {name}" for name in sorted(files ^ wanted)]
    for name in sorted(files & wanted):
        if content(one / name) != content(other / name):
            found.append(f"other {name}")
    return found


def content(path: Path) -> Any:
    """What a file says of the results; nothing for pictures, which show times too, and for the record of costs."""
    if path.name == "processes.json":
        return None
    readers = {".json": figures, ".txt": table, ".safetensors": tensors, ".npz": arrays}
    return readers[path.suffix](path) if path.suffix in readers else None


def figures(path: Path) -> str:
    """JSON without costs."""
    return json.dumps(without_costs(read_json(path)), sort_keys=True)


def without_costs(value: Any) -> Any:
    """The same without what was measured in seconds, and options that say where and how often."""
    if isinstance(value, list):
        return [without_costs(item) for item in value]
    if isinstance(value, dict):
        return {k: without_costs(v) for k, v in value.items() if k not in COSTS and not k.endswith("_seconds")}
    return value


def table(path: Path) -> list[list[str]]:
    """The cells of each line, without the columns and lines on time and memory."""
    lines, width, dropped = [], 0, 0
    for line in path.read_text().splitlines():
        if COST_LINES.search(line):
            continue
        cells = re.split(r"\s{2,}", line.strip())
        heads = [cell for cell in cells if cell in ("seconds", "minutes")]
        if heads:
            # From the right, since the first column may have no heading.
            width, dropped = len(cells), cells.index(heads[0]) - len(cells)
        if dropped and len(cells) - width in (0, 1):
            del cells[dropped]
        lines.append(cells)
    return lines


def tensors(path: Path) -> tuple[dict[str, Any], str]:
    """Tensors and metadata of a safetensors file."""
    found, metadata = read_tensors(path)
    said = json.dumps(without_costs(metadata), sort_keys=True)  # the file has them in any order
    return {name: (str(tensor.dtype), tensor.tolist()) for name, tensor in found.items()}, said


def arrays(path: Path) -> dict[str, Any]:
    """The numbers of an .npz; its texts include costs."""
    with np.load(path) as found:
        return {name: found[name].tolist() for name in found.files if found[name].dtype.kind in "biuf"}
