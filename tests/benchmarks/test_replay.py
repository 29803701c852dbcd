"""The benchmark of replay in Avalanche's own strategies: streams, bytes, soft labels, and what is resumed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics
from avalanche.training import Naive
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from avalanche.training.regularization import ACECriterion
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from benchmarks.studies.replay.logits import LogitMemory, logit_bytes, logits_of
from benchmarks.studies.replay.options import ReplayOptions
from benchmarks.studies.replay.replayed import Replayed, read_buffer
from benchmarks.studies.replay.strategies import SoftACE, StopAfter, online_strategy
from benchmarks.studies.replay.study import mean_loss
from continual import DistilledBuffer, class_incremental, experience_accuracies
from distill import FRePo, Random, load_images
from distill.files import read_json
from distill.preprocess import default_preprocessing
from distill.sets.synthetic import initial_labels
from distill.training.recipe import TrainingRecipe
from programs import in_this_process

TINY = [
    "--steps", "2", "--width", "4", "--frepo-steps", "2", "--frepo-pool-size", "2",
    "--train-steps", "3", "--train-warmup-steps", "1", "--herding-steps", "3", "--networks", "2", "--updates", "3",
]  # fmt: skip
ARMS = ["--arms", "none", "random/uint8", "frepo/uint8"]
RECIPE = TrainingRecipe(augment=False, loss="soft-cross-entropy", network="conv", width=4, norm="instance")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The program in this process on some digits: its arguments after `TINY` to its exit code."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * 15).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, x_train=images[:300], y_train=labels[:300], x_test=images[300:400], y_test=labels[300:400])
    yield from in_this_process(ReplayOptions, [*TINY, "--dataset", str(path)])


@pytest.fixture(scope="module")
def done(command, tmp_path_factory):
    """The folder of a run of all strategies."""
    folder = tmp_path_factory.mktemp("replay") / "run"
    assert command("--output", folder, *ARMS) == 0
    return folder


@pytest.fixture(scope="module")
def digits():
    """Training and test images."""
    raw = load_images("digits").subset(range(200))
    preprocessing = default_preprocessing(raw)
    return preprocessing.apply(raw), preprocessing.apply(load_images("digits", split="test").subset(range(100)))


# -- the program -------------------------------------------------------------------------------------------------------


def test_every_strategy_has_every_memory_within_its_bytes(done):
    summary = read_json(done / "results.json")["summary"]
    memories = {strategy: list(arms) for strategy, arms in summary.items()}
    both = ["random uint8", "frepo uint8"]
    assert memories == {"naive": ["none", *both], "er-ace": both, "der": both, "gdumb": both}
    assert read_json(done / "options.json")["memory_bytes"] == 512  # 8 images of 8 x 8 pixels
    for strategy, arms in summary.items():
        for arm, point in arms.items():
            assert point["accuracy"]["n"] == point["forgetting"]["n"] == 2
            assert 0 <= point["accuracy"]["mean"] <= 1
            if arm != "none":
                assert 0.8 * 512 < point["bytes_per_class"] <= 512
                same = summary["naive"][arm]["images_per_class"]
                assert (point["images_per_class"] < same) if strategy == "der" else (point["images_per_class"] == same)
    table = (done / "table.txt").read_text()
    assert any(line.split()[:4] == ["naive", "none", "0.0", "0"] for line in table.splitlines())
    assert "gdumb: frepo uint8 - random uint8 (best learned, best real): " in table
    with Image.open(done / "replay.png") as picture:
        picture.verify()


def test_forgetting_and_accuracy_of_a_record_follow_from_its_steps(done):
    for record in read_json(done / "results.json")["points"]:
        learned, at_end = record["accuracy_when_learned"], record["accuracy_at_end"]
        assert len(learned) == len(at_end) == 2
        assert learned[-1] == at_end[-1]
        assert record["forgetting"] == pytest.approx(learned[0] - at_end[0])
        assert min(at_end) <= record["accuracy"] <= max(at_end)


def test_one_distillation_serves_all_strategies_and_networks_but_der(done):
    sets = sorted(str(path.relative_to(done)) for path in done.rglob("experience-*.safetensors"))
    folders = {path.rpartition("/")[0] for path in sets if "frepo" in path}
    assert folders == {f"memories/{kind}/frepo_uint8/order-0" for kind in ("images", "with-logits")}
    assert len([path for path in sets if "frepo" in path]) == 4  # two steps each


def test_resumed_run_may_have_other_arms_and_strategies_and_keeps_what_it_has(command, done, capsys):
    before = read_json(done / "results.json")["points"]
    kept = {path: path.stat().st_mtime_ns for path in done.rglob("network-*.json")}
    assert len(kept) == 18
    both = ("--strategies", "gdumb", "--arms", "random/uint8", "herding/uint8")
    assert command("--output", done, "--resume", *both) == 0
    after = read_json(done / "results.json")["points"]
    assert [(point["strategy"], point["arm"]) for point in after[::2]] == [
        ("gdumb", "random uint8"), ("gdumb", "herding uint8")
    ]  # fmt: skip
    assert after[0] in before
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert command("--output", done, "--resume", *ARMS, "--updates", 4) == 2
    assert "holds a run with other options (updates was 3, now 4)" in capsys.readouterr().err


def test_memory_of_other_options_is_refused(command, done, capsys):
    assert command("--output", done, "--resume", "--arms", "frepo/uint8", "--frepo-steps", 3) == 2
    assert "was made with other options of frepo (steps was 2, now 3)" in capsys.readouterr().err


def test_arms_that_do_not_fit_are_left_out_and_named(command, tmp_path):
    few = ("--memory-bytes", 75, "--strategies", "naive", "der", "--arms", "random/uint8", "--networks", 1)
    assert command("--output", tmp_path / "run", *few) == 0
    table = (tmp_path / "run" / "table.txt").read_text()
    assert "left out: der, random uint8: no image fits" in table
    assert any(line.split()[:4] == ["naive", "random", "uint8", "1.0"] for line in table.splitlines())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--memory-bytes", 0), "--memory-bytes is 0; expected at least 1"),
        (("--updates", 0), "--updates is 0; expected at least 1"),
        (("--learning-rate", 0), "--learning-rate is 0.0; expected a number above 0"),
        (("--alpha", -1), "--alpha is -1.0; expected 0 or more"),
        (("--arms", "frepo"), "--arms names 'frepo'; expected METHOD/CODEC"),
        (("--strategies", "ewc"), "ewc"),
    ],
)
def test_options_that_make_no_sense_are_refused(command, tmp_path, capsys, options, said):
    assert command("--output", tmp_path / "run", *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# -- its parts ---------------------------------------------------------------------------------------------------------


def test_batches_of_a_small_memory_are_full_and_balanced():
    columns = [torch.zeros(3, 1, 4, 4), torch.arange(3)]
    batches = Replayed(columns, 8, RECIPE, torch.Generator().manual_seed(0))
    counts = torch.bincount(torch.cat([next(batches)[1] for _ in range(3)]))
    assert counts.tolist() == [8, 8, 8]


def test_asymmetric_cross_entropy_on_hard_labels_is_that_of_avalanche():
    generator = torch.Generator().manual_seed(0)
    logits, replayed = torch.randn(6, 5, generator=generator), torch.randn(4, 5, generator=generator)
    ids, replayed_ids = torch.tensor([1, 3, 1, 3, 3, 1]), torch.tensor([0, 1, 2, 3])
    hard = TrainingRecipe(loss="soft-cross-entropy", temperature=1e-3)
    found = SoftACE(hard)(logits, ids, replayed, F.one_hot(replayed_ids, 5).float())
    assert found == pytest.approx(float(ACECriterion()(logits, ids, replayed, replayed_ids)), abs=1e-5)


def memory_of(images, **options):
    train = images[0]
    return DistilledBuffer(
        Random(), images_per_class=3, codec="uint8", labels="hard", classes=train.classes,
        preprocessing=train.preprocessing, **options,
    )  # fmt: skip


def test_logits_lie_in_eight_bits_in_the_order_of_the_images(digits):
    memory, model = LogitMemory(memory_of(digits), 3), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    strategy = SimpleNamespace(model=model, device="cpu")
    seen = []
    for experience in class_incremental(*digits, steps=5).train_stream[:2]:
        with torch.no_grad():
            model[1].weight += 0.1  # an image keeps the logits of its own step
        memory.post_adapt(strategy, experience)
        images = read_buffer(memory.buffer, 10, "cpu")[0]
        seen.append(logits_of(model, images[len(torch.cat(seen)) if seen else 0 :]))
    exact = torch.cat(seen)
    steps = (exact.amax(1) - exact.amin(1)) / 255
    assert len(exact) == 12
    assert ((memory.logits() - exact).abs().amax(1) < 0.6 * steps + 0.01).all()
    assert memory.nbytes == memory.policy.nbytes + 12 * logit_bytes(10)


def test_a_memory_with_logits_finds_what_was_filled_step_by_step(digits, tmp_path):
    train, most = digits[0], 17

    def policy():
        return DistilledBuffer(
            Random(), memory_bytes=6350, codec="jpeg:50", labels="hard", classes=train.classes,
            preprocessing=train.preprocessing, store=tmp_path,
        )  # fmt: skip

    experiences, alone = class_incremental(*digits, steps=5).train_stream, []
    for experience in experiences:
        step = policy()
        step.resize(None, most * len(experience.classes_in_this_experience))
        step.post_adapt(None, experience)
        alone.append(len(step.buffer))
    assert min(alone) < 2 * most  # bytes leave places free, which later steps must not take
    memory = LogitMemory(policy(), most)
    strategy = SimpleNamespace(model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), device="cpu")
    for k, experience in enumerate(experiences):
        memory.post_adapt(strategy, experience)
        assert len(memory.buffer) == sum(alone[: k + 1])


class Seen(SupervisedPlugin):
    """Keeps what the strategy has at its last update."""

    def before_backward(self, strategy, **kwargs):
        self.loss = float(strategy.loss.detach())
        self.batch, self.output = [part.clone() for part in strategy.mbatch], strategy.mb_output.detach().clone()
        self.updates = getattr(self, "updates", 0) + 1


def online(name, digits, memory, **changes):
    options = ReplayOptions(updates=7, batch_size=8, replay_batch_size=6, **changes)
    generator = torch.Generator().manual_seed(0)
    model = RECIPE.build(image_shape=(1, 8, 8), num_classes=10, generator=generator)
    return online_strategy(
        name, options, memory, recipe=RECIPE, model=model, num_classes=10, generator=generator
    )


@pytest.mark.filterwarnings("ignore:Call to deprecated function")
@pytest.mark.parametrize("name", ["naive", "er-ace", "der"])
def test_number_of_updates_is_the_same_with_every_memory(digits, name):
    for most in (2, 100):
        memory = memory_of(digits, max_size=most * 10)
        seen = Seen()
        strategy = online(name, digits, LogitMemory(memory, most) if name == "der" else memory)
        strategy.plugins.append(seen)
        for k, experience in enumerate(class_incremental(*digits, steps=5).train_stream[:2]):
            strategy.train(experience, eval_streams=[])
            assert seen.updates == 7 * (k + 1)


def test_er_ace_replays_the_labels_that_distilled_images_learned(digits):
    train = digits[0]
    memory = DistilledBuffer(FRePo(steps=2, width=4, pool_size=2), images_per_class=2, classes=train.classes)
    strategy, seen = online("er-ace", digits, memory), Seen()
    strategy.plugins.append(seen)
    for experience in class_incremental(*digits, steps=5).train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    images, ids, soft_labels, _ = read_buffer(memory.buffer, 10, "cpu")
    rows = [int((images == image).flatten(1).all(1).nonzero()[0]) for image in strategy.mb_buffer_x]
    assert len(rows) == 6
    assert torch.equal(strategy.mb_buffer_y, soft_labels[rows])
    assert not torch.allclose(strategy.mb_buffer_y, initial_labels(ids[rows], 10))
    classes = torch.unique(seen.batch[1])
    current = initial_labels(seen.batch[1], 10)[:, classes] / RECIPE.temperature
    wanted = (
        F.cross_entropy(seen.output[:, classes], F.softmax(current, dim=1))
        + F.cross_entropy(strategy.mb_buffer_out, F.softmax(soft_labels[rows] / RECIPE.temperature, dim=1))
    ) / 2
    assert len(classes) == 2
    assert seen.loss == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_der_matches_logits_and_soft_labels_of_replayed_images(digits):
    strategy, seen = online("der", digits, LogitMemory(memory_of(digits), 3), alpha=0.7, beta=0.4), Seen()
    strategy.plugins.append(seen)
    stream = class_incremental(*digits, steps=5).train_stream
    strategy.train(stream[0], eval_streams=[])
    logits, images = strategy.memory.logits(), read_buffer(strategy.memory.buffer, 10, "cpu")[0]
    strategy.train(stream[1], eval_streams=[])
    replayed, probabilities = seen.batch[0][:6], F.softmax(seen.batch[2] / RECIPE.temperature, dim=1)
    assert torch.allclose(seen.batch[1], probabilities)
    rows = [int((images == image).flatten(1).all(1).nonzero()[0]) for image in replayed]  # not augmented
    wanted = (
        F.cross_entropy(seen.output[6:], probabilities[6:])
        + 0.7 * F.mse_loss(seen.output[:6], logits[rows])
        + 0.4 * F.cross_entropy(seen.output[:6], probabilities[:6])
    )
    assert seen.loss == pytest.approx(float(wanted), rel=1e-5)


def test_forgetting_is_that_of_avalanche(digits):
    stream = class_incremental(*digits, steps=5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    evaluator = EvaluationPlugin(
        accuracy_metrics(experience=True, stream=True), forgetting_metrics(stream=True), loggers=[]
    )
    torch.manual_seed(0)
    strategy = Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), criterion=nn.CrossEntropyLoss(),
        train_mb_size=10, train_epochs=5, eval_mb_size=100, evaluator=evaluator, plugins=[StopAfter(20)],
    )  # fmt: skip
    learned = []
    for k, experience in enumerate(stream.train_stream):
        strategy.train(experience, eval_streams=[])
        _, at_end = experience_accuracies(strategy, stream.test_stream)
        learned.append(at_end[k])
    stock = next(value for name, value in evaluator.get_last_metrics().items() if "StreamForgetting" in name)
    assert stock > 0.1
    assert mean_loss(learned, at_end) == pytest.approx(stock)
