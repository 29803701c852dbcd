"""How every benchmark runs as a program: its options, errors of the caller in one line, and how it is stopped.

Nothing heavy is imported before the options are read, nor anything but the standard library before Ctrl-C is heeded.
"""

import io
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness.options import Options, UsageError

__all__ = ["run_command", "run_program"]


def run_program(options: type[Options], argv: Sequence[str] | None = None) -> int:
    """Read a command line and run the program that takes it; returns its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        with missing_packages_named():
            command_line = import_module("benchmarks.harness.command_line")
        if {"-h", "--help", "--help-all"} & set(given):
            command_line.print_help(options, program=Path(sys.argv[0]).name, everything="--help-all" in given)
            return 0
        with missing_packages_named():
            parsed = command_line.parse(options, given)
    except UsageError as error:
        return refused(error)
    except KeyboardInterrupt:
        return stopped(options.when_stopped, 130)

    def command() -> None:
        module, _, function = options.main.partition(":")
        with missing_packages_named():
            main = getattr(import_module(module), function)
        main(parsed)

    return run_command(command, when_stopped=options.when_stopped)


def run_command(command: Callable[[], None], *, when_stopped: str = "stopped") -> int:
    """Run a program; an error of the caller ends in one line and exit code 2, Ctrl-C in 130 and `when_stopped`.

    SIGTERM is the same as Ctrl-C, with 143; under `torchrun` it ends the process at once, because one that waits for
    others would not hear of it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be more than the terminal can show
            stream.reconfigure(errors="backslashreplace")
    try:
        return watched(command, when_stopped)
    except UsageError as error:
        return refused(error)
    except KeyboardInterrupt:
        return stopped(when_stopped, 130)


def watched(command: Callable[[], None], when_stopped: str) -> int:
    """Run a program once what it takes to know its errors and signals is imported."""
    with missing_packages_named():
        from distill import InputError
        from distill.runtime.distributed import ranks_started
        from distill.runtime.signals import Terminated, terminations_interrupt
        from privacy import InputError as AuditInputError
    try:
        with terminations_interrupt() if ranks_started() == 1 else nullcontext(), warnings.catch_warnings():
            warnings.showwarning = warning_line
            command()
    except (InputError, AuditInputError) as error:
        return refused(error)
    except Terminated:
        return stopped(when_stopped, 143)
    return 0


@contextmanager
def missing_packages_named() -> Iterator[None]:
    """Where a package that is imported is not installed, raise `UsageError`, which says what to install."""
    try:
        yield
    except ImportError as error:
        said = str(error)
        if error.name == "tyro":
            said = "the benchmarks need more packages: pip install --editable '.[benchmarks]'"
        raise UsageError(said) from error


def refused(error: Exception) -> int:
    """Print what is wrong; returns the exit code."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)  # one line, whatever it quotes
    return 2


def stopped(said: str, code: int) -> int:
    """Print how it was stopped; returns the exit code."""
    print(f"\n{said}", file=sys.stderr)
    return code


def warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """One line for warnings that concern the user, Python's own form for all others."""
    if issubclass(category, UserWarning):
        print(f"warning: {' '.join(str(message).split())}", file=file or sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)
