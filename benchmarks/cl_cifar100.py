"""Class-incremental learning with a replay buffer of distilled, random or herded images."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.class_incremental.options import ClassIncrementalOptions

    sys.exit(run_program(ClassIncrementalOptions))
