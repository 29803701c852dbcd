"""Entries of a store: found again, refused where they were made from something else, written whole or not at all."""

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill import FRePo, Herding, InputError, SyntheticSet
from distill.fingerprint import tolerant_fingerprint
from distill.preprocess import Standardize
from distill.store import MadeFrom, Store, as_store
from distill.tensor_files import read_tensors, write_tensors

MADE_FROM = MadeFrom(options={"steps": 10, "layers": (1, 2)}, data={"images": "abc", "held-out images": None})
TENSORS = {"weight": torch.arange(6.0).view(2, 3), "generator": torch.Generator().get_state()}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "a" / "store")


def test_an_entry_comes_back_as_it_was_saved(store):
    assert store.load("network", MADE_FROM) is None
    path = store.save("network", MADE_FROM, TENSORS, {"ages": [1, 2], "loss": 0.25})
    assert path == store.path("network")
    found = store.load("network", MADE_FROM)
    assert found.metadata == {"ages": [1, 2], "loss": 0.25}
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in TENSORS.items())
    assert [path.name for path in store.folder.iterdir()] == ["network.safetensors"]


@pytest.mark.parametrize(
    ("made_from", "differing"),
    [
        (MadeFrom({**MADE_FROM.options, "steps": 20}, MADE_FROM.data), "steps was 10, now 20"),
        (MadeFrom({"steps": 10}, MADE_FROM.data), r"layers was \[1, 2\], now None"),
        (MadeFrom({**MADE_FROM.options, "width": "8"}, MADE_FROM.data), "width was None, now '8'"),
        (MadeFrom(MADE_FROM.options, {**MADE_FROM.data, "images": "abd"}), "other images"),
        (MadeFrom(MADE_FROM.options, {**MADE_FROM.data, "held-out images": "x"}), "other held-out images"),
        (MadeFrom(MADE_FROM.options, {"images": "abc"}), "other held-out images"),
        (MadeFrom({**MADE_FROM.options, "steps": 1}, {"images": 1, "held-out images": None}), "steps .*, other images"),
    ],
    ids=range(7),
)
def test_an_entry_made_from_something_else_is_refused_and_kept(store, made_from, differing):
    content = store.save("network", MADE_FROM, TENSORS).read_bytes()
    with pytest.raises(InputError, match=rf"network.safetensors was made with .* data \({differing}\); use those"):
        store.load("network", made_from)
    assert store.path("network").read_bytes() == content


def test_saving_replaces_an_entry_and_removing_leaves_the_others(store):
    for name in ("one", "other"):
        store.save(name, MADE_FROM, TENSORS)
    store.save("one", MadeFrom(), {"weight": torch.zeros(1)})
    assert store.load("one", MadeFrom()).tensors["weight"].tolist() == [0]
    store.remove("one")
    store.remove("one")
    assert store.load("one", MadeFrom()) is None
    assert store.load("other", MADE_FROM) is not None


def test_a_store_within_a_store_is_cleared_alone(store):
    inner = store.within("inner")
    inner.save("network", MADE_FROM, TENSORS)
    store.save("network", MADE_FROM, TENSORS)
    inner.clear()
    inner.clear()
    assert [path.name for path in store.folder.iterdir()] == ["network.safetensors"]


def test_make_is_asked_once(store):
    made = []

    def make():
        made.append(1)
        return TENSORS, {"age": 3}

    for _ in range(2):
        entry = store.get("network", MADE_FROM, make)
        assert entry.metadata == {"age": 3}
        assert torch.equal(entry.tensors["weight"], TENSORS["weight"])
    assert made == [1]


# -- arrays that do not fit in memory ----------------------------------------------------------------------------------

ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


def rows() -> Iterator[bytes]:
    for row in ARRAY:
        yield row.tobytes()


def test_an_array_is_written_in_parts_and_read_as_a_memory_map(store):
    assert store.load_array("pixels", MADE_FROM) is None
    path = store.save_array("pixels", MADE_FROM, ARRAY.shape, rows(), {"warnings": ["grey"]})
    found, metadata = store.load_array("pixels", MADE_FROM)
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    assert np.array_equal(found, ARRAY)
    assert metadata == {"warnings": ["grey"]}
    assert torch.equal(load_file(path)["array"], torch.from_numpy(ARRAY))  # as any safetensors file
    with pytest.raises(InputError, match=r"pixels.safetensors was made with .* data \(other images\); use those"):
        store.load_array("pixels", MadeFrom(MADE_FROM.options, {**MADE_FROM.data, "images": "abd"}))


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_damaged_array_is_refused(store, left):
    path = store.save_array("pixels", MADE_FROM, ARRAY.shape, rows())
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=f"{path} is damaged"):
        store.load_array("pixels", MADE_FROM)


def test_tensors_are_no_array(store):
    path = store.save("network", MADE_FROM, TENSORS)
    with pytest.raises(InputError, match=f"{path} is damaged: it holds generator, weight; expected one uint8 array"):
        store.load_array("network", MADE_FROM)


@pytest.mark.parametrize("shape", [(5, 2, 3), (3, 2, 3)])
def test_parts_that_do_not_fill_the_shape_are_not_kept(store, shape):
    with pytest.raises(InputError, match=r"pixels\S+: its parts have 24 bytes; expected (30|18) for \(., 2, 3\)"):
        store.save_array("pixels", MADE_FROM, shape, rows())
    assert not list(store.folder.iterdir())


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", [{}, {"made_from": {"experience": 0}}, {"identity": {"format": 3}}], ids=str)
def test_a_file_that_is_no_entry_is_refused(store, metadata):
    write_tensors(store.path("network"), TENSORS, metadata)
    with pytest.raises(InputError, match=r"network.safetensors was made by another version of this toolkit, or is not"):
        store.load("network", MADE_FROM)


@pytest.mark.parametrize("part", [{"options": None}, {"options": []}, {"data": "x"}], ids=str)
def test_an_entry_whose_description_is_damaged_is_refused(store, part):
    path = store.save("network", MADE_FROM, TENSORS)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {"made_from": {**metadata["made_from"], **part}})
    with pytest.raises(InputError, match=r"network.safetensors was made by another version of this toolkit, or is not"):
        store.load("network", MADE_FROM)


@pytest.mark.parametrize("sums", [[1.0], None, ["a"] * 8, 3], ids=str)
def test_sums_of_another_kind_are_others(store, sums):
    found, expected = ({"images": {"sums": given, "tolerance": 1.0}} for given in (sums, [1.0] * 8))
    store.save("set", MadeFrom(data=found), TENSORS)
    with pytest.raises(InputError, match=r"\(other images\)"):
        store.load("set", MadeFrom(data=expected))


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_damaged_entry_is_refused(store, left):
    path = store.save("network", MADE_FROM, TENSORS)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=f"{path} is damaged"):
        store.load("network", MADE_FROM)


def test_an_entry_that_another_process_removes_meanwhile_is_none(store, monkeypatch):
    path = store.save("network", MADE_FROM, TENSORS)
    exists = Path.exists

    def exists_for_the_last_time(given: Path) -> bool:
        found = exists(given)
        if given == path:
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "exists", exists_for_the_last_time)
    assert store.load("network", MADE_FROM) is None


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(InputError, match=r"store is the file .*file; expected a folder"):
        Store(tmp_path / "file")
    with pytest.raises(InputError, match=r"store is 3; expected a path"):
        as_store(3)
    store = Store(tmp_path / "store")
    assert as_store(store) is store
    assert as_store(None) is None


def test_options_that_are_no_json_are_refused(store):
    with pytest.raises(InputError, match="what an entry is made from must be JSON"):
        store.save("network", MadeFrom({"network": object()}), TENSORS)


def save_many(folder: Path, value: float) -> None:
    store = Store(folder)
    for _ in range(50):
        store.save("network", MADE_FROM, {"weight": torch.full((10_000,), value)}, {"value": value})


def test_processes_that_save_one_entry_leave_it_whole(store):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=save_many, args=(store.folder, value)) for value in (1.0, 2.0)]
    for process in processes:
        process.start()
    seen = set()
    while any(process.is_alive() for process in processes):
        entry = store.load("network", MADE_FROM)
        if entry is not None:
            assert entry.tensors["weight"].eq(entry.metadata["value"]).all()
            seen.add(entry.metadata["value"])
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert seen
    assert [path.name for path in store.folder.iterdir()] == ["network.safetensors"]


# -- pixels that differ in their last bits ----------------------------------------------------------------------------


def test_sums_of_pixels_allow_for_last_bits_and_for_nothing_else(store, make_images):
    images = make_images((50, 50, 50))
    data = Standardize.fit(images).apply(images)

    def made_from(images: torch.Tensor) -> MadeFrom:
        return MadeFrom(data=tolerant_fingerprint(type(data)(images, data.labels, data.classes, data.preprocessing)))

    store.save("set", made_from(data.images), TENSORS)
    jittered = data.images + 1e-6 * torch.randn(data.images.shape, generator=torch.Generator().manual_seed(0))
    assert store.load("set", made_from(jittered)) is not None
    changed = data.images.clone()
    changed[17] += 0.5
    with pytest.raises(InputError, match=r"\(other images\)"):
        store.load("set", made_from(changed))


# -- what earlier versions have written --------------------------------------------------------------------------------


def written_by_format_3(path: Path) -> Path:
    """A checkpoint as versions before the store wrote it."""
    identity = {"format": 3, "options": {"method": "frepo"}, "data": {}, "held_out": None}
    return write_tensors(path, TENSORS, {"identity": identity, "step": 3, "history": [], "mean_loss": None})


def test_a_checkpoint_of_an_earlier_version_is_refused_in_one_line(tmp_path, make_images):
    frepo, data = FRePo(steps=1, width=4, depth=2, pool_size=1), make_images()
    old = written_by_format_3(tmp_path / "checkpoint.safetensors")
    with pytest.raises(InputError, match="store is the file") as refused:
        frepo.distill(data, images_per_class=1, store=old)
    assert "\n" not in str(refused.value)
    old.rename(tmp_path / "checkpoint-frepo-1-seed-0.safetensors")
    with pytest.raises(InputError, match="another version of this toolkit") as refused:
        frepo.distill(data, images_per_class=1, store=tmp_path)
    assert "\n" not in str(refused.value)


def test_a_set_of_an_earlier_version_loads(tmp_path):
    """The same tensors and metadata as written since the first version of the file format."""
    made_by = {"method": "random", "options": {"images_per_class": 1, "seed": 0, "device": "cpu"}}
    tensors = {"images": torch.zeros(2, 1, 4, 4), "labels": torch.eye(2), "class_ids": torch.arange(2)}
    metadata = {"format": 1, "classes": ["a", "b"], "preprocessing": "identity", "made_by": made_by}
    loaded = SyntheticSet.load(write_tensors(tmp_path / "set.safetensors", tensors, metadata))
    assert loaded.made_by == json.loads(json.dumps(made_by))
    assert loaded.classes == ("a", "b")


# -- herding's network -------------------------------------------------------------------------------------------------


def test_herding_trains_its_network_once_for_sets_of_any_size(tmp_path, make_images, monkeypatch):
    data, herding = make_images(), Herding(steps=3, width=4, depth=2, batch_size=8)
    expected = {count: herding.distill(data, images_per_class=count) for count in (2, 5)}
    trained, train = [], Herding._train
    monkeypatch.setattr(Herding, "_train", lambda self, *given: trained.append(1) or train(self, *given))
    for count in (2, 5, 2):
        found = herding.distill(data, images_per_class=count, store=tmp_path)
        assert torch.equal(found.images, expected[count].images)
        assert found.made_by == expected[count].made_by
    assert trained == [1]
    with pytest.raises(InputError, match=r"network-herding-seed-0.safetensors .* \(steps was 3, now 4\)"):
        Herding(steps=4, width=4, depth=2, batch_size=8).distill(data, store=tmp_path)


def test_shared_store_keeps_what_several_runs_use_side_by_side(tmp_path):
    shared = Store(tmp_path / "shared")
    made, stores = [], [Store(tmp_path / name, shared=shared).within("inner") for name in ("a", "b")]

    def make(value):
        made.append(value)
        return {"weight": torch.full((1,), value)}, {}

    for value in (1.0, 2.0):
        for store in stores:
            entry = store.get_shared("network", MadeFrom({"value": value}), lambda value=value: make(value))
            assert entry.tensors["weight"].item() == value
    assert made == [1.0, 2.0]
    assert len(list(shared.folder.iterdir())) == 2
    assert not (tmp_path / "a").exists()


def test_store_without_a_shared_one_keeps_everything_itself(tmp_path):
    store = Store(tmp_path)
    store.get_shared("network", MadeFrom(), lambda: ({}, {"age": 1}))
    assert store.load("network", MadeFrom()).metadata == {"age": 1}
