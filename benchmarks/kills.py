"""Kill runs at random moments, resume them, and compare with undisturbed runs."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.kills.options import KillOptions

    sys.exit(run_program(KillOptions))
