"""Audit the records in an .npz file: `python -m privacy records.npz`."""

import argparse
import io
import os
import sys
from pathlib import Path
from typing import NoReturn, get_args

from privacy.attacks import ATTACKS
from privacy.auditing import Engine, audit
from privacy.errors import InputError
from privacy.files import PICTURES
from privacy.records import AttackRecords

OUTPUTS = ("html", "json", "roc", "save")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; argparse, so that the audit needs no further package for a dozen options."""

    def error(self, message: str) -> NoReturn:
        """Print the message, and exit with code 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m privacy", description="Audit the records in an .npz file.")
    add = parser.add_argument
    add("records", type=Path,
        help="an .npz file with members_outputs, members_labels, non_members_outputs, non_members_labels; optionally "
        "also members_losses and non_members_losses, and outputs: 'logits' (default) or 'probabilities'")
    add("--attacks", nargs="+", choices=[*ATTACKS, "all"], default=["all"], help="which attacks (default: all)")
    add("--engine", choices=get_args(Engine), default="fast",
        help="implementation of the attacks: this package's or TensorFlow Privacy's (default: fast)")
    add("--seed", type=int, default=0, help="the same seed gives the same scores (default: 0)")
    add("--jobs", type=int, help="number of parallel processes (default: one per core)")
    add("--splits", type=int,
        help="number of random splits of the records for the attacks that learn; results are means "
        "(default: 3, or 2 from 3000 members and non-members on; 1 for tf-privacy, which then gives no intervals)")
    add("--by-class", action="store_true", help="also report on each class separately")
    add("--by-correctness", action="store_true",
        help="also report separately on correctly and incorrectly classified records")
    add("--html", type=Path, help="write a self-contained page")
    add("--json", type=Path, help="write all results as JSON")
    add("--roc", type=Path, help="draw the ROC curves, .png, .pdf, .svg or .jpg")
    add("--save", type=Path, help="write the whole report, including the scores of every record, as .npz")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Print the report, and write the files asked for; a mistake of the caller ends in one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack some of the characters
            stream.reconfigure(errors="backslashreplace")
    arguments = parse(argv)
    try:
        run(arguments)
        sys.stdout.flush()
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Audit, write, print."""
    check_outputs(arguments)
    report = audit(
        AttackRecords.load(arguments.records),
        attacks=arguments.attacks,
        engine=arguments.engine,
        seed=arguments.seed,
        jobs=arguments.jobs,
        splits=arguments.splits,
        by_class=arguments.by_class,
        by_correctness=arguments.by_correctness,
        info={"records": arguments.records.name},
        progress=True,
    )
    writers = {"html": report.to_html, "json": report.to_json, "roc": report.plot_roc, "save": report.save}
    written = {name: writers[name](path) for name in OUTPUTS if (path := getattr(arguments, name))}
    print(report)
    for name, path in written.items():
        print(f"{name}: {path}")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for files that cannot be written, or would overwrite each other or the records."""
    taken = {arguments.records.absolute(): "the records"}
    for name in OUTPUTS:
        path: Path | None = getattr(arguments, name)
        if path is None:
            continue
        if path.absolute() in taken:
            raise InputError(f"--{name} {path} would overwrite {taken[path.absolute()]}; give it another name")
        if path.is_dir():
            raise InputError(f"--{name} {path} is a folder; expected the name of a file")
        if name == "roc" and path.suffix.lower() not in PICTURES:
            raise InputError(f"--roc {path} is not a picture; expected a name that ends in {', '.join(PICTURES)}")
        taken[path.absolute()] = f"--{name}"


if __name__ == "__main__":
    sys.exit(main())
