"""Audits of distilled sets: the distances, what is found where something leaks, nothing where nothing does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import binom
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge

from audits import HOSTILE, Page, read
from privacy import InputError, SetReport, audit_set
from privacy.sets.embeddings import EMBEDDINGS, centred, pixels, structure
from privacy.sets.images import LabelledImages
from privacy.sets.nearest import ROWS, nearest, nearest_of_class

STARTED = "members that started the set"
CLASSES = 3


def drawn(n: int, random: np.random.Generator, side: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Random images with random classes, each class at least once."""
    return random.random((n, side, side)), np.r_[np.arange(CLASSES), random.integers(0, CLASSES, n - CLASSES)]


def digits(rows: slice) -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[rows]
    return images[order].reshape(-1, 8, 8) / 16, labels[order]


def drifted(images: np.ndarray, labels: np.ndarray, *, kept: float, seed: int) -> tuple[np.ndarray, np.ndarray, list]:
    """Three images of each class, drawn towards the class mean: a share `kept` is left of where they started."""
    random = np.random.default_rng(seed)
    chosen = np.concatenate([random.choice(np.flatnonzero(labels == c), 3, replace=False) for c in range(10)])
    means = np.stack([images[labels == c].mean(0) for c in range(10)])[labels[chosen]]
    noise = random.normal(0, 0.1, images[chosen].shape)
    return kept * images[chosen] + (1 - kept) * means + noise, labels[chosen], chosen.tolist()


# -- distances ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(EMBEDDINGS))
@given(n=st.integers(1, 40), k=st.integers(CLASSES, 12), seed=st.integers(0, 99))
def test_the_nearest_are_those_of_all_distances(name, n, k, seed):
    random = np.random.default_rng(seed)
    records, images = (LabelledImages(x[..., None].astype(np.float32), y)
                       for x, y in (drawn(n + CLASSES, random), drawn(k, random)))  # fmt: skip
    (of_any,), (of_class,) = (measure(records, [images], EMBEDDINGS[name]) for measure in (nearest, nearest_of_class))
    distances = cdist(EMBEDDINGS[name](records.images), EMBEDDINGS[name](images.images))
    np.testing.assert_allclose(of_any.distance, distances.min(1), rtol=1e-9)
    assert (of_any.position == distances.argmin(1)).all()
    distances[records.labels[:, None] != images.labels] = np.inf
    np.testing.assert_allclose(of_class.distance, distances.min(1), rtol=1e-9)
    assert (images.labels[of_class.position] == records.labels).all()


def test_more_records_than_are_compared_at_once():
    random = np.random.default_rng(0)
    images, labels = drawn(ROWS + 7, random, side=4)
    records = LabelledImages(images[..., None].astype(np.float32), labels)
    (of_any,) = nearest(records, [records], pixels)
    assert (of_any.position == np.arange(ROWS + 7)).all()
    assert of_any.distance.max() == 0


def test_embeddings_have_closed_forms():
    first, second = np.random.default_rng(0).random((2, 9, 7, 3))
    both = np.stack([first, second])
    assert np.linalg.norm(np.subtract(*pixels(both))) == pytest.approx(np.sqrt(((first - second) ** 2).mean()))
    r = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert np.linalg.norm(np.subtract(*centred(both))) == pytest.approx(np.sqrt(2 - 2 * r))
    np.testing.assert_allclose(np.linalg.norm(structure(both), axis=1), 1)


@pytest.mark.parametrize("embedding", [centred, structure])
def test_brightness_and_contrast_are_not_seen(embedding):
    images = np.random.default_rng(0).random((4, 16, 16, 1))
    np.testing.assert_allclose(embedding(0.3 * images + 0.5), embedding(images), atol=1e-9)
    assert (embedding(np.full((2, 16, 16, 1), 0.7)) == 0).all()  # an image of one colour is like no other


def test_structure_sees_an_image_through_a_shadow():
    """A gradient over the image changes pixels and correlation more than it changes edges."""
    images = load_digits().images[:50, ..., None] / 16
    shaded = images * 0.5 + np.linspace(0, 1.5, 8)[:, None, None]
    right = [(cdist(e(shaded), e(images)).argmin(1) == np.arange(50)).mean() for e in (pixels, centred, structure)]
    assert right[2] > max(right[:2])


# -- what is found -----------------------------------------------------------------------------------------------


def leaky(kept: float = 0.35) -> dict:
    members, non_members = digits(slice(0, 400)), digits(slice(400, 1000))
    images, labels, started = drifted(*members, kept=kept, seed=0)
    references = [drifted(*digits(slice(1000, 1400)), kept=kept, seed=seed)[:2] for seed in range(1, 5)]
    return {
        "images": images, "labels": labels, "members": members, "non_members": non_members,
        "public": digits(slice(1400, 1797)), "references": references, "started": started,
    }  # fmt: skip


def plain() -> dict:
    """Without what calibrates, and without slices."""
    return {**leaky(), "public": None, "references": None, "started": None}


def test_members_that_started_the_set_are_found_and_named():
    given = leaky(kept=0.8)
    report = audit_set(**given)
    assert report.verdict.exposes_a_few
    assert report.result("nearest-of-class", STARTED).auc.value > 0.99
    assert "other members" in report.slices
    assert abs(report.result("nearest-of-class", "other members").auc.value - 0.5) < 0.08
    pairs = report.worst("nearest-of-class")
    assert len(pairs) == 10
    for pair in pairs:
        assert pair.position == given["started"][pair.nearest]
        assert pair.label == given["members"][1][pair.position]
        gap = given["members"][0][pair.position] - given["images"][pair.nearest]
        assert pair.distance == pytest.approx(np.sqrt((gap**2).mean()), rel=1e-5)
        assert pair.false_positives == 0


def test_references_find_what_distance_alone_does_not():
    report = audit_set(**leaky())
    auc = {name: report.result(name, STARTED).auc.value for name in report.scores}
    for name in ("nearest", "nearest-of-class", "correlation", "perceptual"):
        assert auc[f"{name}-references"] > auc[name] + 0.05
        assert auc[f"{name}-references"] > 0.9


def test_started_members_do_not_count_in_the_answers_by_themselves():
    given = {**leaky(), "public": None, "references": None}
    with_slices, without = audit_set(**given), audit_set(**{**given, "started": None})
    assert with_slices.answers() == without.answers()
    assert list(without.slices) == ["all records"]
    assert with_slices.result("nearest", STARTED).p is None
    masked = audit_set(**{**given, "started": np.isin(np.arange(400), given["started"])})
    assert (masked.slices[STARTED] == with_slices.slices[STARTED]).all()


@pytest.mark.parametrize("runs", [15, pytest.param(400, marks=pytest.mark.slow)])
def test_noise_gives_no_false_alarms(runs):
    alarms = few = 0
    for seed in range(runs):
        random = np.random.default_rng(seed)
        weights = random.normal(size=(16, 20))
        report = audit_set(
            *drawn(6, random, 4), members=drawn(40, random, 4), non_members=drawn(40, random, 4),
            public=drawn(30, random, 4), references=[drawn(6, random, 4), drawn(6, random, 4)],
            features=lambda x, w=weights: np.maximum(x.reshape(len(x), -1) @ w, 0),
        )  # fmt: skip
        assert len(report.scores) == 14
        alarms += report.verdict.leaks
        few += bool(report.verdict.exposes_a_few)
    print(f"{alarms} of {runs} audits report a leak, {few} an exposed few")
    assert alarms <= binom.isf(1e-3, runs, 0.05)


def test_exact_copies_have_the_highest_scores_of_every_attack():
    random = np.random.default_rng(0)
    members, public = drawn(50, random), drawn(60, random)
    report = audit_set(
        members[0][:9], members[1][:9], members=members, non_members=drawn(60, random), public=public,
        references=[drawn(9, random)],
    )  # fmt: skip
    for scores in report.scores.values():
        assert np.isfinite(scores.values).all()
        assert set(np.argsort(-scores.members)[:9].tolist()) == set(range(9))


# -- kernel ridge regression -------------------------------------------------------------------------------------


def network(x: np.ndarray, seed: int = 0) -> np.ndarray:
    weights = np.random.default_rng(seed).normal(size=(x[0].size, 60))
    return np.maximum(x.reshape(len(x), -1) @ weights + 1, 0)


def test_ridge_loss_is_that_of_scikit_learn():
    given = plain()
    report = audit_set(**given, features=network)
    of_set = network(np.float32(given["images"]))
    alpha = 1e-6 * np.trace(of_set @ of_set.T) / len(of_set)
    model = KernelRidge(alpha=alpha).fit(of_set, np.eye(10)[given["labels"]] - 0.1)
    for side in ("members", "non_members"):
        predicted = model.predict(network(np.float32(given[side][0])))
        losses = 0.5 * ((predicted - np.eye(10)[given[side][1]] + 0.1) ** 2).sum(1)
        np.testing.assert_allclose(getattr(report.scores["krr"], side), -losses, rtol=1e-4)


def test_soft_labels_are_what_ridge_regression_is_fitted_to():
    given = plain()
    centred_labels = np.eye(10)[given["labels"]] - 0.1
    hard = audit_set(**given, features=network)
    for soft in (centred_labels, np.eye(10)[given["labels"]]):  # around 0, and probabilities
        report = audit_set(**{**given, "labels": soft}, features=network)
        assert (report.scores["nearest"].values == hard.scores["nearest"].values).all()
        assert report.result("krr").auc.value == pytest.approx(hard.result("krr").auc.value, abs=0.05)
    exact = audit_set(**{**given, "labels": centred_labels}, features=network)
    np.testing.assert_allclose(exact.scores["krr"].values, hard.scores["krr"].values, rtol=1e-6)


def test_features_may_be_computed_beforehand():
    given = {**plain(), "references": leaky()["references"]}
    arrays = {side: network(np.float32(given[side][0])) for side in ("members", "non_members")}
    arrays |= {"images": network(np.float32(given["images"])),
               "references": [network(np.float32(x)) for x, _ in given["references"]]}  # fmt: skip
    called, read_in = audit_set(**given, features=[network]), audit_set(**given, features=arrays)
    for name in ("krr", "krr-references"):
        np.testing.assert_allclose(called.scores[name].values, read_in.scores[name].values, rtol=1e-6)
    assert called.about["networks"] == 1


# -- layouts -----------------------------------------------------------------------------------------------------


def test_integers_and_a_channel_axis_are_the_same_images():
    given = plain()
    sides = {key: (np.round(255 * np.clip(given[key][0], 0, 1)), given[key][1]) for key in ("members", "non_members")}
    images = np.round(255 * np.clip(given["images"], 0, 1))
    whole = audit_set(images.astype(np.uint8), given["labels"],
                      **{key: (x.astype(np.uint8), y) for key, (x, y) in sides.items()})  # fmt: skip
    floats = audit_set(images[..., None] / 255, given["labels"],
                       **{key: (x / 255, y) for key, (x, y) in sides.items()})  # fmt: skip
    for name in whole.scores:
        np.testing.assert_allclose(whole.scores[name].values, floats.scores[name].values, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("channels", [2, 3])
def test_images_are_drawn_on_any_scale(channels, tmp_path):
    random = np.random.default_rng(0)

    def side(n):
        return random.normal(0, 5, (n, 6, 5, channels)), np.arange(n) % 2

    report = audit_set(*side(4), members=side(30), non_members=side(30))
    picture = report.pictures[report.worst("nearest")[0].position]
    assert picture.dtype == np.uint8
    assert picture.shape == ((6, 5, 3) if channels == 3 else (6, 5))
    assert picture.std() > 20
    assert report.plot_pairs(tmp_path / "pairs.png").stat().st_size > 1000


# -- the report --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report() -> SetReport:
    return audit_set(**leaky(kept=0.8), features=network, info={"method": HOSTILE})


def test_report_says_what_was_tried(report):
    text = str(report)
    assert text.startswith("a set of 30 images; 400 members, 600 non-members, 10 classes; the attacker has 397 public")
    assert "397 public images, 4 reference sets, features of 1 network;" in text
    for wanted in (*report.answers(), *report.scores, f"{STARTED}: 30 members, 600 non-members", "other members"):
        assert wanted in text


def test_report_is_saved_and_read_back(report, tmp_path):
    loaded = SetReport.load(report.save(tmp_path / "set.npz"))
    assert str(loaded) == str(report)
    assert loaded.to_dict() == report.to_dict()
    assert loaded.pairs == report.pairs
    for name in ("pictures", "set_pictures"):
        kept, again = getattr(report, name), getattr(loaded, name)
        assert {key: value.tolist() for key, value in kept.items()} == {k: v.tolist() for k, v in again.items()}
    written = read(report.to_json(tmp_path / "set.json"))
    assert written["leaks"]["a_few"]
    assert len(written["pairs"]["nearest"]) == 10
    damaged = tmp_path / "other.npz"
    np.savez(damaged, report=np.array("{}"))
    with pytest.raises(InputError, match="does not hold the report of an audited set"):
        SetReport.load(damaged)


def test_page_is_whole_and_self_contained(report, tmp_path):
    page = Page(report.to_html(tmp_path / "set.html", title="Digits"))
    page.assert_self_contained()
    assert [tag for tag, _ in page.tags].count("img") == 3  # pairs, two panels of ROC curves
    assert page.source.count("<table") == len(report.slices) + 2  # pairs, the set
    for wanted in ("Digits", "Worst pairs", HOSTILE, "Members that started the set", *report.titles.values(), "numpy"):
        assert wanted in page.text
    assert "trained on?" not in page.text
    for pair in report.worst():
        assert f"\n{pair.position}\n{pair.label}\n{pair.nearest}\n{pair.distance:.4f}\n" in page.text


def test_roc_has_one_curve_for_each_way_to_measure(report, tmp_path):
    drawn_ones = report.best_of_each_kind().scores
    assert len(drawn_ones) == 5
    assert {name.removesuffix("-public").removesuffix("-references") for name in drawn_ones} == {
        "nearest-of-class", "nearest", "correlation", "perceptual", "krr",
    }  # fmt: skip
    assert report.plot_roc(tmp_path / "roc.png", slice=STARTED).stat().st_size > 1000


# -- errors ------------------------------------------------------------------------------------------------------


def changed(**changes) -> dict:
    random = np.random.default_rng(0)
    given = {"images": drawn(6, random)[0], "labels": np.arange(6) % CLASSES, "members": drawn(20, random),
             "non_members": drawn(20, random)}  # fmt: skip
    return {**given, **changes}


IMAGES = np.random.default_rng(1).random((20, 8, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES[0, 0]}, r"the set: images have shape \(8,\); expected \(n, H, W\)"),
        ({"images": np.zeros((6, 1, 8, 8))}, r"images have shape \(6, 1, 8, 8\).*give .permute\(0, 2, 3, 1\)"),
        ({"images": np.full((6, 8, 8), 300)}, "the set: images are integers from 300 to 300; expected 0 to 255"),
        ({"images": np.full((6, 8, 8), np.nan)}, "the set: images contain NaN or infinite values in 6 of 6 records"),
        ({"labels": np.zeros(6)}, r"the set: labels are float64 of shape \(6,\); expected \(6,\), one integer"),
        ({"members": IMAGES}, r"members must be \(images, labels\), not ndarray"),
        ({"members": (IMAGES[:, :7], np.zeros(20, int))}, r"members: images have shape \(7, 8, 1\), those of the set "
         r"\(8, 8, 1\); expected images of one shape"),
        ({"members": (255 * IMAGES, np.zeros(20, int))}, "members: images range from .* to 25.*expected one scale"),
        ({"members": (IMAGES, np.full(20, 7))}, "members: labels contain 7, of which the set has no image"),
        ({"public": (IMAGES, np.zeros(20, int))}, "members: labels contain 1, 2, of which public has no image"),
        ({"references": [(IMAGES, np.zeros(20, int))]}, "of which reference 0 has no image"),
        ({"started": [25]}, "started has positions from 25 to 25; expected 0 to 19"),
        ({"features": "resnet"}, r"features is 'resnet'; expected a callable"),
        ({"features": [3]}, "features of network 0 is 3; expected a callable or a dictionary of arrays"),
        ({"features": {"images": IMAGES}}, "features of network 0 lack members, non_members"),
        ({"features": lambda x: x[:2].reshape(2, -1)}, r"features of images under network 0 have shape \(2, 64\); "
         r"expected \(6, 64\), a row for each image"),
        ({"features": lambda x: x}, r"features of images under network 0 have shape \(6, 8, 8, 1\); expected \(n, d\)"),
        ({"info": 3}, "info is 3; expected {name: value}"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        audit_set(**changed(**changes))


def test_attacks_that_were_not_made_are_refused(report):
    with pytest.raises(InputError, match="the report has no attack 'lira'"):
        report.worst("lira")
