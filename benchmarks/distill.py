"""Distil a data set by one method or several, train networks on the results from scratch, draw them and save them.

    python benchmarks/distill.py --dataset mnist --images-per-class 10

The program itself is distillation.py, beside this file: this one bears the name of the package that all programs here
import, and Python looks in their folder first. So it sees to it that `import distill` is the package, for itself and
for the programs beside it.
"""

import importlib
import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)

sys.path[:] = [path for path in sys.path if str(Path(path or ".").resolve()) != HERE]
sys.modules.pop("distill", None)  # this file, where a program beside it imported it by mistake
importlib.import_module("distill")
sys.path.append(HERE)

if __name__ == "__main__":
    from distillation import main
    from options import run_command

    sys.exit(run_command(main, when_stopped="stopped; the same command with --resume goes on from here"))
