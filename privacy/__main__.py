"""Audit the records in an .npz file: `python -m privacy records.npz`."""

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
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
    parser = Parser(prog="python -m privacy", description="Audit the records in an .npz file.", allow_abbrev=False)
    add = parser.add_argument
    add("records", nargs="?", type=Path,
        help="an .npz file with members_outputs, members_labels, non_members_outputs, non_members_labels; optionally "
        "also members_losses and non_members_losses, outputs: 'logits' (default) or 'probabilities', and what "
        "AttackRecords.save writes of reference models")
    add("--attacks", nargs="+", action="extend", metavar="ATTACK",
        help=f"which attacks: all, or some of {', '.join(ATTACKS)} (default: all)")
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
    return checked(parser, parser.parse_args(argv))


def checked(parser: Parser, arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments with the file of records, which argparse takes for an attack when it follows `--attacks`."""
    known, attacks = [*ATTACKS, "all"], arguments.attacks or ["all"]
    if arguments.records is None and len(attacks) > 1 and attacks[-1] not in known:
        arguments.records = Path(attacks.pop())
    if unknown := [attack for attack in attacks if attack not in known]:
        choices = ", ".join(map(repr, known))
        parser.error(f"argument --attacks: invalid choice: {unknown[0]!r} (choose from {choices})")
    if arguments.records is None:
        parser.error("the following arguments are required: records")
    arguments.attacks = attacks
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Print the report, and write the files asked for; a mistake of the caller ends in one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack some of the characters
            stream.reconfigure(errors="backslashreplace")
    arguments = parse(argv)
    try:
        with stopped_by_sigterm():
            run(arguments)
            sys.stdout.flush()
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("\nstopped", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    except BrokenPipeError:  # the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends the program as Ctrl-C does."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Within this, SIGTERM raises `Terminated`, so that workers are ended and files are whole; in the main thread."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
        check_folder(path, f"--{name} {path}")
        if name == "roc" and path.suffix.lower() not in PICTURES:
            raise InputError(f"--roc {path} is not a picture; expected a name that ends in {', '.join(PICTURES)}")
        taken[path.absolute()] = f"--{name}"


def check_folder(path: Path, given: str) -> None:
    """Raise `InputError` unless the folder of a file can be written to, or made; `given`: what names the file."""
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{given} cannot be written: {folder} is a file; expected a folder there")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{given} cannot be written: {folder} is not writable; choose another folder")


if __name__ == "__main__":
    sys.exit(main())
