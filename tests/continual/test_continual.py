"""Class orders, soft labels on their way to the loss, distilled replay, fresh weights."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets, nc_benchmark
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from avalanche.logging import CSVLogger, InteractiveLogger
from avalanche.training import ICaRL, Naive
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin, SupervisedPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from torch import nn
from torch.utils.data import DataLoader

from continual import DistilledBuffer, GDumb, SoftLabelLoss, class_incremental, class_order, with_soft_labels
from continual.scenario import labelled_dataset
from continual.soft_labels import read_all
from continual.weights import draw_weights
from distill import Distiller, Identity, InputError, PreprocessedImages, Standardize, SyntheticSet
from distill.networks import build_network
from distill.runtime.seeds import generator_for
from distill.sets.synthetic import describe, initial_labels
from distill.training.evaluation import train_network
from distill.training.recipe import TrainingRecipe

CLASSES = tuple("abcdef")
C = len(CLASSES)


@dataclass(frozen=True, kw_only=True)
class First(Distiller):
    """The first images of each class, with soft labels that no class id leads to; remembers what it was shown."""

    method = "first"
    strength: float = 1.0
    shown: list = field(default_factory=list)

    def _distill(self, data, run) -> SyntheticSet:
        self.shown.append({"data": data, "held_out": run.held_out, "store": run.store, "seed": run.seed})
        chosen = [torch.nonzero(data.labels == c).squeeze(1)[: run.images_per_class] for c in data.labels.unique()]
        rows = torch.cat(chosen)
        class_ids = data.labels[rows]
        labels = initial_labels(class_ids, data.num_classes) + 0.01 * data.images[rows].mean((1, 2, 3)).unsqueeze(1)
        made_by = describe(self.method, self.options())
        return SyntheticSet(data.images[rows], labels, class_ids, data.classes, data.preprocessing, made_by)

    def options(self) -> dict:
        return {"strength": self.strength}


def images(n: int = 60, seed: int = 0, labels: torch.Tensor | None = None) -> PreprocessedImages:
    labels = torch.arange(n) % C if labels is None else labels
    drawn = torch.randn(len(labels), 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return PreprocessedImages(drawn, labels, CLASSES, Identity())


def stream(*parts: PreprocessedImages):
    """A train stream with these experiences."""
    return benchmark_from_datasets(train=[labelled_dataset(part.images, part.labels) for part in parts]).train_stream


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, C))


def silent() -> EvaluationPlugin:
    return EvaluationPlugin()


@dataclass(frozen=True, kw_only=True)
class SpyRecipe(TrainingRecipe):
    labels: list = field(default_factory=list)

    def criterion(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.labels.append(labels.clone())
        return super().criterion(logits, labels)


# -- scenario ----------------------------------------------------------------------------------------------------


def test_class_order_is_the_published_one() -> None:
    assert class_order(100, 0)[:8] == [26, 86, 2, 55, 75, 93, 16, 73]
    assert sorted(class_order(100, 4)) == list(range(100))
    assert class_order(100, 1)[:5] == [80, 84, 33, 81, 93]  # numpy.random.seed(1); numpy.random.permutation(100)


def test_class_order_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].tolist()
    class_order(10, 3)
    assert np.random.get_state()[1].tolist() == before


def test_class_incremental_splits_in_that_order_without_remapping() -> None:
    train, test = images(60), images(12, seed=1)
    benchmark = class_incremental(train, test, steps=3, seed=2)
    order = class_order(C, 2)
    for name, data in (("train", train), ("test", test)):
        for k, experience in enumerate(getattr(benchmark, f"{name}_stream")):
            wanted = set(order[2 * k : 2 * k + 2])
            found, labels, task_labels = read_all(experience.dataset)
            assert set(labels.tolist()) == wanted == experience.classes_in_this_experience
            assert experience.task_labels == [0]
            assert not task_labels.any()
            of_these = data.subset(torch.isin(data.labels, labels))
            assert len(found) == len(of_these)
            for c in wanted:
                assert torch.equal(found[labels == c], of_these.images[of_these.labels == c])


def test_class_incremental_does_not_copy_images() -> None:
    train = images()
    experience = class_incremental(train, images(12), steps=2).train_stream[0]
    image = experience.dataset[0][0]
    assert image.untyped_storage().data_ptr() == train.images.untyped_storage().data_ptr()


def test_class_incremental_says_which_steps_are_possible() -> None:
    with pytest.raises(InputError, match=r"6 classes cannot be split into 4 equal steps; possible: 1, 2, 3, 6"):
        class_incremental(images(), images(), steps=4)
    with pytest.raises(InputError, match="0 equal steps"):
        class_incremental(images(), images(), steps=0)


def test_class_incremental_names_classes_without_images() -> None:
    few = images(labels=torch.tensor([0, 1, 3, 5]))
    with pytest.raises(InputError, match=r"2 of 6 classes have no image in test: c, e"):
        class_incremental(images(), few, steps=2)
    other = PreprocessedImages(torch.zeros(6, 3, 4, 4), torch.arange(6), CLASSES, Identity())
    with pytest.raises(InputError, match=r"train has 6 classes and images of shape \(1, 4, 4\), test has 6 and \(3"):
        class_incremental(images(), other, steps=2)


# -- soft labels -------------------------------------------------------------------------------------------------


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


def test_a_cached_set_is_not_taken_for_images_with_other_labels(tmp_path) -> None:
    """Two labels changed places, and the images are so alike that no sum of pixels tells."""
    alike = 1e-6 * torch.randn(60, 1, 4, 4)
    labels = torch.arange(60) % C
    swapped = labels.clone()
    swapped[[0, 1]] = labels[[1, 0]]

    def policy() -> DistilledBuffer:
        return DistilledBuffer(First(), images_per_class=1, num_classes=C, store=tmp_path)

    policy().update_from_dataset(labelled_dataset(alike, labels))
    policy().update_from_dataset(labelled_dataset(alike, labels))
    with pytest.raises(InputError, match=r"with other options or data \(other labels\); use those"):
        policy().update_from_dataset(labelled_dataset(alike, swapped))


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


# -- DistilledBuffer ---------------------------------------------------------------------------------------------


def test_buffer_grows_by_the_classes_of_each_experience() -> None:
    benchmark = class_incremental(images(), images(12), steps=3)
    distiller = First()
    policy = DistilledBuffer(
        distiller, images_per_class=2, classes=CLASSES, preprocessing=Standardize(torch.zeros(1), torch.ones(1))
    )
    assert policy.synthetic is None
    assert len(policy.buffer) == 0
    assert policy.max_size == 12
    for k, experience in enumerate(benchmark.train_stream):
        policy.post_adapt(None, experience)
        assert set(distiller.shown[k]["data"].labels.tolist()) == experience.classes_in_this_experience
        assert len(policy.buffer) == 4 * (k + 1)
    found, targets, soft, _ = read_all(with_soft_labels(policy.buffer, C))
    synthetic = policy.synthetic
    assert synthetic is not None
    assert torch.equal(found, synthetic.images)
    assert torch.equal(targets, synthetic.class_ids)
    assert torch.equal(soft, synthetic.labels)
    assert synthetic.classes == CLASSES
    assert synthetic.preprocessing is policy.preprocessing
    assert len({shown["seed"] for shown in distiller.shown}) == 3


def test_an_experience_is_distilled_once() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=2, num_classes=C)
    experience = stream(images())[0]
    policy.post_adapt(None, experience)
    buffer = policy.buffer
    policy.post_adapt(None, experience)
    assert len(distiller.shown) == 1
    assert policy.buffer is buffer
    policy.post_adapt(None, stream(images())[0])  # made anew, the same images
    assert len(distiller.shown) == 1


def test_other_images_under_an_index_seen_before_are_distilled() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=2, num_classes=C)
    policy.post_adapt(None, stream(images(labels=torch.tensor([0, 0, 1, 1])))[0])
    policy.post_adapt(None, stream(images(labels=torch.tensor([2, 2, 3, 3]), seed=1))[0])
    assert Counter(policy.buffer.targets) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert len({shown["seed"] for shown in distiller.shown}) == 2


def test_a_class_that_comes_back_shares_its_places_with_what_was_kept_of_it() -> None:
    first, second = images(labels=torch.tensor([0, 0, 1, 1])), images(labels=torch.tensor([1, 1, 2, 2]), seed=1)
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    for experience in stream(first, second):
        policy.post_adapt(None, experience)
    synthetic = policy.synthetic
    assert synthetic is not None
    assert Counter(synthetic.class_ids.tolist()) == {0: 2, 1: 2, 2: 2}
    assert torch.equal(synthetic.images[synthetic.class_ids == 1], torch.stack([first.images[2], second.images[0]]))


@pytest.mark.parametrize(
    ("returning", "old", "new"), [("share", 3, 1), ("replace", 0, 4), ("add", 4, 4)]
)
def test_what_becomes_of_a_class_that_comes_back_is_an_option(returning: str, old: int, new: int) -> None:
    policy = DistilledBuffer(First(), images_per_class=4, num_classes=C, returning=returning)
    first, second = images(labels=torch.tensor([0] * 30)), images(labels=torch.tensor([0] * 10), seed=1)
    for experience in stream(first, second):
        policy.post_adapt(None, experience)
    assert policy.synthetic is not None
    kept = policy.synthetic.images
    assert torch.equal(kept[:old], first.images[:old])
    assert torch.equal(kept[old:], second.images[:new])


def test_a_handful_of_returning_images_takes_no_more_than_its_share() -> None:
    policy = DistilledBuffer(First(), images_per_class=10, num_classes=C)
    first = images(labels=torch.zeros(500, dtype=torch.long))
    for experience in stream(first, images(labels=torch.tensor([0]), seed=1)):
        policy.post_adapt(None, experience)
    assert policy.synthetic is not None
    assert torch.equal(policy.synthetic.images, first.images[:10])


def test_small_deliveries_get_their_share_in_the_long_run() -> None:
    """As a reservoir would have it: 40 times 5 images, 8 places, and each quarter of the stream has about 2."""
    policy = DistilledBuffer(First(), images_per_class=8, num_classes=C)
    parts = [images(labels=torch.zeros(5, dtype=torch.long), seed=k) for k in range(40)]
    for part in parts:
        policy.post_adapt(None, stream(part)[0])
    assert policy.synthetic is not None
    assert len(policy.synthetic) == 8
    whole = torch.cat([part.images for part in parts])
    came = [int((whole == image).flatten(1).all(1).nonzero()) // 50 for image in policy.synthetic.images]
    assert max(Counter(came).values()) <= 5
    assert len(set(came)) >= 3


def test_classes_of_several_tasks_are_kept_apart() -> None:
    """As with `class_ids_from_zero_in_each_exp`: the same class ids in every task."""
    parts = [images(labels=torch.tensor([0, 0, 1, 1]), seed=k) for k in range(3)]
    tasks = [labelled_dataset(part.images, part.labels, task_label=k) for k, part in enumerate(parts)]
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=2)
    for experience in benchmark_from_datasets(train=tasks).train_stream:
        policy.post_adapt(None, experience)
    assert Counter(zip(policy.buffer.targets_task_labels, policy.buffer.targets, strict=True)) == dict.fromkeys(
        [(task, c) for task in range(3) for c in range(2)], 2
    )
    assert list(policy.buffer_groups) == [(task, c) for task in range(3) for c in range(2)]
    assert policy.max_size == 12


def test_an_experience_of_several_tasks_is_distilled_task_by_task(tmp_path) -> None:
    parts = [images(labels=torch.tensor([0, 0, 1, 1]), seed=k) for k in range(2)]
    one = [labelled_dataset(part.images, part.labels, task_label=k) for k, part in enumerate(parts)]
    for _ in range(2):  # distilled, and then found in the cache
        policy = DistilledBuffer(First(), images_per_class=1, num_classes=2, store=tmp_path)
        policy.post_adapt(None, benchmark_from_datasets(train=[one[0].concat(one[1])]).train_stream[0])
        assert sorted(zip(policy.buffer.targets_task_labels, policy.buffer.targets, strict=True)) == [
            (0, 0), (0, 1), (1, 0), (1, 1)
        ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 2


def test_one_class_an_experience() -> None:
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    strategy = GDumb(model=linear(), storage_policy=policy, train_steps=1, evaluator=silent())
    strategy.train(class_incremental(images(), images(12), steps=C).train_stream)
    assert list(policy.buffer.targets)[::2] == class_order(C)


def test_classes_with_fewer_images_get_as_many_as_they_have() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=3, num_classes=C)
    policy.post_adapt(None, stream(images(labels=torch.tensor([0, 0, 0, 0, 1, 2, 2, 3, 3, 3])))[0])
    assert Counter(policy.buffer.targets) == {0: 3, 1: 1, 2: 2, 3: 3}
    assert [sorted(set(shown["data"].labels.tolist())) for shown in distiller.shown] == [[0, 3], [2], [1]]


def test_max_size_is_shared_by_all_classes_seen() -> None:
    policy = DistilledBuffer(First(), images_per_class=3, num_classes=C, max_size=7)
    counts = []
    for experience in class_incremental(images(), images(12), steps=3).train_stream:
        policy.post_adapt(None, experience)
        counts.append(sorted(Counter(policy.buffer.targets).values()))
    assert counts == [[3, 3], [1, 2, 2, 2], [1, 1, 1, 1, 1, 2]]


def test_resize_keeps_the_first_images_and_does_not_bring_any_back() -> None:
    data = images()
    policy = DistilledBuffer(First(), images_per_class=3, num_classes=C)
    policy.post_adapt(None, stream(data)[0])
    policy.resize(None, 8)
    synthetic = policy.synthetic
    assert synthetic is not None
    assert Counter(synthetic.class_ids.tolist()) == {0: 2, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}
    assert torch.equal(synthetic.images[synthetic.class_ids == 0], data.images[[0, C]])
    policy.resize(None, 100)
    assert len(policy.buffer) == 8


def test_held_out_images_of_the_current_classes_are_passed() -> None:
    distiller = First()
    policy = DistilledBuffer(
        distiller, images_per_class=1, num_classes=C, held_out=images(labels=torch.tensor([0, 1, 1, 5]))
    )
    for experience in stream(images(labels=torch.tensor([0, 1])), images(labels=torch.tensor([2, 3]))):
        policy.post_adapt(None, experience)
    assert distiller.shown[0]["held_out"].labels.tolist() == [0, 1, 1]
    assert distiller.shown[1]["held_out"] is None


def test_images_are_read_under_the_eval_transform() -> None:
    class Folder(torch.utils.data.Dataset):
        """As torchvision's data sets: `targets`, and no tensors before the transform."""

        targets = (torch.arange(12) % C).tolist()

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return np.full((1, 4, 4), index, np.float32), self.targets[index]

        def __len__(self) -> int:
            return len(self.targets)

    def random_shift(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image) + 100 + torch.rand(1)

    benchmark = nc_benchmark(
        Folder(),
        Folder(),
        n_experiences=2,
        task_labels=False,
        fixed_class_order=list(range(C)),
        train_transform=random_shift,
        eval_transform=torch.from_numpy,
    )
    policy = DistilledBuffer(First(), images_per_class=2)
    strategy = GDumb(model=linear(), storage_policy=policy, train_steps=1, evaluator=silent())
    strategy.train(benchmark.train_stream, eval_streams=[])
    strategy.eval(benchmark.test_stream)
    assert policy.synthetic is not None
    assert policy.synthetic.images[:, 0, 0, 0].tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert strategy.clock.train_iterations == 2


def test_gdumb_gives_hard_labels_of_other_policies_initial_soft_labels() -> None:
    spy = SpyRecipe(train_steps=1, augment=False)
    targets = []

    class Spy(SupervisedPlugin):
        def before_forward(self, strategy, **kwargs) -> None:
            targets.append(strategy.mb_y)

    policy = ClassBalancedBuffer(12)
    strategy = GDumb(model=linear(), storage_policy=policy, recipe=spy, plugins=[Spy()], evaluator=silent())
    strategy.train(stream(images()), eval_streams=[])
    assert Counter(targets[0].tolist()) == dict.fromkeys(range(C), 2)
    assert torch.equal(spy.labels[0], initial_labels(targets[0], C))


def test_buffer_errors_say_what_to_mend() -> None:
    with pytest.raises(InputError, match="num_classes is 3, but 6 classes are named"):
        DistilledBuffer(First(), num_classes=3, classes=CLASSES)
    with pytest.raises(InputError, match="max_size is 0"):
        DistilledBuffer(First(), max_size=0)
    with pytest.raises(InputError, match="Give DistilledBuffer num_classes or classes"):
        DistilledBuffer(First()).post_adapt(None, stream(images())[0])
    with pytest.raises(InputError, match="labels run from 0 to 5, but there are 3 classes"):
        DistilledBuffer(First(), images_per_class=1, num_classes=3).post_adapt(None, stream(images())[0])
    bytes_ = labelled_dataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"images of the stream are torch.uint8; wanted float tensors"):
        DistilledBuffer(First(), num_classes=C).post_adapt(
            None, benchmark_from_datasets(train=[bytes_]).train_stream[0]
        )


# -- the cache ---------------------------------------------------------------------------------------------------


def test_cached_experiences_are_not_distilled_again(tmp_path) -> None:
    benchmark = class_incremental(images(), images(12), steps=3)
    preprocessing = Standardize(torch.zeros(1), torch.ones(1))
    first, again = First(), First()
    options = {"images_per_class": 2, "classes": CLASSES, "preprocessing": preprocessing, "store": tmp_path / "cache"}
    made, found = DistilledBuffer(first, **options), DistilledBuffer(again, device="cpu:0", **options)
    for policy in (made, found):
        for experience in benchmark.train_stream:
            policy.post_adapt(None, experience)
    assert len(first.shown) == 3
    assert again.shown == []
    assert made.synthetic is not None
    assert found.synthetic is not None
    assert torch.equal(made.synthetic.images, found.synthetic.images)
    assert torch.equal(made.synthetic.labels, found.synthetic.labels)
    assert made.synthetic.made_by == found.synthetic.made_by
    assert found.synthetic.preprocessing is preprocessing
    files = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert files == [f"experience-{k}.safetensors" for k in range(3)]
    assert SyntheticSet.load(tmp_path / "cache" / files[0]).preprocessing.kind == "kept-elsewhere"  # a ZCA takes 19 MB
    assert first.shown[1]["store"].folder == tmp_path / "cache" / "experience-1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": 2.0}, r"experience-0.safetensors was made with .* \(strength was 1.0, now 2.0\)"),
        ({"images_per_class": 3}, r"images_per_class was \[\[0, 2\], .*, now \[\[0, 3\], "),
        ({"seed": 1}, r"\(seed was \d+, now \d+\)"),
    ],
)
def test_a_cache_of_other_options_is_refused(tmp_path, changes: dict, message: str) -> None:
    experience = stream(images())[0]
    DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, experience)
    distiller = First(strength=changes.pop("strength", 1.0))
    other = DistilledBuffer(distiller, **{"images_per_class": 2, **changes}, num_classes=C, store=tmp_path)
    with pytest.raises(InputError, match=message):
        other.post_adapt(None, experience)


def test_a_cache_of_other_data_is_refused(tmp_path) -> None:
    distiller = First()
    DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, stream(images())[0])
    other = stream(images(seed=1))[0]
    with pytest.raises(InputError, match=r"was made with other options or data \(other images\)"):
        DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, other)
    other = stream(images(labels=torch.tensor([0, 0, 1, 1])))[0]
    with pytest.raises(InputError, match=r"classes was \[0, 1, 2, 3, 4, 5\], now \[0, 1\]"):
        DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, other)
    data = images()
    foreign = SyntheticSet(data.images, initial_labels(data.labels, C), data.labels, CLASSES, Identity())
    foreign.save(tmp_path / "experience-0.safetensors")
    with pytest.raises(InputError, match="was made by another version of this toolkit, or is not an entry of"):
        DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, stream(data)[0])


def test_a_cache_notices_one_image_and_one_label_that_changed(tmp_path) -> None:
    """Anywhere in the data, not only where a sample was taken; last bits may differ from machine to machine."""
    data = images(600)
    policy = lambda: DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path)  # noqa: E731
    policy().post_adapt(None, stream(data)[0])
    jittered = data.images + 1e-6 * torch.randn(data.images.shape)
    policy().post_adapt(None, stream(PreprocessedImages(jittered, data.labels, CLASSES, Identity()))[0])
    changed = data.images.clone()
    changed[123] += 0.5
    with pytest.raises(InputError, match=r"was made with other options or data \(other images\)"):
        policy().post_adapt(None, stream(PreprocessedImages(changed, data.labels, CLASSES, Identity()))[0])
    swapped = data.labels.clone()
    swapped[[10, 11]] = swapped[[11, 10]]
    with pytest.raises(InputError, match=r"was made with other options or data \(other images, other labels\)"):
        policy().post_adapt(None, stream(PreprocessedImages(data.images, swapped, CLASSES, Identity()))[0])


def test_a_cache_of_another_version_is_refused(tmp_path) -> None:
    data = images()
    made_by = {"made_from": {"experience": 0, "pixels": [0.0]}}
    old = SyntheticSet(data.images, initial_labels(data.labels, C), data.labels, CLASSES, Identity(), made_by)
    old.save(tmp_path / "experience-0.safetensors")
    with pytest.raises(InputError, match="was made by another version of this toolkit, or is not an entry of"):
        DistilledBuffer(First(), num_classes=C, store=tmp_path).post_adapt(None, stream(data)[0])


# -- GDumb -------------------------------------------------------------------------------------------------------


def weights_at_start(seed: int, model: nn.Module) -> list[torch.Tensor]:
    """The weights that each of three experiences starts from."""
    starts = []

    class Spy(SupervisedPlugin):
        def before_training_exp(self, strategy, **kwargs) -> None:
            starts.append(nn.utils.parameters_to_vector(strategy.model.parameters()).detach().clone())

    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    strategy = GDumb(
        model=model, storage_policy=policy, train_steps=1, seed=seed, plugins=[Spy()], evaluator=silent()
    )
    strategy.train(class_incremental(images(), images(12), steps=3).train_stream)
    return starts


def conv() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return build_network("conv", image_shape=(1, 4, 4), num_classes=C, width=2, depth=1, generator=generator)


@pytest.mark.parametrize("model", [linear, conv])
def test_weights_are_fresh_at_every_experience_and_follow_the_seed(model) -> None:
    starts, again, other = weights_at_start(0, model()), weights_at_start(0, model()), weights_at_start(1, model())
    assert all(torch.equal(a, b) for a, b in zip(starts, again, strict=True))
    assert not torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[1], starts[2])
    assert not torch.equal(starts[0], other[0])


def test_fresh_weights_include_running_statistics_and_nested_networks() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm1d(C))
    model[1].running_mean.fill_(7)
    before = model[0].head.weight.clone()
    draw_weights(model, generator_for(0))
    assert not model[1].running_mean.any()
    assert not torch.equal(model[0].head.weight, before)


def test_parameters_that_cannot_be_drawn_are_refused() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(InputError, match=r"Scale has parameters but no reset_parameters\(\)"):
        draw_weights(nn.Sequential(nn.Linear(2, 2), Scale()), generator_for(0))


def test_gdumb_trains_as_train_network_does() -> None:
    """The same generator gives the same bits as the evaluation of a synthetic set."""
    recipe = TrainingRecipe(train_steps=5, batch_size=5, width=2, depth=1, norm="none")
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    strategy = GDumb(model=conv_of(recipe), storage_policy=policy, recipe=recipe, seed=3, evaluator=silent())
    strategy.train(stream(images()))
    assert policy.synthetic is not None
    wanted = train_network(policy.synthetic, recipe=recipe, generator=generator_for(3, 0))
    for a, b in zip(strategy.model.parameters(), wanted.parameters(), strict=True):
        assert torch.equal(a, b)


def conv_of(recipe: TrainingRecipe) -> nn.Module:
    return recipe.build(image_shape=(1, 4, 4), num_classes=C, generator=torch.Generator().manual_seed(9))


def test_nothing_touches_the_global_generators() -> None:
    model = linear()
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    benchmark = class_incremental(images(), images(12), steps=3)
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    strategy = GDumb(model=model, storage_policy=policy, train_steps=2, evaluator=silent())
    for experience in benchmark.train_stream:
        strategy.train(experience)
        strategy.eval(benchmark.test_stream)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before


def test_networks_share_one_buffer_that_is_distilled_once() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=2, num_classes=C)
    benchmark = class_incremental(images(), images(12), steps=3)
    strategies = [
        GDumb(model=linear(), storage_policy=policy, train_steps=2, seed=seed, evaluator=silent()) for seed in range(2)
    ]
    for experience in benchmark.train_stream:
        for strategy in strategies:
            strategy.train(experience)
    assert len(distiller.shown) == 3
    assert not torch.equal(strategies[0].model[1].weight, strategies[1].model[1].weight)


def test_evaluator_loggers_and_schedule_work(tmp_path, capsys) -> None:
    benchmark = class_incremental(images(), images(12), steps=3)
    csv = CSVLogger(log_folder=str(tmp_path))
    evaluator = EvaluationPlugin(
        accuracy_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        loss_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        loggers=[InteractiveLogger(), csv],
    )
    strategy = GDumb(
        model=linear(),
        storage_policy=DistilledBuffer(First(), images_per_class=2),
        recipe=TrainingRecipe(batch_size=3, warmup_steps=1),
        train_steps=4,
        evaluator=evaluator,
        eval_every=2,
        peval_mode="iteration",
        progress=True,
    )
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[benchmark.test_stream])
    results = strategy.eval(benchmark.test_stream)
    csv.close()
    assert 0 <= results["Top1_Acc_Stream/eval_phase/test_stream/Task000"] <= 1
    assert "Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp002" in results
    assert strategy.clock.train_iterations == 12
    assert strategy.optimizer.param_groups[0]["lr"] == pytest.approx(3e-6)  # the schedule has reached its end
    assert "Top1_Acc_Stream" in capsys.readouterr().out
    assert len((tmp_path / "training_results.csv").read_text().splitlines()) > 3
    assert len((tmp_path / "eval_results.csv").read_text().splitlines()) > 3


def test_train_steps_overrides_the_recipe() -> None:
    policy = DistilledBuffer(First(), images_per_class=2)
    recipe = TrainingRecipe(train_steps=5, steps_per_image=0.5)
    strategy = GDumb(model=linear(), storage_policy=policy, recipe=recipe, train_steps=3, evaluator=silent())
    strategy.train(stream(images()))
    assert strategy.clock.train_iterations == 3 + 6


def test_gdumb_errors_say_what_to_mend() -> None:
    with pytest.raises(InputError, match="storage_policy is a First; wanted an ExemplarsBuffer"):
        GDumb(model=linear(), storage_policy=First())
    with pytest.raises(InputError, match=r"Flatten has no parameters to train"):
        GDumb(model=nn.Flatten(), storage_policy=ClassBalancedBuffer(6))
    with pytest.raises(InputError, match=r"model is a str; wanted a torch module"):
        GDumb(model="resnet", storage_policy=ClassBalancedBuffer(6))
    strategy = GDumb(model=linear(), storage_policy=ClassBalancedBuffer(0), train_steps=1, evaluator=silent())
    with pytest.raises(InputError, match="ClassBalancedBuffer is empty after experience 0"):
        strategy.train(stream(images()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gdumb_on_a_gpu_draws_the_weights_of_the_cpu() -> None:
    starts = [weights_on(device) for device in ("cpu", "cuda")]
    assert torch.equal(*starts)


def weights_on(device: str) -> torch.Tensor:
    model = linear().to(device)
    draw_weights(model, generator_for(0))
    return nn.utils.parameters_to_vector(model.parameters()).detach().cpu()


# -- what Avalanche's own benchmarks have ----------------------------------------------------------------------------


def test_class_incremental_has_the_attributes_of_avalanches_benchmarks() -> None:
    benchmark = class_incremental(images(), images(12), steps=3, seed=2)
    assert (benchmark.n_classes, benchmark.n_experiences) == (C, 3)
    assert benchmark.classes_order == class_order(C, 2)
    assert benchmark.n_classes_per_exp == [2, 2, 2]
    for stream in (benchmark.train_stream, benchmark.test_stream, benchmark.test_stream[1:]):
        assert stream.benchmark is benchmark
        for experience in stream:
            assert experience.benchmark is benchmark
            assert experience.origin_stream.benchmark is benchmark
            classes = benchmark.original_classes_in_exp[experience.current_experience]
            assert experience.classes_in_this_experience == classes


def test_unequal_steps() -> None:
    benchmark = class_incremental(images(), images(12), steps=3, first=4)
    assert [len(experience.classes_in_this_experience) for experience in benchmark.train_stream] == [4, 1, 1]
    assert benchmark.n_classes_per_exp == [4, 1, 1]
    order = class_order(C, 0)
    assert benchmark.train_stream[0].classes_in_this_experience == set(order[:4])


@pytest.mark.parametrize(
    ("steps", "first", "message"),
    [
        (3, 3, "6 classes cannot be split into 3 in the first step and equally many in each of 2 others"),
        (3, 0, "6 classes cannot be split into 0 in the first step"),
        (3, "4", "first is '4'; wanted a whole number of classes"),
        (2, 7, "6 classes cannot be split into 7 in the first step"),
        (1, 3, "6 classes cannot be split into 3 in the first step"),
        (3, 6, "0 classes are left for 2 steps after the first"),
    ],
)
def test_unequal_steps_that_cannot_be_are_refused(steps: int, first: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_incremental(images(), images(12), steps=steps, first=first)


def test_icarl_runs_on_our_stream() -> None:
    extractor = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
    head = nn.Linear(8, C)
    strategy = ICaRL(
        feature_extractor=extractor, classifier=head, memory_size=12, buffer_transform=None, fixed_memory=True,
        optimizer=torch.optim.SGD([*extractor.parameters(), *head.parameters()], lr=0.1), train_mb_size=10,
        eval_mb_size=10, evaluator=silent(),
    )  # fmt: skip
    benchmark = class_incremental(images(), images(12), steps=3)
    strategy.train(benchmark.train_stream)
    strategy.eval(benchmark.test_stream)


def test_resize_below_one_is_refused_and_warns_of_classes_that_lose_their_place() -> None:
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    policy.post_adapt(None, stream(images())[0])
    with pytest.raises(InputError, match="new_size is 0; wanted 1 or more"):
        policy.resize(None, 0)
    with pytest.warns(UserWarning, match=r"max_size is 4, so that 2 of 6 classes get no place in the buffer: 4, 5"):
        policy.resize(None, 4)
    assert Counter(policy.buffer.targets) == {0: 1, 1: 1, 2: 1, 3: 1}
