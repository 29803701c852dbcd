"""The benchmark of replay memories: points, what is left out, and what a resumed run may add."""

import pytest
from PIL import Image

from benchmarks.studies.class_incremental.arms import parsed_arm
from benchmarks.studies.memory.options import ARMS, MemoryOptions
from benchmarks.studies.memory.report import best, crossover, marker_of
from distill import InputError
from distill.files import read_json
from programs import in_this_process

TINY = [
    "--dataset", "digits", "--steps", "5", "--width", "4", "--frepo-steps", "2", "--frepo-pool-size", "2",
    "--train-steps", "3", "--train-warmup-steps", "1", "--herding-steps", "3", "--networks", "2",
]  # fmt: skip
POINTS = ["--arms", "random/uint8", "frepo/uint8", "--memory-bytes", "40", "200", "1000", "--most-images", "5"]


@pytest.fixture(scope="module")
def command():
    """The program in this process: its arguments after `TINY` to its exit code."""
    yield from in_this_process(MemoryOptions, TINY)


@pytest.fixture(scope="module")
def done(command, tmp_path_factory):
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("memory") / "run"
    assert command("--output", folder, *POINTS) == 0
    return folder


def test_every_point_fits_its_bytes_and_points_left_out_say_why(done):
    points = read_json(done / "results.json")["points"]
    assert len(points) == 6
    left_out = {(point["arm"], point["size"]): point["left_out"] for point in points if "left_out" in point}
    assert left_out == {
        ("random uint8", 40): "no image fits",
        ("frepo uint8", 40): "no image fits",
        ("frepo uint8", 1000): "13 images per class fit, more than --most-images 5",
    }
    for point in points:
        if "left_out" not in point:
            assert 0 < point["bytes_per_class"] <= point["size"]
            assert len(point["accuracy"]) == 2
            assert point["images_per_class"] >= 2
    table = (done / "table.txt").read_text()
    assert "left out: frepo uint8 at 1000 bytes: 13 images per class fit" in table
    assert "at 200 bytes per class: frepo uint8" in table
    with Image.open(done / "memory.png") as picture:
        picture.verify()


def test_a_run_with_fewer_classes_at_once_is_resumed_with_arms_that_do_not_heed_it(command, tmp_path, capsys):
    options = ("--output", tmp_path / "run", "--memory-bytes", 200, "--networks", 1, "--classes-at-once", 1)
    assert command(*options, "--arms", "random/uint8") == 2
    assert "--classes-at-once has no effect: " in capsys.readouterr().err
    assert command(*options, "--arms", "frepo/uint8") == 0
    assert command(*options, "--arms", "random/uint8", "--resume") == 0


@pytest.mark.slow
def test_workers_learn_steps_side_by_side_and_their_seconds_count(command, done, tmp_path):
    assert command("--output", tmp_path / "run", *POINTS, "--jobs", 2) == 0
    alone, together = (read_json(folder / "results.json")["points"] for folder in (done, tmp_path / "run"))
    assert [(point["arm"], point["size"]) for point in together] == [(point["arm"], point["size"]) for point in alone]
    for own, other in zip(together, alone, strict=True):
        assert own.get("left_out") == other.get("left_out")
        if "left_out" not in own:
            assert own["accuracy"] == pytest.approx(other["accuracy"], abs=0.02)
            assert own["images"] == other["images"]
    distilling = {point["arm"]: point["seconds"]["distil"] for point in together if point["size"] == 200}
    assert distilling["frepo uint8"] > distilling["random uint8"]
    assert not list((tmp_path / "run").rglob("ahead*"))


def test_resumed_run_may_have_other_arms_and_sizes_and_keeps_the_points_it_has(command, done, capsys):
    before = read_json(done / "results.json")["points"]
    kept = {path: path.stat().st_mtime_ns for path in done.rglob("point.json")}
    assert command("--output", done, "--resume", "--arms", "random/uint8", "herding/uint8", "--memory-bytes", 200) == 0
    after = read_json(done / "results.json")["points"]
    assert [point["arm"] for point in after] == ["random uint8", "herding uint8"]
    assert after[0] in before
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert command("--output", done, "--resume", *POINTS, "--train-steps", 4) == 2
    assert "holds a run with other options (train.train_steps was 3, now 4)" in capsys.readouterr().err


def test_herding_trains_its_network_once_for_all_sizes(command, tmp_path):
    assert command("--output", tmp_path / "run", "--arms", "herding/uint8", "--memory-bytes", 200, 400) == 0
    assert len(list((tmp_path / "run" / "networks").iterdir())) == 5  # one for each step of the stream


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ("frepo", "--arms names 'frepo'; expected METHOD/CODEC"),
        ("fripo/webp:50", "methods: frepo, random"),
        ("frepo/web:50", "unknown codec 'web:50'"),
        ("frepo/uint8/float8", "float8"),
        ("frepo/uint8/hard/uint8", "--arms names 'frepo/uint8/hard/uint8'; expected METHOD/CODEC"),
        ("random/webp:50/through", "random learns no images; leave out /through"),
    ],
)
def test_arms_that_do_not_exist_are_refused(command, tmp_path, capsys, arms, said):
    assert command("--output", tmp_path / "run", "--arms", arms) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--memory-bytes", 0), "--memory-bytes is 0; expected at least 1"),
        (("--most-images", 0), "--most-images is 0; expected at least 1"),
        (
            ("--arms", "random/uint8", "frepo/uint8", "--memory-bytes", 40),
            "nothing to measure (random uint8: no image fits; frepo uint8: no image fits); raise --memory-bytes",
        ),
    ],
)
def test_sizes_that_make_no_sense_are_refused(command, tmp_path, capsys, options, said):
    assert command("--output", tmp_path / "run", *options) == 2
    assert said in capsys.readouterr().err


def test_default_arms_exist_and_labels_follow_from_the_method():
    arms = {text: parsed_arm(text) for text in ARMS}
    assert arms["random/webp:50"].labels == "hard"
    assert arms["frepo/webp:50"].labels == "uint8"
    assert parsed_arm("frepo/webp:50/float16").name == "frepo webp:50 labels float16"
    with pytest.raises(InputError, match="expected METHOD/CODEC"):
        parsed_arm("frepo/webp:50/hard/through/more")


def test_codecs_that_default_arms_share_a_colour_for_have_markers_of_their_own():
    arms = [parsed_arm(text) for text in ARMS]
    for method in {arm.method for arm in arms}:
        own = {arm.codec for arm in arms if arm.method == method}
        assert len(set(map(marker_of, own))) == len(own)
    assert marker_of("mosaic:webp:25") == marker_of("mosaic:webp:50:scaled") != marker_of("webp:25")
    assert marker_of("mosaic:avif:30") != marker_of("mosaic:webp:30")
    assert marker_of("lowres:2+mosaic:webp:50") == "^"


def point(mean, std=0.01):
    return {"mean": mean, "std": std, "n": 2}


def test_crossover_is_where_the_leads_change_sign():
    summary = {
        "frepo webp:50": {1000: point(0.30), 10_000: point(0.32)},
        "random webp:50": {1000: point(0.20), 10_000: point(0.42)},
        "herding webp:50": {1000: point(0.25), 10_000: point(0.40)},
    }
    assert best(summary, learned=False)[1000]["arm"] == "herding webp:50"
    text = crossover(summary)
    assert "learned images lead by 5.0 points" in text
    assert "real images lead by 10.0 points" in text
    assert "crossover: about 2154 bytes per class" in text  # a third of the way from 10^3 to 10^4
    summary["frepo webp:50"][10_000] = point(0.43, 0.02)
    text = crossover(summary)
    assert "learned images lead by 1.0 points, no more than the spread" in text
    assert "crossover: none between these sizes" in text


def test_arms_that_differ_have_names_of_their_own():
    texts = ("random/float32", "random/float32/hard", "random/float32/uint8", "random/uint8", "random/uint8/float16")
    assert len({parsed_arm(text).name for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (["random/uint8", "random/uint8/hard"], "--arms random/uint8 and random/uint8/hard are the same"),
        (["private-frepo/uint8"], "private-frepo takes no memory in bytes"),
    ],
)
def test_same_and_private_arms_are_refused_before_anything_is_written(command, tmp_path, capsys, arms, said):
    assert command("--output", tmp_path / "run", "--arms", *arms) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
