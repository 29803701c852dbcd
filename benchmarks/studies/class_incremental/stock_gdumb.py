"""Our GDumb with random real images against Avalanche's own GDumb, at the same memory, network and number of updates.

Both keep 20 real images of each class at the end and train the same network on them alone. Avalanche's restores one
set of initial weights, and has neither schedule nor augmentation nor soft labels; it is given each of several constant
learning rates, and all are shown.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from avalanche.training import GDumb as StockGDumb

from benchmarks.harness.results import machine, mean_and_spread
from benchmarks.studies.class_incremental.study import PRESETS
from continual import DistilledBuffer, GDumb, accuracy_evaluator, class_incremental, stream_accuracy
from distill import InputError, Random, TrainingRecipe, load_images
from distill.files import write_json
from distill.preprocess import PreprocessedImages, default_preprocessing
from distill.runtime.memory import keep_freed_memory
from distill.runtime.seeds import generator_for


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
    """Avalanche's GDumb; as many updates as ours at the last step, one epoch at those before, whose weights go."""
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
    strategy.train_epochs = -(-recipe.steps_for(memory) * recipe.batch_size // memory)
    strategy.train(benchmark.train_stream[-1])
    return stream_accuracy(strategy, benchmark.test_stream)


def build(train: PreprocessedImages, recipe: TrainingRecipe, seed: int) -> torch.nn.Module:
    """The recipe's network."""
    return recipe.build(
        image_shape=train.image_shape, num_classes=train.num_classes, generator=generator_for(seed)
    )


def main(argv: list[str] | None = None) -> None:
    """Print the final accuracy of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar100")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--images-per-class", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of weights and chosen images")
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3], help="of Avalanche's Adam")
    parser.add_argument("--output", type=Path, help="a JSON file (default: results/stock-gdumb-DATASET.json)")
    arguments = parser.parse_args(argv)
    if min(arguments.rates) <= 0 or min(arguments.seeds) < 0 or arguments.images_per_class < 1:
        raise InputError("--rates and --images-per-class must be above 0, --seeds not below")
    keep_freed_memory()
    raw = load_images(arguments.dataset, split="train", data_dir=arguments.data_dir)
    preprocessing = default_preprocessing(raw)
    train = preprocessing.apply(raw)
    test = preprocessing.apply(load_images(arguments.dataset, split="test", data_dir=arguments.data_dir))
    benchmark = class_incremental(train, test, steps=arguments.steps)
    recipe = TrainingRecipe(**PRESETS["quick"]["train"])
    per_class = arguments.images_per_class
    rows = {"ours": [ours(benchmark, train, recipe, per_class, seed) for seed in arguments.seeds]}
    for rate in arguments.rates:
        values = [stock(benchmark, train, recipe, per_class, seed, rate) for seed in arguments.seeds]
        rows[f"Avalanche's, Adam {rate:g}"] = values
    title = f"GDumb on {per_class} random real images a class of {arguments.dataset}, final accuracy"
    print(f"{title}, seeds {arguments.seeds}")
    output = arguments.output or Path("results") / f"stock-gdumb-{Path(arguments.dataset).stem}.json"
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    write_json(output, {"options": options, "machine": machine(), "accuracy": rows})
    for name, values in rows.items():
        mean, spread = mean_and_spread(values)
        print(f"  {name:24} {100 * mean:5.1f} ± {100 * spread:.1f} %")
    print(f"results in {output}")
