"""How fast a FRePo step is, against this machine's ceiling, a plain implementation, DM and DSA."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.speed.options import SpeedOptions

    sys.exit(run_program(SpeedOptions))
