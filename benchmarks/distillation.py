"""Distil a data set by one method or several, and train networks on the results from scratch."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.distillation.options import DistillationOptions

    sys.exit(run_program(DistillationOptions))
