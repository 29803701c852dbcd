"""Avalanche's own SplitCIFAR100 stream, with its own transforms, on a few made-up images."""

import pytest
import torch
from avalanche.benchmarks.classic import SplitCIFAR100, ccifar100
from PIL import Image

from continual import DistilledBuffer, GDumb, accuracy_evaluator, class_order, stream_accuracy
from distill import FRePo, TrainingRecipe
from distill.networks import build_network


class FewImages(torch.utils.data.Dataset):
    """Three RGB images of each of 100 classes, as torchvision's CIFAR100 would give them."""

    def __init__(self) -> None:
        self.targets = [c for c in range(100) for _ in range(3)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        label = self.targets[index]
        return Image.new("RGB", (32, 32), (2 * label, 255 - 2 * label, 80 * (index % 3))), label


def test_frepo_replays_on_split_cifar100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccifar100, "get_cifar100_dataset", lambda root: (FewImages(), FewImages()))
    order = class_order(100, 0)
    benchmark = SplitCIFAR100(n_experiences=50, fixed_class_order=order)
    model = build_network(
        "conv", image_shape=(3, 32, 32), num_classes=100, width=2, generator=torch.Generator().manual_seed(0)
    )
    policy = DistilledBuffer(
        FRePo(steps=2, width=2, batch_size=6, pool_size=2, mirror=True), images_per_class=2, num_classes=100
    )
    recipe = TrainingRecipe(train_steps=2, batch_size=4)
    strategy = GDumb(model=model, storage_policy=policy, recipe=recipe, evaluator=accuracy_evaluator())
    for k in range(2):
        strategy.train(benchmark.train_stream[k])
    assert policy.synthetic is not None
    assert sorted(set(policy.synthetic.class_ids.tolist())) == sorted(order[:4])
    assert len(policy.synthetic) == 8
    assert 0 <= stream_accuracy(strategy, benchmark.test_stream[:2]) <= 1
