"""Soft labels on their way to the loss."""


import pytest
import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training import Naive
from avalanche.training.plugins import ReplayPlugin
from torch import nn
from torch.utils.data import DataLoader

from continual import DistilledBuffer, GDumb, SoftLabelLoss, class_incremental, class_order, with_soft_labels
from continual.scenario import labelled_dataset
from continual.soft_labels import read_all
from distill import InputError
from distill.sets.synthetic import initial_labels
from tiny_streams import C, First, SpyRecipe, images, linear, silent, stream


def test_with_soft_labels_gives_real_images_initial_labels() -> None:
    data = images(12)
    dataset = with_soft_labels(labelled_dataset(data.images, data.labels), C)
    image, target, soft, task = next(iter(DataLoader(dataset, batch_size=12, collate_fn=dataset.collate_fn)))
    assert torch.equal(image, data.images)
    assert torch.equal(target, data.labels)
    assert torch.equal(soft, initial_labels(data.labels, C))
    assert task.tolist() == [0] * 12


def test_with_soft_labels_survives_subset_and_concat_and_is_idempotent() -> None:
    data = images(12)
    dataset = with_soft_labels(labelled_dataset(data.images, data.labels), C)
    assert with_soft_labels(dataset, C) is dataset
    both = dataset.subset([3, 4]).concat(dataset.subset([7]))
    found, targets, soft, _ = read_all(both)
    assert targets.tolist() == [3, 4, 1]
    assert torch.equal(found, data.images[[3, 4, 7]])
    assert torch.equal(soft, initial_labels(targets, C))


def test_with_soft_labels_needs_targets() -> None:
    with pytest.raises(InputError, match="no targets"):
        with_soft_labels(AvalancheDataset([[1, 2]]), C)


def test_soft_labels_reach_the_loss_in_naive_with_stock_replay() -> None:
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    spy = SpyRecipe()
    batches = []

    class Spy(SoftLabelLoss):
        def before_forward(self, strategy, **kwargs) -> None:
            super().before_forward(strategy, **kwargs)
            batches.append([field.clone() for field in strategy.mbatch])
            assert torch.equal(strategy.mb_task_id, torch.zeros(len(strategy.mb_x), dtype=torch.long))

    network = linear()
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        criterion=Spy(C, loss=spy.criterion),
        train_mb_size=5,
        plugins=[ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)],
        evaluator=silent(),
    )
    benchmark = class_incremental(images(), images(12), steps=3)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    memory = policy.synthetic
    assert memory is not None
    of_memory = {image.numpy().tobytes(): label for image, label in zip(memory.images, memory.labels, strict=True)}
    batches.clear()
    spy.labels.clear()
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    replayed = real = 0
    for (found, targets, _, _), in_loss in zip(batches, spy.labels, strict=True):
        for image, target, label in zip(found, targets, in_loss, strict=True):
            if (own := of_memory.get(image.numpy().tobytes())) is not None:
                assert torch.equal(label, own)
                replayed += 1
            else:
                assert torch.equal(label, initial_labels(target, C))
                real += 1
    assert real == 20
    assert replayed == 4 * len(batches)  # all four images of the first experience in each batch
    strategy.eval(benchmark.test_stream)
    assert torch.equal(spy.labels[-1].argmax(1).unique(), torch.tensor(sorted(class_order(C)[4:])))


def test_soft_labels_reach_the_loss_in_gdumb() -> None:
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    spy = SpyRecipe(train_steps=1, augment=False)
    GDumb(model=linear(), storage_policy=policy, recipe=spy, evaluator=silent()).train(stream(images()))
    assert policy.synthetic is not None
    assert torch.equal(torch.sort(spy.labels[0], 0).values, torch.sort(policy.synthetic.labels, 0).values)


def test_soft_labels_refuse_a_model_of_other_size() -> None:
    distiller = First()
    strategy = GDumb(
        model=nn.Sequential(nn.Flatten(), nn.Linear(16, 4)),
        storage_policy=DistilledBuffer(distiller, images_per_class=2, num_classes=C),
        train_steps=1,
        evaluator=silent(),
    )
    with pytest.raises(InputError, match=r"Sequential returns 4 numbers for an image, but there are 6 classes"):
        strategy.train(stream(images()))
    assert not distiller.shown


def test_soft_label_loss_refuses_batches_without_soft_labels() -> None:
    class OwnLoader(ReplayPlugin):
        def before_training_exp(self, strategy, **kwargs) -> None:
            strategy.dataloader = DataLoader(strategy.experience.dataset, batch_size=4)

    network = linear()
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        criterion=SoftLabelLoss(C),
        plugins=[OwnLoader()],
        evaluator=silent(),
    )
    with pytest.raises(InputError, match="mini-batch has 3 tensors and no soft labels"):
        strategy.train(stream(images()))
