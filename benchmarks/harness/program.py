"""How every benchmark runs as a program: its options, errors of the caller in one line, and how it is stopped."""

import io
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness.command_line import UsageError, parse, print_help
from benchmarks.harness.options import Options

__all__ = ["run_command", "run_program"]


def run_program(options: type[Options], argv: Sequence[str] | None = None) -> int:
    """Read a command line and run the program that takes it; returns its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if {"-h", "--help", "--help-all"} & set(given):
        print_help(options, program=Path(sys.argv[0]).name, everything="--help-all" in given)
        return 0

    def command() -> None:
        module, _, function = options.main.partition(":")
        getattr(import_module(module), function)(parse(options, given))

    return run_command(command, when_stopped=options.when_stopped)


def run_command(command: Callable[[], None], *, when_stopped: str = "stopped") -> int:
    """Run a program; an error of the caller ends in one line and exit code 2, Ctrl-C in 130 and `when_stopped`.

    SIGTERM is the same as Ctrl-C, with 143; under `torchrun` it ends the process at once, because one that waits for
    others would not hear of it.
    """
    # Here, not above: these bring torch, which the help does not wait for.
    from distill import InputError
    from distill.runtime.distributed import ranks_started
    from distill.runtime.signals import Terminated, terminations_interrupt
    from privacy import InputError as AuditInputError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be more than the terminal can show
            stream.reconfigure(errors="backslashreplace")
    try:
        with terminations_interrupt() if ranks_started() == 1 else nullcontext(), warnings.catch_warnings():
            warnings.showwarning = warning_line
            command()
    except (InputError, AuditInputError, UsageError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)  # one line, whatever it quotes
        return 2
    except KeyboardInterrupt as stop:
        print(f"\n{when_stopped}", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    return 0


def warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """One line for warnings that concern the user, Python's own form for all others."""
    if issubclass(category, UserWarning):
        print(f"warning: {' '.join(str(message).split())}", file=file or sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)
