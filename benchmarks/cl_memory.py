"""What should a replay memory of a given number of bytes hold? Accuracy against bytes per class."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.memory.options import MemoryOptions

    sys.exit(run_program(MemoryOptions))
