"""The comparison with Avalanche's GDumb: as many updates on both sides, and what is refused."""

import pytest
import torch

from benchmarks.harness.program import run_program
from benchmarks.studies.class_incremental import stock_gdumb
from benchmarks.studies.class_incremental.options import StockOptions
from continual import class_incremental
from distill import TrainingRecipe, load_images
from distill.files import read_json
from distill.preprocess import default_preprocessing


@pytest.mark.parametrize(("per_class", "batch_size"), [(2, 128), (2, 7), (3, 10)])
def test_both_sides_are_trained_with_as_many_updates_at_the_last_step(monkeypatch, per_class, batch_size):
    images = load_images("digits")
    train = default_preprocessing(images).apply(images)
    benchmark = class_incremental(train, train.subset(range(20)), steps=2)
    recipe = TrainingRecipe(width=4, train_steps=11, batch_size=batch_size, learning_rate=1e-3)
    updates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *given: updates.append(1) or step(self, *given))
    stock_gdumb.ours(benchmark, train, recipe, per_class, seed=0)
    assert len(updates) == 11
    updates.clear()
    stock_gdumb.stock(benchmark, train, recipe, per_class, seed=0, rate=1e-3)
    one_epoch = -(-per_class * train.num_classes // batch_size)  # at the step before the last
    assert len(updates) == one_epoch + 11


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rates", "nan"], "--rates are nan; expected different numbers above 0"),
        (["--rates", "0.1", "0"], "--rates are 0.1 0; expected"),
        (["--seeds", "0", "0"], "--seeds are 0 0; "),
        (["--seeds", "99999999999999999999999"], "--seeds are 99999999999999999999999; "),
        (["--images-per-class", "0"], "--images-per-class is 0; "),
        (["--steps", "0"], "--steps is 0; "),
    ],
    ids=" ".join,
)
def test_numbers_that_make_no_sense_are_refused_before_any_work(tmp_path, capsys, words, message):
    output = tmp_path / "new" / "stock.json"
    assert run_program(StockOptions, ["--dataset", "digits", *words, "--output", str(output)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_the_figures_are_written_once_with_the_recipe(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)
    monkeypatch.setattr(stock_gdumb, "ours", lambda *_: 0.5)
    monkeypatch.setattr(stock_gdumb, "stock", lambda *_: 0.4)
    words = ["--dataset", "digits", "--steps", "2", "--rates", "1e-3", "--output", str(tmp_path / "stock.json")]
    assert run_program(StockOptions, words) == 0
    found = read_json(tmp_path / "stock.json")
    assert found["accuracy"] == {"ours": [0.5, 0.5], "Avalanche's, Adam 0.001": [0.4, 0.4]}
    assert (found["train"]["batch_size"], found["updates"]) == (128, 130)
    assert "given" not in found["options"]
    assert run_program(StockOptions, words) == 2
    assert "stock.json is there already" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run_program(StockOptions, [*words[:-1], str(tmp_path / "file" / "stock.json")]) == 2
    assert f"cannot write {tmp_path / 'file' / 'stock.json'}" in capsys.readouterr().err
