"""Checks of the arguments of this package's public functions."""

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.storage_policy import ExemplarsBuffer

from continual.memory import Returning
from distill import (
    Distiller,
    InputError,
    LabelledImages,
    PreprocessedImages,
    Preprocessing,
    PrivateSGD,
    TrainingRecipe,
)
from distill.errors import shown
from distill.networks import Network
from distill.runtime.checks import check_device, class_names, require_a, require_flag, require_one_of, require_whole

__all__ = [
    "check_avalanche_options",
    "check_buffer",
    "check_buffer_options",
    "check_encoded_buffer",
    "check_experience",
    "check_gdumb",
    "check_no_collecting",
    "check_order",
    "check_private_naive",
    "check_scenario",
    "check_tested",
    "experiences_of",
]

SEEDS = 2**32  # of NumPy's legacy generator
HOW_TO_PREPROCESS = "preprocessing.apply(images), with a fitted one such as ZCA.fit(images)"


def check_order(num_classes: Any, seed: Any) -> None:
    """Raise `InputError` unless NumPy's legacy generator can shuffle this many classes with this seed."""
    require_whole("num_classes", num_classes, least=1)
    require_whole("seed", seed)
    if seed >= SEEDS:
        raise InputError(f"seed is {seed}; expected less than {SEEDS}")


def check_scenario(train: Any, test: Any, steps: Any, seed: Any) -> None:
    """Raise `InputError` for arguments of another kind than `class_incremental` takes."""
    for name, data in (("train", train), ("test", test)):
        hint = HOW_TO_PREPROCESS if isinstance(data, LabelledImages) else ""
        require_a(name, data, PreprocessedImages, hint=hint)
    require_whole("steps", steps)
    check_order(max(train.num_classes, 1), seed)


def check_no_collecting(distiller: Distiller) -> None:
    """Raise `InputError` for a private distiller where real images would be replayed until all are there."""
    if distiller.is_private:
        raise InputError(
            f"{distiller.method} cannot distil the sub-experiences of an online stream: until the last one the buffer "
            "would hold real images; give whole experiences"
        )


def check_buffer(
    distiller: Any, images_per_class: Any, memory_bytes: Any, classes_at_once: Any, seed: Any, device: Any,
    num_classes: Any, classes: Any, preprocessing: Any, max_size: Any, held_out: Any,
) -> None:  # fmt: skip
    """Raise `InputError` for options of another kind than `DistilledBuffer` takes."""
    require_a("distiller", distiller, Distiller, hint="FRePo(steps=500), for example")
    if distiller.is_private and preprocessing is None and not getattr(distiller, "public_preprocessing", False):
        raise InputError(
            f"{distiller.method} has to know what the images of the stream went through, as nothing may be fitted on "
            "private ones; give preprocessing=Identity() for pixels in [0, 1], or the fixed preprocessing that was "
            "applied, as of distiller.preprocessing_for(...)"
        )
    if distiller.is_private and memory_bytes is not None:
        raise InputError(
            f"memory_bytes was given with {distiller.method}: how many images fit is measured on real ones, without "
            "noise; give images_per_class"
        )
    if images_per_class is not None:
        require_whole("images_per_class", images_per_class, least=1)
    for name, count in (("memory_bytes", memory_bytes), ("classes_at_once", classes_at_once)):
        if count is not None:
            require_whole(name, count, least=1)
    require_whole("seed", seed)
    check_device(device)
    check_kinds_of_classes(num_classes, classes)
    require_a("preprocessing", preprocessing, Preprocessing, type(None))
    if max_size is not None:
        require_whole("max_size", max_size, least=1)
    require_a("held_out", held_out, PreprocessedImages, type(None))


def check_buffer_options(
    num_classes: int | None, classes: Sequence[str] | None, max_size: int | None, memory_bytes: int | None,
    adaptive: Any, returning: str, transform: Any, progress: Any,
) -> None:  # fmt: skip
    """Raise `InputError` for options of `DistilledBuffer` that make no sense, alone or together."""
    require_flag("adaptive", adaptive)
    require_flag("progress", progress)
    check_classes(num_classes, classes)
    if adaptive and max_size is None and memory_bytes is None and num_classes is None and classes is None:
        raise InputError("adaptive shares out a fixed number of images; give max_size, or num_classes")
    require_one_of("returning", returning, get_args(Returning))
    check_transform(transform)


def check_encoded_buffer(
    policy: Any, memory_bytes: Any, num_classes: Any, classes: Any, preprocessing: Any, transform: Any, seed: Any
) -> None:
    """Raise `InputError` for options that `EncodedBuffer` cannot use."""
    hint = "ClassBalancedBuffer(1), for example"
    require_a("policy", policy, ExemplarsBuffer, hint=hint)
    if not hasattr(policy, "post_adapt") or hasattr(policy, "nbytes"):
        raise InputError(f"policy is a {type(policy).__name__}; expected a policy of Avalanche's own: {hint}")
    if len(policy.buffer):
        raise InputError(f"policy holds {len(policy.buffer)} images already; expected a new one")
    require_whole("memory_bytes", memory_bytes, least=1)
    check_kinds_of_classes(num_classes, classes)
    check_classes(num_classes, classes)
    require_a("preprocessing", preprocessing, Preprocessing, type(None))
    check_transform(transform)
    require_whole("seed", seed)


def check_kinds_of_classes(num_classes: Any, classes: Any) -> None:
    """Raise `InputError` unless they are a number and names, where they are given."""
    if num_classes is not None:
        require_whole("num_classes", num_classes, least=1)
    if classes is not None and not class_names(classes):
        raise InputError("classes are empty; expected a name for each class, or num_classes instead")


def check_classes(num_classes: int | None, classes: Sequence[str] | None) -> None:
    """Raise `InputError` for a number of classes that is not that of their names."""
    if classes is not None and num_classes not in (None, len(classes)):
        raise InputError(f"num_classes is {num_classes}, but {len(classes)} classes are named; give one of the two")


def check_transform(transform: Any) -> None:
    """Raise `InputError` for anything but the values of the option `transform`."""
    known = transform is None or (isinstance(transform, str) and transform == "stream")
    if not known and not callable(transform):
        raise InputError(f"transform is {shown(transform)}; expected 'stream', None or a function of one image tensor")


def check_experience(experience: Any) -> None:
    """Raise `InputError` unless it is an experience of a labelled stream."""
    if not hasattr(experience, "dataset") or not hasattr(experience, "current_experience"):
        raise InputError(f"experience is {shown(experience)}; expected one of an Avalanche stream, with a dataset")


def check_avalanche_options(plugins: Any, evaluator: Any, eval_every: Any, peval_mode: Any) -> None:
    """Raise `InputError` for what Avalanche's own strategies would stumble over later, or not explain."""
    if plugins is not None and not isinstance(plugins, list | tuple):
        raise InputError(f"plugins is {shown(plugins)}; expected a list of Avalanche's plugins, or None")
    for plugin in plugins or ():
        if not any(name.startswith(("before_", "after_")) for name in dir(plugin)):  # as Avalanche calls them
            raise InputError(
                f"a plugin is {shown(plugin)}, which has no before_... or after_... method; expected one such as "
                "Avalanche's SupervisedPlugin"
            )
    if not isinstance(evaluator, EvaluationPlugin) and not callable(evaluator):
        raise InputError(
            f"evaluator is {shown(evaluator)}; expected an EvaluationPlugin, such as accuracy_evaluator(), or a "
            "function that makes one"
        )
    require_whole("eval_every", eval_every, least=-1)
    require_one_of("peval_mode", peval_mode, ("epoch", "iteration", "experience"))


def check_gdumb(recipe: Any, num_classes: Any, seed: Any, eval_mb_size: Any, device: Any, progress: Any) -> None:
    """Raise `InputError` for options of another kind than `GDumb` takes."""
    require_flag("progress", progress)
    require_a("recipe", recipe, TrainingRecipe, type(None))
    if num_classes is not None:
        require_whole("num_classes", num_classes, least=1)
    require_whole("seed", seed)
    require_whole("eval_mb_size", eval_mb_size, least=1)
    check_device(device)


def check_private_naive(
    model: Any, sgd: Any, preprocessing: Any, seed: Any, eval_mb_size: Any, device: Any, progress: Any
) -> None:
    """Raise `InputError` for arguments of another kind than `PrivateNaive` takes."""
    require_a("model", model, Network, hint="sgd.build(data, seed=0), for example")
    require_a("sgd", sgd, PrivateSGD, hint="PrivateSGD(epsilon=1.0), for example")
    require_a("preprocessing", preprocessing, Preprocessing, hint="Identity() for pixels in [0, 1]")
    require_whole("seed", seed)
    require_whole("eval_mb_size", eval_mb_size, least=1)
    require_flag("progress", progress)
    check_device(device)


def experiences_of(stream: Any) -> list[Any]:
    """The experiences of a stream, or the one given; raises `InputError` for what is no stream."""
    if hasattr(stream, "dataset"):
        return [stream]
    if not isinstance(stream, Iterable):
        raise InputError(f"stream is {shown(stream)}; expected a stream of Avalanche")
    return list(stream)


def check_tested(strategy: Any, stream: Any) -> None:
    """Raise `InputError` unless the strategy can be tested on the stream."""
    if not callable(getattr(strategy, "eval", None)) or not hasattr(strategy, "evaluator"):
        raise InputError(f"strategy is {shown(strategy)}; expected a strategy of Avalanche, such as GDumb(...)")
    experiences = experiences_of(stream)
    if not len(experiences):
        raise InputError("the stream has no experience to test on")
    for experience in experiences:
        check_experience(experience)
