"""Does distilled replay help strategies that keep training one network? Accuracy and forgetting at equal bytes."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.replay.options import ReplayOptions

    sys.exit(run_program(ReplayOptions))
