"""Our GDumb with random real images against Avalanche's own GDumb, at the same memory, network and number of updates.

Both keep 20 real images of each class at the end and train the same network on them alone. Avalanche's restores one
set of initial weights, and has neither schedule nor augmentation nor soft labels; it is given each of several constant
learning rates, and all are shown.
"""

import math
from pathlib import Path
from typing import Any

import torch
from avalanche.training import GDumb as StockGDumb
from avalanche.training.plugins import SupervisedPlugin

from benchmarks.harness.checks import check_at_least, check_seeds
from benchmarks.harness.cost import machine
from benchmarks.harness.process import set_up_process
from benchmarks.harness.results import mean_and_spread
from benchmarks.harness.run_folder import open_file
from benchmarks.studies.class_incremental.options import PRESETS, StockOptions
from continual import DistilledBuffer, GDumb, accuracy_evaluator, class_incremental, stream_accuracy
from distill import InputError, Random, TrainingRecipe, load_images
from distill.files import write_json
from distill.preprocess import PreprocessedImages, default_preprocessing
from distill.runtime.seeds import generator_for


class Updates(SupervisedPlugin):
    """Stops a strategy's training after `number` updates."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def after_update(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Count one, and stop after the last."""
        self.left -= 1
        if self.left == 0:
            strategy.stop_training()


def ours(benchmark: Any, train: PreprocessedImages, recipe: TrainingRecipe, per_class: int, seed: int) -> float:
    """Our GDumb on random real images; trained at the last step only, since it starts anew at each."""
    policy = DistilledBuffer(Random(), images_per_class=per_class, seed=seed, classes=train.classes)
    model = build(train, recipe, seed)
    strategy = GDumb(model=model, storage_policy=policy, recipe=recipe, seed=seed, evaluator=accuracy_evaluator())
    for experience in benchmark.train_stream:
        policy.post_adapt(None, experience)
    strategy.train(benchmark.train_stream[-1])
    return stream_accuracy(strategy, benchmark.test_stream)


def stock(
    benchmark: Any, train: PreprocessedImages, recipe: TrainingRecipe, per_class: int, seed: int, rate: float
) -> float:
    """Avalanche's GDumb: as many updates as ours at the last step, one epoch at those before, which do not count.

    The last epoch is stopped where the updates are as many.
    """
    torch.manual_seed(seed)  # Avalanche draws from the global generator
    memory = per_class * train.num_classes
    model = build(train, recipe, seed)
    strategy = StockGDumb(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=rate),
        criterion=torch.nn.CrossEntropyLoss(),
        mem_size=memory,
        train_mb_size=recipe.batch_size,
        train_epochs=1,
        eval_mb_size=500,
        evaluator=accuracy_evaluator(),
    )
    for experience in benchmark.train_stream[:-1]:
        strategy.train(experience)
    updates = recipe.steps_for(memory)
    strategy.train_epochs = updates  # more than enough
    strategy.plugins.append(Updates(updates))
    strategy.train(benchmark.train_stream[-1])
    return stream_accuracy(strategy, benchmark.test_stream)


def build(train: PreprocessedImages, recipe: TrainingRecipe, seed: int) -> torch.nn.Module:
    """The recipe's network."""
    return recipe.build(
        image_shape=train.image_shape, num_classes=train.num_classes, generator=generator_for(seed)
    )


def check_options(options: StockOptions) -> None:
    """Raise `InputError` for numbers that make no sense."""
    check_at_least(options, 1, "steps", "images_per_class")
    check_seeds(options.seeds)
    if not all(0 < rate < math.inf for rate in options.rates) or len(set(options.rates)) < len(options.rates):
        rates = " ".join(f"{rate:g}" for rate in options.rates)
        raise InputError(f"--rates are {rates}; expected different numbers above 0")


def main(options: StockOptions) -> None:
    """Print the final accuracy of both, and write it. Raises `InputError` where the file is there already."""
    check_options(options)
    output = options.output or Path("results") / f"stock-gdumb-{Path(options.dataset).stem}.json"
    with open_file(output):
        compare(options, output)


def compare(options: StockOptions, output: Path) -> None:
    """Train both, print what they came to and write it."""
    set_up_process(device="cpu", precision="float32")
    raw = load_images(options.dataset, split="train", data_dir=options.data_dir)
    preprocessing = default_preprocessing(raw)
    train = preprocessing.apply(raw)
    test = preprocessing.apply(load_images(options.dataset, split="test", data_dir=options.data_dir))
    benchmark = class_incremental(train, test, steps=options.steps)
    recipe = TrainingRecipe(**PRESETS["quick"]["train"])
    per_class = options.images_per_class
    rows = {"ours": [ours(benchmark, train, recipe, per_class, seed) for seed in options.seeds]}
    for rate in options.rates:
        values = [stock(benchmark, train, recipe, per_class, seed, rate) for seed in options.seeds]
        rows[f"Avalanche's, Adam {rate:g}"] = values
    title = f"GDumb on {per_class} random real images per class of {options.dataset}, final accuracy"
    print(f"{title}, seeds {options.seeds}")
    given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    del given["given"]
    updates = recipe.steps_for(per_class * train.num_classes)
    about = {"options": given, "train": vars(recipe), "updates": updates, "machine": machine()}
    write_json(output, {**about, "accuracy": rows})
    for name, values in rows.items():
        mean, spread = mean_and_spread(values)
        print(f"  {name:24} {100 * mean:5.1f} ± {100 * spread:.1f} %")
    print(f"results in {output}")
