"""The public entries of continual and privacy, as `input_contract` has those of distill."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avalanche.training.storage_policy import ClassBalancedBuffer

from continual import (
    DistilledBuffer,
    EncodedBuffer,
    GDumb,
    PrivateNaive,
    SoftLabelLoss,
    accuracy_evaluator,
    class_incremental,
    class_order,
    experience_accuracies,
    stream_accuracy,
    with_soft_labels,
)
from distill import Random, TrainingRecipe
from input_contract import SGD, Entry, preprocessed, same
from privacy import (
    AttackRecords,
    AuditReport,
    Summary,
    auc_ceiling,
    auc_difference,
    auc_interval,
    audit,
    roc_of,
    tpr_interval,
)

RECIPE = TrainingRecipe(train_steps=1, warmup_steps=0, batch_size=4)


def stream(folder: Path | None = None) -> Any:
    return class_incremental(preprocessed(), preprocessed(), steps=3)


def policy(folder: Path | None = None) -> DistilledBuffer:
    return DistilledBuffer(Random(), images_per_class=1, num_classes=3)


def network(folder: Path | None = None) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))


def strategy(folder: Path | None = None) -> GDumb:
    return GDumb(model=network(), storage_policy=policy(), recipe=RECIPE, evaluator=accuracy_evaluator())


def used_buffer(**given: Any) -> DistilledBuffer:
    buffer = DistilledBuffer(**given)
    buffer.post_adapt(None, stream().train_stream[0])
    return buffer


def used_encoded_buffer(**given: Any) -> EncodedBuffer:
    buffer = EncodedBuffer(**given)
    buffer.post_adapt(None, stream().train_stream[0])
    return buffer


def trained(**given: Any) -> GDumb:
    made = GDumb(**given)
    made.train(stream().train_stream[0])
    return made


def trained_privately(**given: Any) -> PrivateNaive:
    made = PrivateNaive(**given, evaluator=accuracy_evaluator())
    made.train(stream().train_stream[0])
    return made


CONTINUAL = {
    "class_order": Entry(class_order, {"num_classes": same(3), "seed": same(0)}),
    "class_incremental": Entry(
        class_incremental, {"train": preprocessed, "test": preprocessed, "steps": same(3), "seed": same(0)}
    ),
    "class_incremental with a first step": Entry(
        lambda first: class_incremental(preprocessed(), preprocessed(), steps=2, first=first), {"first": same(1)}
    ),
    "DistilledBuffer": Entry(
        used_buffer,
        {"distiller": same(Random()), "images_per_class": same(1), "seed": same(0), "device": same("cpu"),
         "num_classes": same(3), "classes": same(None), "preprocessing": same(None), "max_size": same(None),
         "memory_bytes": same(10_000), "codec": same("float16"), "labels": same("hard"), "held_out": same(None),
         "store": same(None), "adaptive": same(False), "progress": same(False), "returning": same("share"),
         "transform": same(None), "classes_at_once": same(2)},
    ),
    "EncodedBuffer": Entry(
        used_encoded_buffer,
        {"policy": lambda folder: ClassBalancedBuffer(1), "memory_bytes": same(10_000), "codec": same("float16"),
         "labels": same("hard"), "num_classes": same(3), "classes": same(None), "preprocessing": same(None),
         "transform": same(None), "seed": same(0)},
    ),
    "post_adapt": Entry(
        lambda **given: policy().post_adapt(**given),
        {"strategy": same(None), "experience": lambda folder: stream().train_stream[0]},
    ),
    "resize": Entry(lambda **given: policy().resize(**given), {"strategy": same(None), "new_size": same(2)}),
    "GDumb": Entry(
        trained,
        {"model": network, "storage_policy": policy, "recipe": same(RECIPE), "train_steps": same(1),
         "num_classes": same(3), "seed": same(0), "eval_mb_size": same(8), "device": same("cpu"),
         "plugins": same(None), "eval_every": same(-1), "peval_mode": same("epoch"), "progress": same(False)},
    ),
    "PrivateNaive": Entry(
        trained_privately,
        {"model": lambda folder: SGD.build(preprocessed(), 0), "sgd": same(SGD),
         "preprocessing": lambda folder: preprocessed().preprocessing, "seed": same(0), "eval_mb_size": same(8),
         "device": same("cpu"), "progress": same(False), "plugins": same(None), "eval_every": same(-1)},
    ),
    "SoftLabelLoss": Entry(
        SoftLabelLoss,
        {"num_classes": same(3), "loss": same("mse"), "temperature": same(0.1), "hard_label_scale": same(1.0),
         "reduction": same("mean")},
    ),
    "with_soft_labels": Entry(
        with_soft_labels, {"dataset": lambda folder: stream().train_stream[0].dataset, "num_classes": same(3)}
    ),
    "experience_accuracies": Entry(
        experience_accuracies, {"strategy": strategy, "stream": lambda folder: stream().test_stream}
    ),
    "stream_accuracy": Entry(stream_accuracy, {"strategy": strategy, "stream": lambda folder: stream().test_stream}),
}


def side(folder: Path | None = None, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(12, 3)), np.arange(12) % 3


def records(folder: Path | None = None) -> AttackRecords:
    return AttackRecords(members=side(), non_members=side(seed=1))


@lru_cache(maxsize=1)
def report_of_every_test() -> AuditReport:
    return audit(records(), attacks="threshold", jobs=1)


def report(folder: Path | None = None) -> AuditReport:
    return report_of_every_test()


SPLIT = (np.arange(12.0), np.arange(12.0))
PRIVACY = {
    "AttackRecords": Entry(
        AttackRecords,
        {"members": side, "non_members": side, "outputs": same("logits"), "features": same(None),
         "references": same(None)},
    ),
    "AttackRecords.subset": Entry(
        lambda **given: records().subset(**given), {"members": same([0, 1, 2]), "non_members": same([0, 1, 2])}
    ),
    "audit": Entry(
        audit,
        {"records": records, "attacks": same("threshold"), "engine": same("fast"), "seed": same(0), "jobs": same(1),
         "by_class": same(False), "by_correctness": same(False), "masks": same(None), "splits": same(1),
         "images": same(None), "info": same(None), "progress": same(False)},
    ),
    "AuditReport.save": Entry(lambda path: report().save(path), {"path": lambda folder: folder / "a.npz"}),
    "AuditReport.load": Entry(AuditReport.load, {"path": lambda folder: report().save(folder / "a.npz")}),
    "AuditReport.most_exposed": Entry(
        lambda **given: report().most_exposed(**given), {"attack": same("threshold"), "count": same(2)}
    ),
    "Summary": Entry(Summary, {"reports": lambda folder: {"a": [report()]}}),
    "roc_of": Entry(roc_of, {"members": same(np.arange(4.0)), "non_members": same(np.arange(4.0))}),
    "auc_interval": Entry(auc_interval, {"splits": same([SPLIT]), "trained": same(False)}),
    "tpr_interval": Entry(tpr_interval, {"splits": same([SPLIT]), "fpr": same(0.1), "trained": same(False)}),
    "auc_difference": Entry(
        auc_difference, {"first": same([[SPLIT]]), "second": same([[SPLIT]]), "trained": same(False)}
    ),
    "auc_ceiling": Entry(auc_ceiling, {"seen": same(5), "members": same(10)}),
}
