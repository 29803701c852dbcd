"""Our GDumb against Avalanche's own, at the same memory, network and number of updates."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.class_incremental.options import StockOptions

    sys.exit(run_program(StockOptions))
