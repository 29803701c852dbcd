"""Options of the distillation benchmark that go with each other, and those that do not."""

import dataclasses
import math

from benchmarks.harness.checks import check_at_least, check_seeds
from benchmarks.harness.command_line import flag, option_value
from benchmarks.harness.methods import METHODS, distiller_class, option_classes
from benchmarks.harness.tasks import by_workers
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.distillation.saved_sets import check_set_options
from distill import InputError
from distill.runtime.ranks import ranks_started

__all__ = ["check_options", "check_ranks"]


def check_options(options: DistillationOptions) -> None:
    """Raise `InputError` for numbers that make no sense, and options that exclude each other."""
    check_at_least(options, 1, "networks", "images_per_class")
    check_at_least(options, 0, "held_out")
    if options.seconds is not None and not 0 < options.seconds < math.inf:
        raise InputError(f"--seconds is {options.seconds}; wanted more than 0")
    check_seeds(options.seeds)
    check_set_options(options)
    dropped = [f"--train-{name}" for name in ("network", "norm", "depth") if name in options.given.get("train", ())]
    if dropped and options.evaluate_on:
        raise InputError(f"{dropped[0]} and --evaluate-on both name networks; leave one out")
    if options.sweep:
        check_sweep(options)


def check_ranks(options: DistillationOptions) -> None:
    """Raise `InputError` for options that do not go with several processes under torchrun."""
    count = ranks_started()
    if count == 1:
        return
    if (options.jobs or 1) > 1:
        raise InputError(f"--jobs is {options.jobs}, but torchrun started {count} processes; use one of them")
    if by_workers(options):
        raise InputError(f"--backend is {options.backend}, but torchrun started {count} processes; use one of them")
    if options.seconds is not None:
        raise InputError("--seconds is not possible under torchrun; give the steps (--frepo-steps, ...) instead")


def check_sweep(options: DistillationOptions) -> None:
    """Raise `InputError` unless it is an option of a method that is run, with values that make a difference."""
    option, *values = options.sweep
    prefix, _, name = option.partition("-")
    name = name.replace("_", "-")
    if prefix not in METHODS or prefix not in option_classes():
        methods = ", ".join(f"{method}-..." for method in METHODS if method in option_classes())
        raise InputError(f"--sweep {option} is no option of a method; wanted {methods}, as in frepo-pool-size")
    known = [field.name for field in dataclasses.fields(distiller_class(prefix))]
    key = name.replace("-", "_")
    if key not in known:
        raise InputError(f"--sweep {option}: {prefix} has no such option to sweep; it has {', '.join(known)}")
    if options.method and prefix not in options.method and "all" not in options.method:
        raise InputError(f"--sweep {option}, but --method {' '.join(options.method)}; add {prefix} to the methods")
    if options.seconds and name in ("steps", "iterations", "outer-loop"):
        raise InputError(f"--sweep {option} and --seconds both say how many steps; leave one out")
    if name == "noise-std" and "noise" not in str(options.given.get(prefix, {}).get("init")):
        raise InputError(f"--sweep {option} makes no difference to real images; add --{prefix}-init real+noise")
    if key in options.given.get(prefix, {}):
        raise InputError(f"--sweep {option} gives {flag(prefix, key)} its values; leave out {flag(prefix, key)}")
    read = [option_value(distiller_class(prefix), key, value, flag=option) for value in values]
    if not values or len(set(read)) < len(read):
        raise InputError(f"--sweep {option} has values {', '.join(values) or 'none'}; wanted one or more, different")
