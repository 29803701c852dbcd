"""Distilled sets that a buffer saves, and finds again."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
import torch

from continual import DistilledBuffer, class_incremental
from continual.scenario import labelled_dataset
from distill import DM, Distiller, Herding, Identity, InputError, PreprocessedImages, Standardize, SyntheticSet
from distill.files import remove_partial
from distill.runtime.locks import lock_file
from distill.sets.synthetic import initial_labels
from distill.store import MadeFrom, Store
from distill.tensor_files import read_tensors, write_tensors
from distillers import DISTILLERS
from tiny_streams import CLASSES, C, First, images, stream


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
    with pytest.raises(InputError, match=r"was made with other options or data \(other labels\)"):
        policy().post_adapt(None, stream(PreprocessedImages(data.images, swapped, CLASSES, Identity()))[0])


def test_a_cache_of_another_version_is_refused(tmp_path) -> None:
    data = images()
    made_by = {"made_from": {"experience": 0, "pixels": [0.0]}}
    old = SyntheticSet(data.images, initial_labels(data.labels, C), data.labels, CLASSES, Identity(), made_by)
    old.save(tmp_path / "experience-0.safetensors")
    with pytest.raises(InputError, match="was made by another version of this toolkit, or is not an entry of"):
        DistilledBuffer(First(), num_classes=C, store=tmp_path).post_adapt(None, stream(data)[0])


@pytest.mark.parametrize("distiller", DISTILLERS, ids=lambda distiller: distiller.method)
def test_a_store_serves_classes_of_different_size(tmp_path, distiller: Distiller) -> None:
    """Each group of classes that gets another number of images is distilled from other images, in the same store."""
    labels = torch.tensor([0] * 9 + [1] * 9 + [2] * 2)
    drawn = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(0))
    delivered = stream(PreprocessedImages(drawn, labels, CLASSES, Identity()))[0]
    kept, plain = (
        DistilledBuffer(distiller, images_per_class=3, num_classes=C, store=store) for store in (tmp_path, None)
    )
    for policy in (kept, plain):
        policy.post_adapt(None, delivered)
    assert kept.synthetic.class_ids.tolist().count(2) == 2
    assert torch.equal(kept.synthetic.images, plain.synthetic.images)
    assert [path.name for path in tmp_path.iterdir()] == ["experience-0.safetensors"]


# -- what decides what comes back --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Heir(First):
    """A distiller of the same method and options, but another class."""


def held_out(seed: int) -> PreprocessedImages:
    return images(12, seed=seed)


@pytest.mark.parametrize(
    ("distiller", "changes", "message"),
    [
        (Heir(), {}, "class was 'First', now 'Heir'"),
        (First(), {"held_out": held_out(2)}, "other held-out images"),
        (First(), {"held_out": None}, "other held-out images, other held-out labels"),
        (First(), {"classes": CLASSES[::-1], "num_classes": None}, "other classes"),
    ],
    ids=["class", "held-out images", "no held-out images", "names"],
)
def test_a_kept_set_is_not_taken_for_another(tmp_path, distiller, changes, message) -> None:
    options = {"images_per_class": 2, "num_classes": C, "held_out": held_out(1), "store": tmp_path}
    DistilledBuffer(First(), **options).post_adapt(None, stream(images())[0])
    with pytest.raises(InputError, match=rf"was made with other options or data \({message}\); use those"):
        DistilledBuffer(distiller, **options | changes).post_adapt(None, stream(images())[0])


@pytest.mark.parametrize("kept", ["a buffer's set", "a checkpoint", "a network of herding"])
def test_what_is_kept_knows_its_precision(tmp_path, monkeypatch, kept) -> None:
    def make() -> None:
        if kept == "a buffer's set":
            policy = DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path)
            policy.post_adapt(None, stream(images())[0])
        else:
            distiller = DM(steps=1, width=4, depth=1) if kept == "a checkpoint" else Herding(steps=1, width=4, depth=1)
            distiller.distill(images(), images_per_class=1, store=tmp_path)

    make()
    monkeypatch.setattr("distill.distillers.made_from.float32_products", lambda device: "bfloat16")
    with pytest.raises(InputError, match=r"\(products was 'float32', now 'bfloat16'\)"):
        make()


# -- several processes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Slow(First):
    """Saves to the store until it is told to stop."""

    started: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def _distill(self, data, run) -> SyntheticSet:
        self.started.set()
        while not self.stop.wait(0.01):
            run.store.save("state", MadeFrom(), {"step": torch.zeros(1)})
        run.store.save("state", MadeFrom(), {"step": torch.ones(1)})
        return super()._distill(data, run)


def test_of_two_that_want_the_same_set_one_makes_it_and_the_other_waits(tmp_path) -> None:
    """Locks are those of open files, so that two threads are to each other as two processes are."""
    distillers = Slow(), Slow()
    policies = [DistilledBuffer(one, images_per_class=2, num_classes=C, store=tmp_path) for one in distillers]
    delivered = [stream(images())[0] for _ in policies]
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are caught in the process, not in one thread
        first = pool.submit(policies[0].post_adapt, None, delivered[0])
        assert distillers[0].started.wait(60)
        second = pool.submit(policies[1].post_adapt, None, delivered[1])
        waits = not distillers[1].started.wait(1)
        for distiller in distillers:
            distiller.stop.set()
        first.result(60)
        second.result(60)
    assert waits
    assert [len(distiller.shown) for distiller in distillers] == [1, 0]
    assert torch.equal(policies[0].synthetic.images, policies[1].synthetic.images)
    assert [path.name for path in tmp_path.iterdir()] == ["experience-0.safetensors"]


def test_what_a_killed_process_has_left_of_a_set_that_is_there_is_removed(tmp_path) -> None:
    def policy() -> DistilledBuffer:
        return DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path)

    policy().post_adapt(None, stream(images())[0])
    Store(tmp_path / "experience-0").save("checkpoint", MadeFrom(), {"step": torch.zeros(1)})
    (tmp_path / ".experience-0-lock.partial").touch()
    policy().post_adapt(None, stream(images())[0])
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["experience-0.safetensors"]


def test_waiting_for_another_process_is_told(tmp_path) -> None:
    def release() -> None:
        taken.close()

    taken = ExitStack()
    taken.enter_context(lock_file(tmp_path / ".experience-0-lock.partial", owner="process 7 on node3"))
    timer = threading.Timer(0.5, release)
    timer.start()
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path)
    with pytest.warns(UserWarning, match=r"process 7 on node3 is distilling .*experience-0\S+; waiting for it"):
        policy.post_adapt(None, stream(images())[0])
    timer.join()
    assert len(policy.buffer) == 12


def test_a_file_that_holds_no_set_is_named(tmp_path) -> None:
    policy = lambda: DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path)  # noqa: E731
    policy().post_adapt(None, stream(images())[0])
    path = tmp_path / "experience-0.safetensors"
    tensors, metadata = read_tensors(path)
    write_tensors(path, {"images": tensors["images"]}, metadata)
    with pytest.raises(InputError, match=r"experience-0.safetensors holds no 'labels'; expected a distilled set"):
        policy().post_adapt(None, stream(images())[0])
