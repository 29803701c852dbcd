"""Kill runs at random moments, resume them, and compare with undisturbed runs."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.options import run_command
    from benchmarks.studies.kills.study import main

    sys.exit(run_command(main))
