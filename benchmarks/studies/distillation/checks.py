"""Options of the distillation benchmark that go with each other, and those that do not."""

import dataclasses
import math
from collections.abc import Iterable
from difflib import get_close_matches

from benchmarks.harness.checks import check_at_least, check_seeds
from benchmarks.harness.command_line import flag, option_value
from benchmarks.harness.methods import METHODS, distiller_class, methods_of, option_classes, prefix_of
from benchmarks.harness.tasks import by_workers
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.distillation.saved_sets import check_set_options
from distill import InputError
from distill.distillers.stepwise import StepwiseDistiller
from distill.runtime.distributed import ranks_started

__all__ = ["check_options", "check_ranks"]


def check_options(options: DistillationOptions) -> None:
    """Raise `InputError` for numbers that make no sense, and options that exclude each other."""
    check_at_least(options, 1, "networks", "images_per_class")
    check_at_least(options, 0, "held_out")
    if options.seconds is not None and not 0 < options.seconds < math.inf:
        raise InputError(f"--seconds is {options.seconds}; expected more than 0")
    check_seeds(options.seeds)
    check_set_options(options)
    dropped = [f"--train-{name}" for name in ("network", "norm", "depth") if name in options.given.get("train", ())]
    if dropped and options.evaluate_on:
        raise InputError(f"{dropped[0]} and --evaluate-on both select networks; use only one")
    if options.budget is not None and (options.seconds is not None or options.sweep):
        other = "--sweep" if options.sweep else "--seconds"
        raise InputError(f"--budget chooses the steps of all methods, and so does not go with {other}; leave one out")
    if options.curve and not learning(options.methods):
        raise InputError(
            f"--curve was given, but --method {' '.join(options.methods)} learns no images; add one, such as frepo"
        )
    if options.sweep:
        check_sweep(options)


def learning(methods: Iterable[str]) -> list[str]:
    """Those that learn images step by step."""
    return [method for method in methods if issubclass(distiller_class(method), StepwiseDistiller)]


def check_ranks(options: DistillationOptions) -> None:
    """Raise `InputError` for options that do not go with several processes under torchrun."""
    count = ranks_started()
    if count == 1:
        return
    if (options.jobs or 1) > 1:
        raise InputError(f"--jobs is {options.jobs}, but torchrun started {count} processes; use one of them")
    if by_workers(options):
        raise InputError(f"--backend is {options.backend}, but torchrun started {count} processes; use one of them")
    if options.budget is not None:
        raise InputError("--budget is not possible under torchrun; leave it out, or use one process")
    if options.curve:
        raise InputError("--curve is not possible under torchrun; leave it out, or use one process")
    if options.seconds is not None:
        raise InputError("--seconds is not possible under torchrun; give the steps (--frepo-steps, ...) instead")


def check_sweep(options: DistillationOptions) -> None:
    """Raise `InputError` unless it is an option of a method that is run, with values that make a difference."""
    option, *values = options.sweep
    prefix, _, name = option.partition("-")
    if not methods_of(prefix) or prefix not in option_classes():
        prefixes = ", ".join(f"{one}-..." for one in dict.fromkeys(map(prefix_of, METHODS)) if one in option_classes())
        raise InputError(f"--sweep {option} is not an option of a method; expected {prefixes}, as in frepo-pool-size")
    cls, key, name = option_classes()[prefix], name.replace("-", "_"), name.replace("_", "-")
    known = [flag(prefix, field.name).removeprefix("--") for field in dataclasses.fields(cls)]
    if f"{prefix}-{name}" not in known:
        close = get_close_matches(option, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
        raise InputError(f"--sweep: unknown option {option}; {hint}")
    if options.method and not {*methods_of(prefix), "all"} & {*options.method}:
        missing = " or ".join(methods_of(prefix))
        raise InputError(f"--sweep {option}, but --method {' '.join(options.method)}; add {missing} to the methods")
    if options.seconds and name in ("steps", "iterations", "outer-loop"):
        raise InputError(f"--sweep {option} and --seconds both set the number of steps; use only one")
    if name == "noise-std" and "noise" not in str(options.given.get(prefix, {}).get("init")):
        raise InputError(f"--sweep {option} has no effect with real initial images; add --{prefix}-init real+noise")
    if key in options.given.get(prefix, {}):
        raise InputError(f"--sweep {option} gives {flag(prefix, key)} its values; leave out {flag(prefix, key)}")
    read = [option_value(cls, key, value, flag=option) for value in values]
    if not values or len(set(read)) < len(read):
        raise InputError(f"--sweep {option} has values {', '.join(values) or 'none'}; expected one or more, different")
