"""The training transform of a stream reaches the images that the buffer gives back."""

import random
import warnings

import numpy as np
import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets, nc_benchmark
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.benchmarks.utils import _make_taskaware_classification_dataset as make_dataset
from avalanche.training import Naive
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin, SupervisedPlugin
from PIL import Image
from torch import nn
from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.transforms import v2

from continual import DistilledBuffer, GDumb
from continual.items import read_items
from distill import InputError, Random

MEAN, STD = (0.2, 0.4, 0.6), (0.3, 0.2, 0.1)
NORMALIZE = transforms.Normalize(MEAN, STD)
TO_TENSOR = [transforms.ToTensor(), NORMALIZE]


class Left:
    """The right-hand 8 of 11 columns, of a PIL image or a tensor."""

    def __call__(self, image):
        return image[..., 3:] if isinstance(image, torch.Tensor) else image.crop((3, 0, 11, 8))

    def __repr__(self) -> str:
        return "Left()"


class Pictures(Dataset):
    """PIL images as torchvision's data sets give them, all pixels bright."""

    targets = [0, 1] * 6

    def __init__(self, mode: str = "RGB") -> None:
        generator = np.random.default_rng(0)
        shape = (12, 8, 8, 3) if mode == "RGB" else (12, 8, 8)
        self.pixels = generator.integers(100, 256, shape, dtype=np.uint8)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index]), self.targets[index]


def buffer_of(train, evaluate, data: Dataset | None = None, **options) -> DistilledBuffer:
    data = Pictures() if data is None else data
    stream = nc_benchmark(data, data, 1, task_labels=False, train_transform=train, eval_transform=evaluate).train_stream
    policy = DistilledBuffer(Random(), images_per_class=3, num_classes=2, **options)
    policy.post_adapt(None, stream[0])
    return policy


def kept(policy: DistilledBuffer, *, training: bool) -> torch.Tensor:
    data = policy.buffer.train() if training else policy.buffer.eval()
    return torch.stack([data[i][0] for i in range(len(data))])


@pytest.mark.parametrize("version", [transforms, v2])
def test_crops_and_flips_of_pil_images_reach_replayed_ones(version) -> None:
    """Padding is black, as in training, not the mean colour that 0 is after the normalisation."""
    last = [transforms.ToTensor(), NORMALIZE] if version is transforms else \
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]  # fmt: skip
    shift = version.Pad((3, 0, 0, 0))  # to the right, then cut off and turned round: three columns on the right are new
    train = version.Compose([shift, version.RandomHorizontalFlip(1.0), version.RandomCrop((8, 11)), Left(), *last])
    policy = buffer_of(train, version.Compose(last))
    plain, augmented = kept(policy, training=False), kept(policy, training=True)
    assert policy.synthetic is not None
    assert torch.equal(plain, policy.synthetic.images)
    black = ((torch.zeros(3) - torch.tensor(MEAN)) / torch.tensor(STD)).view(3, 1, 1)
    assert torch.allclose(augmented[..., 5:], black.expand(3, 8, 3), atol=1e-5)
    assert torch.allclose(augmented[..., :5], plain[..., :5].flip(-1), atol=1e-5)
    assert "RandomHorizontalFlip" in repr(policy)


def test_transform_is_drawn_anew_each_time() -> None:
    train = transforms.Compose([transforms.RandomCrop(8, padding=4), *TO_TENSOR])
    policy = buffer_of(train, transforms.Compose(TO_TENSOR))
    torch.manual_seed(0)
    assert not torch.equal(kept(policy, training=True), kept(policy, training=True))


def test_it_reaches_the_mini_batches_of_replay_and_not_those_of_gdumb() -> None:
    """Every replayed image is turned upside down, which nothing else does."""
    seen: list[torch.Tensor] = []

    class Spy(SupervisedPlugin):
        def before_forward(self, strategy, **kwargs) -> None:
            seen.extend(strategy.mb_x)

    flip = transforms.Compose([transforms.RandomVerticalFlip(1.0), *TO_TENSOR])
    data = Pictures()
    benchmark = nc_benchmark(
        data, data, 2, task_labels=False, fixed_class_order=[0, 1], train_transform=flip,
        eval_transform=transforms.Compose(TO_TENSOR),
    )  # fmt: skip
    policy = DistilledBuffer(Random(), images_per_class=3, num_classes=2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    strategy = Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01), train_mb_size=6,
        plugins=[Spy(), ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)], evaluator=EvaluationPlugin(),
    )  # fmt: skip
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    seen.clear()
    memory = policy.synthetic
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert memory is not None
    upright = {image.numpy().tobytes() for image in memory.images}
    turned = {image.flip(1).numpy().round(4).tobytes() for image in memory.images}
    assert not any(image.numpy().tobytes() in upright for image in seen)
    assert sum(image.numpy().round(4).tobytes() in turned for image in seen) >= 3

    seen.clear()
    gdumb = GDumb(model=model, storage_policy=policy, train_steps=1, plugins=[Spy()], evaluator=EvaluationPlugin())
    gdumb.recipe = type(gdumb.recipe)(train_steps=1, augment=False)
    gdumb.train(benchmark.train_stream[1], eval_streams=[])
    assert sum(image.numpy().tobytes() in upright for image in seen) == 3


def test_what_both_transforms_share_is_not_done_twice() -> None:
    """As in Avalanche's PermutedMNIST and RotatedMNIST."""
    turn = transforms.RandomRotation((90, 90))
    both = transforms.Compose([turn, *TO_TENSOR])
    policy = buffer_of(both, both)
    assert policy.augmentation is None
    assert torch.equal(kept(policy, training=True), kept(policy, training=False))
    policy = buffer_of(transforms.Compose([turn, transforms.RandomHorizontalFlip(1.0), *TO_TENSOR]), both)
    assert torch.allclose(kept(policy, training=True), kept(policy, training=False).flip(-1), atol=1e-5)


def test_frozen_transforms_are_those_of_the_data() -> None:
    """Avalanche freezes the transform of a domain before it adds the stream's own."""
    data = make_dataset(Pictures(), transform=transforms.Compose(TO_TENSOR)).freeze_transforms()
    flip = transforms.RandomHorizontalFlip(1.0)
    data = make_dataset(data, transform_groups={"train": (flip, None), "eval": None})
    policy = DistilledBuffer(Random(), images_per_class=3, num_classes=2)
    policy.post_adapt(None, benchmark_from_datasets(train=[data]).train_stream[0])
    assert torch.allclose(kept(policy, training=True), kept(policy, training=False).flip(-1), atol=1e-5)


def test_transform_by_option() -> None:
    train = transforms.Compose([transforms.RandomCrop(8, padding=4), *TO_TENSOR])
    policy = buffer_of(train, transforms.Compose(TO_TENSOR), transform=lambda image: image + 1)
    assert torch.equal(kept(policy, training=True), kept(policy, training=False) + 1)
    policy = buffer_of(train, transforms.Compose(TO_TENSOR), transform=None)
    assert torch.equal(kept(policy, training=True), kept(policy, training=False))
    assert "in training no transform" in repr(policy)
    with pytest.raises(InputError, match="transform is 'flip'; expected 'stream', None or a function"):
        DistilledBuffer(Random(), transform="flip")
    with pytest.raises(InputError, match=r"returns torch.float32 of shape \(3, 4, 4\) for torch.float32 of shape"):
        buffer_of(train, transforms.Compose(TO_TENSOR), transform=transforms.CenterCrop(4))


def test_a_transform_that_takes_no_tensors_is_named_before_anything_is_distilled(monkeypatch) -> None:
    def tint(image: Image.Image) -> Image.Image:
        return image.convert("L").convert("RGB")

    order = []
    distil = Random.distill

    def distil_after_warning(*given, **options):
        order.append(len(caught))
        return distil(*given, **options)

    monkeypatch.setattr(Random, "distill", distil_after_warning)
    with pytest.warns(UserWarning, match=r"does not work on the stored tensors \(.*tint") as caught:
        policy = buffer_of(transforms.Compose([tint, *TO_TENSOR]), transforms.Compose(TO_TENSOR))
    assert len(caught) == 1
    assert order == [1]
    assert policy.augmentation is None
    assert torch.equal(kept(policy, training=True), kept(policy, training=False))


def test_a_normalisation_that_something_follows_is_left_alone() -> None:
    class Double:
        def __call__(self, image: torch.Tensor) -> torch.Tensor:
            return 2 * image

        def __repr__(self) -> str:
            return "Double()"

    last = [*TO_TENSOR, Double()]
    policy = buffer_of(transforms.Compose([transforms.RandomHorizontalFlip(1.0), *last]), transforms.Compose(last))
    assert torch.allclose(kept(policy, training=True), kept(policy, training=False).flip(-1))


def test_trying_the_transform_draws_no_random_number() -> None:
    train = transforms.Compose([transforms.RandomCrop(8, padding=4), transforms.RandomHorizontalFlip(), *TO_TENSOR])
    stream = nc_benchmark(Pictures(), Pictures(), 1, task_labels=False, fixed_class_order=[0, 1],
                          train_transform=train, eval_transform=transforms.Compose(TO_TENSOR)).train_stream  # fmt: skip
    before, plain = torch.get_rng_state(), random.getstate()
    DistilledBuffer(Random(), images_per_class=3, num_classes=2).post_adapt(None, stream[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == plain


def test_items_are_read_under_the_eval_transform() -> None:
    train = transforms.Compose([transforms.RandomCrop(8, padding=4), *TO_TENSOR])
    stream = nc_benchmark(Pictures(), Pictures(), 1, task_labels=False, train_transform=train,
                          eval_transform=transforms.Compose(TO_TENSOR)).train_stream  # fmt: skip
    items = read_items(stream[0].dataset)
    assert torch.equal(items.images, read_items(stream[0].dataset).images)


def bright(policy: DistilledBuffer, times: int = 10) -> torch.Tensor:
    """Replayed images in training, in [0, 1], many times."""
    torch.manual_seed(0)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (MEAN, STD))
    return torch.cat([kept(policy, training=True) * std + mean for _ in range(times)])


@pytest.mark.parametrize("step", [
    transforms.Pad((2, 0, 0, 0), fill=128),
    transforms.RandomRotation((45, 45), fill=128),
    v2.Pad((2, 0, 0, 0), fill=128),
], ids=lambda step: type(step).__name__)  # fmt: skip
def test_fill_of_a_step_before_to_tensor_is_in_bytes(step) -> None:
    train = transforms.Compose([step, transforms.CenterCrop(8), *TO_TENSOR])
    policy = buffer_of(train, transforms.Compose(TO_TENSOR))
    images = bright(policy, 1)
    assert float(images.max()) <= 1 + 1e-5
    assert (images - 128 / 255).abs().min() < 1e-5


@pytest.mark.parametrize("step", [
    transforms.RandAugment(), transforms.TrivialAugmentWide(), transforms.AugMix(),
    transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10), transforms.RandomSolarize(128),
    transforms.RandomPosterize(2),
], ids=lambda step: type(step).__name__)  # fmt: skip
def test_steps_on_bytes_see_bytes(step) -> None:
    policy = buffer_of(transforms.Compose([step, *TO_TENSOR]), transforms.Compose(TO_TENSOR))
    images = bright(policy)
    assert policy.augmentation is not None
    assert -1e-5 <= float(images.min()) < float(images.max()) <= 1 + 1e-5
    assert len(torch.unique(images[:: len(policy.buffer)], dim=0)) > 1  # drawn anew


def test_solarized_bytes_are_those_of_the_stream() -> None:
    train = transforms.Compose([transforms.RandomSolarize(128, p=1.0), *TO_TENSOR])
    policy = buffer_of(train, transforms.Compose(TO_TENSOR))
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (MEAN, STD))
    plain = (kept(policy, training=False) * std + mean) * 255
    wanted = torch.where(plain.round() >= 128, 255 - plain, plain)
    assert torch.allclose(bright(policy, 1) * 255, wanted, atol=1e-2)


def test_flips_and_crops_keep_what_bytes_cannot_hold() -> None:
    """Distilled images may leave [0, 1]."""
    policy = buffer_of(
        transforms.Compose([transforms.RandomHorizontalFlip(1.0), *TO_TENSOR]), transforms.Compose(TO_TENSOR)
    )
    image = torch.full((3, 8, 8), 9.0)
    assert torch.allclose(policy.augmentation(image), image, atol=1e-4)


def test_a_transform_that_fails_now_and_then_is_left_out_with_a_warning() -> None:
    class Moody:
        def __call__(self, image):
            if isinstance(image, torch.Tensor) and random.random() < 0.2:
                raise ValueError("no tensors today")
            return image

    random.seed(1)
    state = random.getstate()
    with pytest.warns(UserWarning, match="no tensors today"):
        policy = buffer_of(transforms.Compose([Moody(), *TO_TENSOR]), transforms.Compose(TO_TENSOR))
    assert policy.augmentation is None
    assert random.getstate() == state


def test_a_step_that_cannot_come_after_a_shared_one_is_left_out_with_a_warning() -> None:
    scale = transforms.Lambda(lambda image: 2 * image - 1)
    train = transforms.Compose([transforms.ColorJitter(0.5), transforms.ToTensor(), scale])
    with pytest.warns(UserWarning, match=r"ColorJitter.* must come before Lambda"):
        policy = buffer_of(train, transforms.Compose([transforms.ToTensor(), scale]))
    assert torch.equal(kept(policy, training=True), kept(policy, training=False))


def test_transforms_that_hide_a_function_are_told_apart_by_it() -> None:
    def darker(image: torch.Tensor) -> torch.Tensor:
        return image / 2

    def brighter(image: torch.Tensor) -> torch.Tensor:
        return image * 2

    tensor, plain = transforms.ToTensor(), transforms.Compose([transforms.ToTensor()])
    policy = buffer_of(transforms.Compose([tensor, transforms.Lambda(darker), transforms.Lambda(brighter)]),
                       transforms.Compose([tensor, transforms.Lambda(brighter)]))  # fmt: skip
    assert torch.allclose(kept(policy, training=True), kept(policy, training=False) / 2)
    policy = DistilledBuffer(Random(), images_per_class=3, num_classes=2)
    for change in (darker, brighter):
        train = transforms.Compose([tensor, transforms.Lambda(change)])
        data = Pictures()
        data.pixels = data.pixels // (1 if change is darker else 2)  # another delivery
        stream = nc_benchmark(data, data, 1, task_labels=False, train_transform=train, eval_transform=plain)
        policy.post_adapt(None, stream.train_stream[0])
    first, second = policy._memory.deliveries
    image = torch.ones(3, 8, 8)
    assert torch.equal(first.transform(image), image / 2)
    assert torch.equal(second.transform(image), image * 2)
    changes = {round(float((a[0] / b[0]).mean()), 3)
               for a, b in zip(policy.buffer.train(), policy.buffer.eval(), strict=True)}  # fmt: skip
    assert changes == {0.5, 2.0}


def test_deliveries_of_one_transform_share_it() -> None:
    policy = DistilledBuffer(Random(), images_per_class=3, num_classes=2)
    for _ in range(2):
        train = transforms.Compose([transforms.RandomCrop(8, padding=2), *TO_TENSOR])  # made anew
        stream = nc_benchmark(Pictures(), Pictures(), 2, task_labels=False, train_transform=train,
                              eval_transform=transforms.Compose(TO_TENSOR)).train_stream  # fmt: skip
        for experience in stream:
            policy.post_adapt(None, experience)
    assert len({id(part.transform) for part in policy._memory.deliveries}) == 1


@pytest.mark.parametrize("works", [True, False])
def test_a_buffer_that_gdumb_asks_first_keeps_the_training_transform(works: bool) -> None:
    def tint(image: Image.Image) -> Image.Image:
        return image.convert("L").convert("RGB")

    step = transforms.RandomVerticalFlip(1.0) if works else tint
    train = transforms.Compose([step, *TO_TENSOR])
    stream = nc_benchmark(Pictures(), Pictures(), 1, task_labels=False, train_transform=train,
                          eval_transform=transforms.Compose(TO_TENSOR)).train_stream  # fmt: skip
    policy = DistilledBuffer(Random(), images_per_class=3, num_classes=2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    gdumb = GDumb(model=model, storage_policy=policy, train_steps=1, evaluator=EvaluationPlugin())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the training transform")
        gdumb.train(stream, eval_streams=[])  # reads images under their eval transforms
    if works:
        assert torch.allclose(kept(policy, training=True), kept(policy, training=False).flip(-2), atol=1e-5)
        return
    with pytest.warns(UserWarning, match="does not work on the stored tensors"):
        policy.post_adapt(None, stream[0])  # a strategy that replays


def test_a_normalisation_of_training_alone_reaches_replayed_images() -> None:
    tensor = transforms.ToTensor()
    policy = buffer_of(transforms.Compose(TO_TENSOR), transforms.Compose([tensor]))
    assert torch.equal(kept(policy, training=True)[0], NORMALIZE(kept(policy, training=False)[0]))
    other = transforms.Normalize((0.5,) * 3, (0.25,) * 3)
    policy = buffer_of(transforms.Compose([tensor, other]), transforms.Compose(TO_TENSOR))
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (MEAN, STD))
    wanted = other(kept(policy, training=False)[0] * std + mean)
    assert torch.allclose(kept(policy, training=True)[0], wanted, atol=1e-5)


class Transforming(Pictures):
    """A data set that applies a training transform itself."""

    transform = transforms.Compose([transforms.RandomCrop(8, padding=3), transforms.ToTensor()])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = super().__getitem__(index)
        return self.transform(image), label


def test_training_transforms_inside_the_data_set_are_warned_of() -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="images of the stream differ between two reads.*transform_groups"):
        buffer_of(None, None, Transforming())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="images of the stream")
        buffer_of(transforms.Compose([transforms.RandomCrop(8, padding=3), *TO_TENSOR]), transforms.Compose(TO_TENSOR))


def test_what_is_collected_keeps_its_own_transform() -> None:
    """The last sub-experience of the first experience is lost; it is distilled when the second begins."""
    policy = DistilledBuffer(Random(), images_per_class=3, num_classes=2)
    for k, step in enumerate([transforms.RandomHorizontalFlip(1.0), transforms.RandomVerticalFlip(1.0)]):
        data = Pictures()
        data.pixels = data.pixels // (k + 1)
        stream = nc_benchmark(data, data, 1, task_labels=False, train_transform=transforms.Compose([step, *TO_TENSOR]),
                              eval_transform=transforms.Compose(TO_TENSOR)).train_stream  # fmt: skip
        stream[0].current_experience = k
        parts = list(split_online_stream(stream, experience_size=3, shuffle=False, access_task_boundaries=True))
        for experience in parts[:3] if k == 0 else parts:
            experience.origin_experience.current_experience = k
            policy.post_adapt(None, experience)
    steps = [repr(part.transform).split(" -> ")[1] for part in policy._memory.deliveries]
    assert steps == ["RandomHorizontalFlip(p=1.0)", "RandomVerticalFlip(p=1.0)"]
