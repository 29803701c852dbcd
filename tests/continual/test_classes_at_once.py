"""Which classes of an experience a DistilledBuffer distils together: `classes_at_once`."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from continual import DistilledBuffer
from continual.classes_at_once import parts_of, sizes_of_parts
from continual.distilling import experience_seed
from distill import DM, FRePo, Herding, Identity, InputError, NoisyMeans, Random, SyntheticSet
from killed import steps_counted, stopped_after
from tiny_streams import CLASSES, C, First, images, stream

FREPO = FRePo(steps=2, width=4, depth=1, batch_size=8)


def put_in(policy: DistilledBuffer, data=None) -> SyntheticSet:
    """What a policy has after an experience of all classes."""
    policy.post_adapt(None, stream(images() if data is None else data)[0])
    assert policy.synthetic is not None
    return policy.synthetic


@given(classes=st.integers(1, 200), at_once=st.none() | st.integers(1, 200))
def test_parts_are_as_few_and_as_equal_as_possible(classes: int, at_once: int | None) -> None:
    sizes = sizes_of_parts(classes, at_once)
    most = classes if at_once is None else at_once
    assert sum(sizes) == classes
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert (len(sizes) - 1) * most < classes


@given(wanted=st.dictionaries(st.integers(0, 50), st.integers(1, 3), min_size=1), at_once=st.integers(1, 9))
def test_each_class_is_in_one_part(wanted: dict[int, int], at_once: int) -> None:
    parts = parts_of(wanted, at_once)
    assert {c: part.count for part in parts for c in part.classes} == wanted
    assert sum(len(part.classes) for part in parts) == len(wanted)


@pytest.mark.parametrize(
    ("at_once", "together"),
    [
        (None, [[0, 1, 2, 3, 4, 5]]),
        (6, [[0, 1, 2, 3, 4, 5]]),
        (4, [[0, 1, 2], [3, 4, 5]]),
        (1, [[c] for c in range(C)]),
    ],
)
def test_at_most_so_many_classes_are_distilled_together(at_once, together) -> None:
    distiller = First()
    options = {"images_per_class": 2, "num_classes": C, "held_out": images(12, seed=1)}
    synthetic = put_in(DistilledBuffer(distiller, **options, classes_at_once=at_once))
    for part in ("data", "held_out"):
        assert [shown[part].labels.unique().tolist() for shown in distiller.shown] == together
    assert synthetic.made_by["method"] == "first"
    assert synthetic.class_ids.tolist() == [c for c in range(C) for _ in range(2)]
    assert all(shown["data"].num_classes == C for shown in distiller.shown)  # labels over all of them


@pytest.mark.parametrize("distiller", [FREPO, DM(steps=2, width=4, depth=1)], ids=lambda one: one.method)
def test_each_part_is_what_its_classes_alone_give(distiller) -> None:
    data = images(36)
    data = data.subset(torch.randperm(len(data), generator=torch.Generator().manual_seed(3)))
    synthetic = put_in(DistilledBuffer(distiller, images_per_class=2, num_classes=C, classes_at_once=2), data)
    for classes in ([0, 1], [2, 3], [4, 5]):
        mask = torch.isin(data.labels, torch.tensor(classes))
        alone = distiller.distill(data.subset(mask), images_per_class=2, seed=experience_seed(0, 0))
        own = torch.isin(synthetic.class_ids, torch.tensor(classes))
        assert torch.equal(synthetic.images[own], alone.images)
        assert torch.equal(synthetic.labels[own], alone.labels)


def test_what_is_kept_is_found_again(tmp_path) -> None:
    options = {"images_per_class": 2, "num_classes": C, "classes_at_once": 3}
    plain, kept, found = (put_in(DistilledBuffer(FREPO, **options, store=at)) for at in (None, tmp_path, tmp_path))
    assert torch.equal(plain.images, kept.images)
    assert torch.equal(plain.images, found.images)
    assert [path.name for path in tmp_path.iterdir()] == ["experience-0.safetensors"]


def test_a_part_that_was_finished_is_not_distilled_again(tmp_path, monkeypatch) -> None:
    options = {"images_per_class": 2, "num_classes": C, "classes_at_once": 3}
    plain = put_in(DistilledBuffer(FREPO, **options))
    with stopped_after(2, FRePo, monkeypatch) as before, pytest.raises(KeyboardInterrupt):
        put_in(DistilledBuffer(FREPO, **options, store=tmp_path))
    after = steps_counted(FRePo, monkeypatch)
    resumed = put_in(DistilledBuffer(FREPO, **options, store=tmp_path))
    assert before == after == [0, 1]  # the first part, then the second
    assert torch.equal(plain.images, resumed.images)


def test_parts_have_stores_of_their_own(tmp_path) -> None:
    distiller = First()
    put_in(DistilledBuffer(distiller, images_per_class=2, num_classes=C, classes_at_once=3, store=tmp_path))
    assert [shown["store"].folder.name for shown in distiller.shown] == ["classes-0-to-2", "classes-3-to-5"]


def test_other_parts_begin_anew(tmp_path, monkeypatch) -> None:
    """What was left unfinished with other parts is not taken for theirs, and gone at the end."""
    options = {"images_per_class": 2, "num_classes": C}
    with stopped_after(2, FRePo, monkeypatch), pytest.raises(KeyboardInterrupt):
        put_in(DistilledBuffer(FREPO, **options, classes_at_once=3, store=tmp_path))
    resumed = put_in(DistilledBuffer(FREPO, **options, classes_at_once=2, store=tmp_path))
    assert torch.equal(resumed.images, put_in(DistilledBuffer(FREPO, **options, classes_at_once=2)).images)
    assert [path.name for path in tmp_path.iterdir()] == ["experience-0.safetensors"]


def test_a_kept_set_of_other_parts_is_refused(tmp_path) -> None:
    options = {"images_per_class": 2, "num_classes": C, "store": tmp_path}
    put_in(DistilledBuffer(First(), **options, classes_at_once=3))
    with pytest.raises(InputError, match=r"together was \[\[0, 1, 2\], \[3, 4, 5\]\], now None"):
        put_in(DistilledBuffer(First(), **options))


def test_a_number_that_changes_nothing_finds_the_same_set(tmp_path) -> None:
    put_in(DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path))
    distiller = First()
    put_in(DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path, classes_at_once=C))
    assert not distiller.shown


@pytest.mark.parametrize(
    "distiller",
    [Random(), Herding(steps=1, width=4, depth=1), NoisyMeans(noise_multiplier=9.0)],
    ids=lambda one: one.method,
)
def test_methods_that_choose_or_prove_take_all_classes_together(distiller) -> None:
    options = {"images_per_class": 2, "num_classes": C, "preprocessing": Identity()}
    whole, asked = (put_in(DistilledBuffer(distiller, **options, classes_at_once=n)) for n in (None, 1))
    assert torch.equal(whole.images, asked.images)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "ten"])
def test_a_wrong_number_is_an_input_error(wrong) -> None:
    with pytest.raises(InputError, match="classes_at_once"):
        DistilledBuffer(First(), classes=CLASSES, classes_at_once=wrong)
