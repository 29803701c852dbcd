"""Accuracy against epsilon: private distillation, and DP-SGD under the same accountant."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.private.options import PrivateOptions

    sys.exit(run_program(PrivateOptions))
