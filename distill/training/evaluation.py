"""How good a synthetic set is: networks trained on it from scratch, tested on real images."""

import statistics
from dataclasses import dataclass, field

import torch
from torch import Tensor

from distill.data.labelled import LabelledImages
from distill.errors import InputError, NotFiniteError
from distill.networks import Network
from distill.preprocess import PreprocessedImages
from distill.preprocess.streamed import StreamedImages
from distill.runtime.checks import check_device, require_a, require_flag, require_same_classes, require_whole
from distill.runtime.progress import progress_bar
from distill.runtime.seeds import Purpose, generator_for
from distill.sets.synthetic import SyntheticSet
from distill.training.accuracy import accuracy
from distill.training.kernel_ridge import krr_weights
from distill.training.loop import train
from distill.training.recipe import TrainingRecipe

__all__ = ["Evaluation", "evaluate", "evaluate_network", "network_features", "train_network"]

CHUNK = 500


@dataclass(frozen=True)
class Evaluation:
    """Accuracies in [0, 1] of each network trained, in seed order: its own, and of KRR on its features."""

    network: list[float] = field(default_factory=list)
    krr: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        def percent(values: list[float]) -> str:
            spread = statistics.stdev(values) if len(values) > 1 else float("nan")
            return f"{100 * statistics.mean(values):.1f} ± {100 * spread:.1f} %"

        return f"network {percent(self.network)}, KRR {percent(self.krr)} (n = {len(self.network)})"


def train_network(
    synthetic: SyntheticSet,
    *,
    recipe: TrainingRecipe,
    generator: torch.Generator,
    device: str = "cpu",
    progress: bool = False,
) -> Network:
    """Train a fresh network of `recipe` on the set; all randomness comes from `generator`. Returned in eval mode."""
    shape = synthetic.images.shape
    network = recipe.build(
        image_shape=(int(shape[1]), int(shape[2]), int(shape[3])),
        num_classes=synthetic.num_classes,
        generator=generator,
    ).to(device)
    images = synthetic.images.float().to(device)
    labels = recipe.labels_for(synthetic.labels.float()).to(device)
    steps = recipe.steps_for(len(synthetic))
    optimizer = recipe.optimizer(network)
    network.train()
    batches = progress_bar(
        recipe.batches(len(synthetic), generator), shown=progress, total=steps, desc="train", unit="step"
    )
    mixed = (recipe.mixed(images[chosen], labels[chosen], generator) for chosen in batches)
    losses = (recipe.criterion(network(batch), targets) for batch, targets in mixed)
    train(losses, optimizer, recipe.scheduler(optimizer, steps), average=recipe.average_of(network))
    return network.eval()


@torch.no_grad()
def network_features(network: Network, images: Tensor | StreamedImages) -> Tensor:
    """Features `(n, d)` of images `(n, channels, height, width)`, in chunks, on the network's device."""
    return torch.cat([network.features(chunk.to(network.head.weight)) for chunk in images.split(CHUNK)])


def evaluate(
    synthetic: SyntheticSet,
    test: LabelledImages | PreprocessedImages,
    *,
    recipe: TrainingRecipe | None = None,
    networks: int = 5,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Evaluation:
    """Train `networks` networks from scratch on the set and test each, and KRR on its features, on `test`.

    - `test`: raw images, to which the set's preprocessing is applied, or images preprocessed with it already.
    - `recipe`: network, loss, schedule and augmentation; default: the published one (`TrainingRecipe()`: MSE, 1000 to
      40 000 steps by the size of the set).
    - `networks`: how many are trained, 1 or more; 5 by default. The first ones are the same for any number.
    - `seed`: every random choice comes from it, 0 or more. Its stream is none of those that distillers draw from, so
      that `seed=0` of both is no common start.
    - `device`: where networks are trained and tested ("cpu", "cuda", "mps").
    - `progress`: show a progress bar for each network.

    Gives accuracies in [0, 1], one of each network and one of KRR on its features. The last state of each training
    counts: no checkpoint is picked by accuracy.

    Raises `InputError` when there is nothing to train or test on, an argument makes no sense, a network becomes NaN, or
    the two were preprocessed in different ways or differ in the names of classes or in the shape of images.

    >>> from distill import Random, load_images
    >>> synthetic = Random().distill(load_images("digits"), images_per_class=1)
    >>> recipe = TrainingRecipe(width=4, depth=1, train_steps=1)
    >>> test = load_images("digits", split="test").subset(range(50))
    >>> len(evaluate(synthetic, test, recipe=recipe, networks=2).network)
    2
    """
    require_a("synthetic", synthetic, SyntheticSet)
    require_a("test", test, LabelledImages, PreprocessedImages, hint="load_images(source, split='test'), for example")
    require_a("recipe", recipe, TrainingRecipe, type(None))
    require_whole("networks", networks)
    require_whole("seed", seed)
    require_flag("progress", progress)
    if networks < 1 or not len(synthetic) or not len(test):
        raise InputError(
            f"{networks} networks, {len(synthetic)} synthetic and {len(test)} test images; expected at least 1 of each"
        )
    if isinstance(test, LabelledImages):
        test = synthetic.preprocessing.apply(test)
    if test.num_classes != synthetic.num_classes or test.images.shape[1:] != synthetic.images.shape[1:]:
        raise InputError(
            f"the synthetic set has {synthetic.num_classes} classes and images of {tuple(synthetic.images.shape[1:])}, "
            f"test {test.num_classes} and {test.image_shape} (channels, height, width); expected the same in both"
        )
    require_same_classes("the synthetic set", synthetic.classes, "test", test.classes)
    if not test.preprocessing.same_as(synthetic.preprocessing):
        raise InputError(
            "the test images were not preprocessed like the synthetic set; use "
            "synthetic.preprocessing.apply(...)"
        )
    check_device(device)
    recipe = TrainingRecipe() if recipe is None else recipe
    result = Evaluation()
    for i in range(networks):
        network, krr = evaluate_network(
            synthetic, test, recipe=recipe, generator=generator_for(seed, Purpose.EVALUATION, i), device=device,
            progress=progress,
        )  # fmt: skip
        result.network.append(network)
        result.krr.append(krr)
    return result


def evaluate_network(
    synthetic: SyntheticSet,
    test: PreprocessedImages,
    *,
    recipe: TrainingRecipe,
    generator: torch.Generator,
    device: str = "cpu",
    progress: bool = False,
) -> tuple[float, float]:
    """Accuracy in [0, 1] of one network trained from scratch on the set, and of KRR on its features.

    KRR's is NaN where its kernel cannot be solved, as when no ReLU lets anything through any more. Raises
    `NotFiniteError` when the training diverged.
    """
    network = train_network(synthetic, recipe=recipe, generator=generator, device=device, progress=progress)
    with torch.no_grad():
        features_s = network_features(network, synthetic.images)
        if not bool(torch.isfinite(features_s).all()):
            raise NotFiniteError(
                f"training of the {recipe.network} network on {len(synthetic)} images diverged (NaN); lower the "
                f"recipe's learning_rate (it is {recipe.learning_rate:g})"
            )
        features = network_features(network, test.images)
        own = accuracy(network.head(features), test.labels)
        try:
            weights = krr_weights(features_s, synthetic.labels.to(features.device))
        except InputError:
            return own, float("nan")
        return own, accuracy(features @ weights, test.labels)
