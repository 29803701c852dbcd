"""Programs of the benchmarks, run in the process of the tests."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from benchmarks.harness.methods import METHODS, prefix_of
from benchmarks.harness.options import Options
from benchmarks.harness.program import run_program

Command = Callable[..., int]


def in_this_process(options: type[Options], tiny: Sequence[str]) -> Iterator[Command]:
    """For a fixture: the program that takes `options`, its arguments after `tiny` to its exit code."""
    patch = pytest.MonkeyPatch()
    patch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)  # holds for a whole process
    yield lambda *arguments: run_program(options, with_defaults(options, tiny, *arguments))
    patch.undo()


def with_defaults(options: type[Options], tiny: Sequence[str], *arguments: object) -> list[str]:
    """`arguments`, of one given twice the last, after those of `tiny` that are not among them and have an effect."""
    given = last_of_each(*arguments)
    groups: list[list[str]] = []
    for word in tiny:
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(word)
    kept = [group for group in groups if group[0] not in given]
    run = {name: tuple(values_of(given, f"--{name}")) for name in ("method", "arms", "sweep", "set")}
    known = {name: values for name, values in run.items() if values and hasattr(options, name)}
    parts = options(**known).parts
    idle = tuple(f"--{prefix}-" for prefix in map(prefix_of, METHODS) if prefix not in parts)
    idle += tuple(f"--{swept}" for swept in run["sweep"][:1])
    if known.get("set"):
        idle = (*idle, "--images-per-class")
    if run["arms"] == ("real",):
        idle = (*idle, "--images-per-class")
    return [*(word for group in kept if not group[0].startswith(idle) for word in group), *given]


def values_of(words: Sequence[str], flag: str) -> Iterator[str]:
    """The values of a flag."""
    if flag in words:
        for word in words[words.index(flag) + 1 :]:
            if word.startswith("--"):
                return
            yield word


def last_of_each(*arguments: object) -> list[str]:
    """The arguments with an option that is given twice as it was given last."""
    groups: dict[str, list[str]] = {}
    name = ""
    for word in map(str, arguments):
        if word.startswith("--"):
            name = word.partition("=")[0]
            groups[name] = []
        groups.setdefault(name, []).append(word)
    return [word for group in groups.values() for word in group]
