"""The cases of Avalanche 0.6's own tests of replay, storage policies, GDumb and loaders, with our buffer instead.

Written anew, one test for each case. Cases of Avalanche's that use no policy of theirs are left as they are there, so
that the count stays comparable. Two cannot hold, and their tests say why and what happens instead.
"""

from collections import Counter
from collections.abc import Sequence
from unittest.mock import MagicMock

import pytest
import torch
from avalanche.benchmarks import CLExperience, CLScenario, CLStream, benchmark_from_datasets, nc_benchmark
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
from avalanche.benchmarks.utils.data_loader import (
    GroupBalancedDataLoader,
    GroupBalancedInfiniteDataLoader,
    ReplayDataLoader,
    TaskBalancedDataLoader,
)
from avalanche.benchmarks.utils.flat_data import ConstantSequence, _flatdata_depth
from avalanche.benchmarks.utils.utils import concat_datasets
from avalanche.models import MTSimpleMLP, SimpleMLP
from avalanche.training import LwF, Naive
from avalanche.training.plugins import EvaluationPlugin, LwFPlugin, MIRPlugin, ReplayPlugin
from torch.nn import CrossEntropyLoss
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from continual import DistilledBuffer, GDumb
from continual.scenario import labelled_dataset
from distill import InputError, Random

CLASSES, STEPS, FEATURES = 10, 5, 6


def benchmark(*, task_labels: bool, per_class: int = 60) -> CLScenario:
    """Ten classes of vectors in five experiences, as in Avalanche's tests."""
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(CLASSES, FEATURES, generator=generator)
    labels = torch.arange(CLASSES).repeat(per_class)
    parts = [TensorDataset(centres[labels] + torch.randn(len(labels), FEATURES, generator=generator), labels)
             for _ in range(2)]  # fmt: skip
    return nc_benchmark(*parts, STEPS, task_labels=task_labels, seed=0)


def ours(size: int | None = None, *, per_class: int = 10, **options) -> DistilledBuffer:
    return DistilledBuffer(
        Random(), images_per_class=per_class, num_classes=CLASSES, max_size=size, adaptive=size is not None, **options
    )


def mlp() -> torch.nn.Module:
    return SimpleMLP(input_size=FEATURES, hidden_size=10, num_classes=CLASSES)


def multi_head() -> torch.nn.Module:
    return MTSimpleMLP(input_size=FEATURES, hidden_size=10)


def naive(policy: DistilledBuffer, model: torch.nn.Module | None = None, kind=Naive, plugins: Sequence = (), **options):
    model = mlp() if model is None else model
    replay = ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)
    return kind(
        model=model, optimizer=SGD(model.parameters(), lr=0.001, momentum=0.9), criterion=CrossEntropyLoss(),
        **{"train_mb_size": 32, "train_epochs": 1, "eval_mb_size": 50} | options,
        plugins=[replay, *plugins], evaluator=EvaluationPlugin(),
    )  # fmt: skip


def run(strategy, scenario: CLScenario) -> None:
    for experience in scenario.train_stream:
        strategy.train(experience, num_workers=0)
        strategy.eval(scenario.test_stream[:])


# -- replay and storage policies: 6 cases -------------------------------------------------------------------------


def test_case_1_replay_memory_is_always_filled() -> None:
    policy, seen = ours(25), 0
    strategy = naive(policy)
    for step in benchmark(task_labels=True).train_stream:
        strategy.train(step)
        seen += len(step.dataset)
        assert sum(map(len, policy.buffer_datasets)) == min(25, seen)


def test_case_2_balancing() -> None:
    policy = ours(100)
    strategy = naive(policy, train_epochs=0)
    for k, step in enumerate(benchmark(task_labels=True).train_stream):
        strategy.train(step)
        lengths = [len(group.buffer) for group in policy.buffer_groups.values()]
        assert sum(lengths) == policy.max_size == 100
        assert len(lengths) == 2 * (k + 1)
        assert max(lengths) - min(lengths) <= 1


def test_case_3_replay_flattening() -> None:
    policy, depths = ours(100), []
    for step in benchmark(task_labels=True).train_stream:
        policy.update_from_dataset(step.dataset)
        depths.append(_flatdata_depth(policy.buffer._flat_data))
    assert len(set(depths)) == 1


def test_case_4_class_balanced_replay_flattening() -> None:
    policy, depths = ours(None), []
    for step in benchmark(task_labels=True).train_stream:
        policy.update_from_dataset(step.dataset)
        depths.append({_flatdata_depth(data._flat_data) for data in policy.buffer_datasets})
    assert all(depth == depths[0] and len(depth) == 1 for depth in depths)


@pytest.mark.filterwarnings("ignore:Call to deprecated function")
def test_case_5_groupings() -> None:
    policy = ours(10)
    for k, step in enumerate(benchmark(task_labels=True).train_stream):
        policy.update(MagicMock(experience=step))
        assert {task for task, _ in policy.buffer_groups} == set(range(k + 1))
        assert sum(len(group.buffer) for group in policy.buffer_groups.values()) == 10


def test_case_6_selection_of_a_fixed_order() -> None:
    """Theirs: a selection strategy sorts the data. Ours: the distiller chooses, and its first images stay longest."""
    policy = ours(None, per_class=4)
    policy.post_adapt(None, benchmark(task_labels=False).train_stream[0])
    before = policy.synthetic
    policy.resize(None, 4)
    assert before is not None
    assert policy.synthetic is not None
    for c in before.class_ids.unique():
        kept = policy.synthetic.images[policy.synthetic.class_ids == c]
        assert torch.equal(kept, before.images[before.class_ids == c][:2])


# -- the replay loader: 6 cases -----------------------------------------------------------------------------------


def memory_and_data(memory: int, data: int) -> tuple[AvalancheDataset, AvalancheDataset]:
    policy = ours(memory)
    first, second = list(benchmark(task_labels=False, per_class=700).train_stream)[:2]
    policy.post_adapt(None, first)
    assert len(policy.buffer) == memory
    return policy.buffer, second.dataset.subset(list(range(data)))


@pytest.mark.parametrize(
    ("memory", "data", "batch"),
    [
        pytest.param(500, 200, 64, id="case 7, bigger memory"),
        pytest.param(500, 1000, 64, id="case 8, smaller memory"),
        pytest.param(500, 1000, 256, id="case 9, big batch"),
        pytest.param(500, 1000, 5, id="case 10, small batch"),
        pytest.param(20, 1000, 256, id="case 11, no batch of memory"),
        pytest.param(500, 20, 256, id="case 12, no batch of data"),
    ],
)
def test_replay_loader(memory: int, data: int, batch: int) -> None:
    kept, current = memory_and_data(memory, data)
    loader = ReplayDataLoader(
        current, kept, batch_size=batch, batch_size_mem=batch, oversample_small_tasks=True, drop_last=True
    )
    sizes = [len(minibatch[0]) for minibatch in loader]
    assert len(sizes) == len(loader) == data // batch
    assert set(sizes) <= {batch * (1 if memory < batch else 2)}


# -- other loaders: 4 cases ---------------------------------------------------------------------------------------


def test_case_13_loaders_take_the_buffer() -> None:
    policy = ours(50)
    for step in benchmark(task_labels=True).train_stream:
        policy.post_adapt(None, step)
    data, groups = policy.buffer, policy.buffer_datasets
    loaders = [
        DataLoader(data),
        TaskBalancedDataLoader(data),
        GroupBalancedDataLoader(groups),
        GroupBalancedDataLoader([concat_datasets(groups)]),
        ReplayDataLoader(data, data, task_balanced_dataloader=True),
    ]
    for loader in loaders:
        assert all(len(batch) == 3 for batch in loader)
    for _, batch in zip(range(20), GroupBalancedInfiniteDataLoader(groups, batch_size=2), strict=False):
        assert len(groups) <= len(batch[0]) <= 2 * len(groups)


def test_case_14_reinitialised_loader() -> None:
    strategy = naive(ours(5), train_mb_size=16, eval_mb_size=16)
    with pytest.warns(UserWarning, match="max_size is 5, so that 1 of 6 classes have no slot"):
        strategy.train(benchmark(task_labels=True).train_stream[:3])


def test_case_15_balanced_batches() -> None:
    policy = ours(20)
    strategy = naive(policy)
    for step in benchmark(task_labels=True).train_stream:
        if len(policy.buffer):
            for *_, tasks in ReplayDataLoader(
                step.dataset, policy.buffer, oversample_small_tasks=True, batch_size=32, batch_size_mem=20,
                task_balanced_dataloader=True, shuffle=True,
            ):  # fmt: skip
                counts = Counter(tasks[tasks != step.task_label].tolist())
                if sum(counts.values()) < 20:
                    continue  # the rest of a small task
                assert max(counts.values()) - min(counts.values()) <= 1
        strategy.train(step)


def test_case_16_loader_with_workers() -> None:
    policy = ours(20)
    strategy = naive(policy)
    for step in benchmark(task_labels=True).train_stream[:2]:
        strategy.train(step, num_workers=1)
    assert len(policy.buffer) == 20


# -- strategies: 8 cases ------------------------------------------------------------------------------------------


def test_case_17_replay_without_tasks() -> None:
    run(naive(ours(10), train_mb_size=64, train_epochs=2), benchmark(task_labels=False))


def test_case_18_replay_with_tasks() -> None:
    run(naive(ours(10), multi_head(), train_mb_size=64, train_epochs=2), benchmark(task_labels=True))


def gdumb(policy: DistilledBuffer, model: torch.nn.Module) -> GDumb:
    return GDumb(model=model, storage_policy=policy, num_classes=CLASSES, train_steps=4, eval_mb_size=50,
                 evaluator=EvaluationPlugin())  # fmt: skip


@pytest.fixture
def no_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors have no colours to jitter."""
    monkeypatch.setattr("distill.training.recipe.augment", lambda images, *_: images)


@pytest.mark.usefixtures("no_augmentation")
def test_case_19_gdumb_without_tasks() -> None:
    run(gdumb(ours(200), mlp()), benchmark(task_labels=False))


@pytest.mark.usefixtures("no_augmentation")
def test_case_20_gdumb_with_tasks() -> None:
    run(gdumb(ours(200), multi_head()), benchmark(task_labels=True))


def test_case_21_lwf_with_replay() -> None:
    run(naive(ours(200), plugins=[LwFPlugin()]), benchmark(task_labels=False))


def test_case_22_lwf_strategy_with_replay_of_tasks() -> None:
    run(naive(ours(200), multi_head(), kind=LwF, alpha=[0, 0.5, 0.5, 0.5, 0.5], temperature=2),
        benchmark(task_labels=True))  # fmt: skip


def test_case_23_mir_beside_our_replay() -> None:
    mir = MIRPlugin(batch_size_mem=10, mem_size=50, subsample=20)
    run(naive(ours(100), plugins=[mir]), benchmark(task_labels=False))


def test_case_24_replay_on_an_online_stream() -> None:
    scenario = benchmark(task_labels=False)
    policy = ours(20)
    strategy = naive(policy, train_mb_size=10)
    strategy.train(split_online_stream(scenario.train_stream, experience_size=40, access_task_boundaries=True))
    strategy.eval(scenario.test_stream)
    assert Counter(policy.buffer.targets) == dict.fromkeys(range(CLASSES), 2)


# -- data sets of other makes: 3 cases ----------------------------------------------------------------------------


def test_case_25_items_without_task_labels() -> None:
    data = labelled_dataset(torch.randn(40, 1, 4, 4), torch.arange(40) % CLASSES)
    scenario = benchmark_from_datasets(train=[data.subset(list(range(20))), data.subset(list(range(20, 40)))])
    policy = ours(10)
    for experience in scenario.train_stream:
        policy.post_adapt(None, experience)
    assert len(policy.buffer) == 10


def dictionaries(task: int) -> CLExperience:
    items = [{"x": torch.randn(10), "y": torch.tensor(i % 2)} for i in range(100)]
    tasks = DataAttribute(ConstantSequence(task, len(items)), "targets_task_labels", use_in_getitem=True)
    experience = CLExperience(task, None)
    experience.dataset = AvalancheDataset([items], data_attributes=[tasks], collate_fn=lambda batch: batch)
    return experience


def test_case_26_dictionaries_without_targets_are_refused() -> None:
    """Theirs: any item is stored as it is. A distiller has to know which field is the image and which the class."""
    with pytest.raises(InputError, match="has no targets"):
        ours(10).post_adapt(None, dictionaries(0))


def test_case_27_dictionaries_with_targets_are_refused() -> None:
    """As case 26, in the stream of a strategy."""
    experience = dictionaries(0)
    experience.dataset = AvalancheDataset(
        [experience.dataset], data_attributes=[DataAttribute([i % 2 for i in range(100)], "targets")]
    )
    stream = CLStream("train", [experience], None)
    with pytest.raises(InputError, match=r"the items of the stream are of type dict; expected \(image, class id"):
        ours(10).post_adapt(None, next(iter(stream)))
