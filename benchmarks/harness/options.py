"""Command lines made from the options of our classes: one default in one place, one text in help and docstring."""

import argparse
import dataclasses
import io
import re
import sys
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.harness.process import Precision
from distill import InputError
from distill.data.labelled import DATASETS
from distill.runtime.ranks import ranks_started
from distill.runtime.stops import Terminated, terminations_interrupt
from privacy import InputError as AuditInputError

__all__ = [
    "add_cache_option",
    "add_class_options",
    "add_machine_options",
    "add_run_options",
    "class_options",
    "fill_preset",
    "option_value",
    "run_command",
]

YES_OR_NO = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def add_run_options(
    parser: argparse.ArgumentParser, *, presets: Mapping[str, Any], dataset: str, output: str
) -> None:
    """The options that every program here has; `dataset` and `output` are the defaults to name."""
    add = parser.add_argument
    add("--dataset", default=dataset, help=f"{', '.join(DATASETS)}, a folder or an .npz (default: {dataset})")
    add("--data-dir", type=Path, help="where data sets lie or are downloaded to (default: $FREPO_DATA, else ./data)")
    add("--resolution", type=int, metavar="SIDE",
        help="resize the images of a folder to SIDE x SIDE (default: the data set's own)")
    add("--preset", choices=presets, default="quick",
        help="quick: for 2 CPU cores; paper: as published, for a GPU (default: quick)")
    add("--width", type=int, help="width of all networks; the options below set it for each use")
    add_machine_options(parser)
    add("--output", type=Path, help=f"folder for results (default: {output})")
    add("--resume", action="store_true", help="resume the run in --output, on the same data; ends in the same figures")


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Where decoded images are kept, for programs that read their data by `labelled.load_parts`."""
    parser.add_argument("--cache-dir", type=Path, help="where images decoded from files are kept (default: "
                        "$FREPO_CACHE, else cache/ in the data folder)")  # fmt: skip


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """What to compute on, and how precisely."""
    add = parser.add_argument
    add("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    add("--precision", choices=typing.get_args(Precision), default="float32",
        help="of products in convolutions and matrix products: float32, tf32 (NVIDIA GPUs), bfloat16 (CPUs that have "
        "it); faster, and other figures (default: float32)")


def described(cls: type) -> dict[str, str]:
    """The sentences on each option in the bullet lists of a class docstring and its bases'.

    A class speaks of an option that its base has described only where one of its bullets begins with it.
    """
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        own: dict[str, str] = {}
        headed: set[str] = set()
        for bullet in re.split(r"\n\s*- (?=`)", base.__dict__.get("__doc__") or "")[1:]:
            text = " ".join(bullet.split("\n\n")[0].split())
            for name in re.findall(r"`(\w+)`", text):
                own.setdefault(name, text)
            headed.update(re.findall(r"`(\w+)`", re.split(r"[^`\w, ]", text)[0]))
        texts |= {name: text for name, text in own.items() if name in headed or name not in texts}
    return texts


def parser_for(annotation: Any) -> dict[str, Any]:
    """The argparse settings for a type: literals, optional values, booleans, numbers, text."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is typing.Literal:
        return {"choices": typing.get_args(annotation)}
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": annotation, "metavar": annotation.__name__.upper()}


def option_value(cls: type, name: str, text: str, *, flag: str) -> Any:
    """`text` as a value of the option `name` of the dataclass `cls`, as its flag on the command line would take it.

    Raises `InputError` that names the `flag` for what the option cannot be.
    """
    settings = parser_for(typing.get_type_hints(cls)[name])
    if "choices" in settings:
        value = next((choice for choice in settings["choices"] if str(choice) == text), None)
        wanted = f"one of {', '.join(map(str, settings['choices']))}"
    elif "action" in settings:
        value, wanted = YES_OR_NO.get(text.lower()), "yes or no"
    else:
        wanted = {int: "a whole number", float: "a number"}.get(settings["type"], "text")
        try:
            value = settings["type"](text)
        except ValueError:
            value = None
    if value is None:
        raise InputError(f"{flag} is {text!r}; wanted {wanted}")
    return value


def flag(prefix: str, name: str) -> str:
    """`--prefix-option-name`, without saying the prefix twice."""
    return f"--{prefix}-{name.removeprefix(prefix + '_')}".replace("_", "-")


def add_class_options(
    parser: argparse.ArgumentParser,
    cls: type,
    *,
    prefix: str,
    presets: Mapping[str, Mapping[str, Any]],
    leave_out: set[str],
) -> None:
    """Give every field of the dataclass `cls` a flag `--prefix-field`; `presets`: what differs from its defaults."""
    group = parser.add_argument_group(f"{prefix} options", f"of {cls.__module__}.{cls.__qualname__}")
    texts, hints = described(cls), typing.get_type_hints(cls)
    for option in dataclasses.fields(cls):
        if option.name in leave_out:
            continue
        values = {preset: given.get(option.name, option.default) for preset, given in presets.items()}
        shown = ", ".join(f"{value} ({preset})" for preset, value in values.items())
        if len(set(map(str, values.values()))) == 1:
            shown = str(next(iter(values.values())))
        text = texts.get(option.name, "").replace("`", "").replace("%", "%%")
        group.add_argument(
            flag(prefix, option.name),
            dest=f"{prefix}.{option.name}",
            default=argparse.SUPPRESS,
            help=f"{text} Default: {shown}",
            **parser_for(hints[option.name]),
        )


def class_options(arguments: argparse.Namespace, *, prefix: str, preset: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one class: those of the preset, changed by `--width` and by what was typed for the class."""
    typed = {k.removeprefix(prefix + "."): v for k, v in vars(arguments).items() if k.startswith(prefix + ".")}
    width = {} if arguments.width is None else {"width": arguments.width}
    return {**preset, **width, **typed}


def fill_preset(arguments: argparse.Namespace, presets: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Give options of the run that were not typed the values of the chosen preset."""
    for name, value in presets[arguments.preset]["run"].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """One line for what concerns the user, and Python's own form for everything else."""
    if issubclass(category, UserWarning):
        print(f"warning: {' '.join(str(message).split())}", file=file or sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def run_command(command: Callable[[], None], *, when_stopped: str = "stopped") -> int:
    """Run a program; a mistake of the caller ends in one line and exit code 2, Ctrl-C in 130 and `when_stopped`.

    SIGTERM is the same as Ctrl-C, with 143; under `torchrun` it ends the process at once, for one that waits for others
    would not hear of it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be more than the terminal can show
            stream.reconfigure(errors="backslashreplace")
    try:
        with terminations_interrupt() if ranks_started() == 1 else nullcontext(), warnings.catch_warnings():
            warnings.showwarning = _warning_line
            command()
    except (InputError, AuditInputError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)  # one line, whatever it quotes
        return 2
    except KeyboardInterrupt as stop:
        print(f"\n{when_stopped}", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    return 0
