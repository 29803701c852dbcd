"""Membership-inference audit of models trained on real images and on images distilled from them."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the repository in place of this folder
    from benchmarks.harness.program import run_program
    from benchmarks.studies.membership.options import MembershipOptions

    sys.exit(run_program(MembershipOptions))
