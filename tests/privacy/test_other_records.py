"""Records of models that are no classifiers of one label, and features of records beside what a model says."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit
from sklearn.metrics import log_loss

from privacy import AttackRecords, AuditReport, InputError, LiRA, QuantileRegression, References, auc_of, audit

GENERATOR = np.random.default_rng(0)
MULTI = (GENERATOR.normal(size=(30, 4)), GENERATOR.integers(2, size=(30, 4)))


def multi_label(**options) -> AttackRecords:
    """Of the members 20 logits lie on the right side."""
    outputs, labels = MULTI
    sure = np.where(labels == 1, 1, -1) * (2 + np.abs(outputs))
    return AttackRecords(members=(sure, labels), non_members=MULTI, outputs="multi-label", **options)


def losses_alone(n: int = 200, shift: float = 1.0, labels=(), **options) -> AttackRecords:
    """Squared errors, those of members smaller."""
    generator = np.random.default_rng(1)
    members, others = np.exp(generator.normal(size=n) - shift), np.exp(generator.normal(size=n))
    return AttackRecords(members=(members, *labels), non_members=(others, *labels), outputs="losses", **options)


# -- several labels ----------------------------------------------------------------------------------------------------


def test_the_loss_of_several_labels_is_the_sum_of_their_binary_cross_entropies():
    outputs, labels = MULTI
    expected = [log_loss(labels[i], expit(outputs[i]), normalize=False, labels=[0, 1]) for i in range(30)]
    np.testing.assert_allclose(multi_label().non_members.losses, expected, rtol=1e-12)


def test_several_labels_are_audited_by_class_and_by_correctness(tmp_path):
    report = audit(multi_label(), attacks=["threshold", "lr"], by_class=True, by_correctness=True, jobs=1, splits=1)
    outputs, labels = MULTI
    assert report.result("threshold").auc.value == 1
    assert report.result("threshold", "class 2").members == labels[:, 2].sum()
    right = ((outputs > 0) == labels).all(1).mean()
    assert "30 members (100.0 % answered right)" in str(report)
    assert report.about["non_member_accuracy"] == pytest.approx(right)
    report.to_html(tmp_path / "report.html")
    assert "several" in (tmp_path / "report.html").read_text()
    assert str(AuditReport.load(report.save(tmp_path / "report.npz"))) == str(report)


def test_several_labels_with_references():
    outputs, labels = MULTI
    generator = np.random.default_rng(2)
    references = References(**{f"{side}_outputs": outputs + 0.3 * generator.normal(size=(8, 30, 4))
                               for side in ("member", "non_member")})  # fmt: skip
    records = multi_label(references=references)
    losses = [np.logaddexp(0, np.where(labels == 1, -each, each)).sum(1) for each in references.non_member_outputs]
    np.testing.assert_allclose(records.signals.references[:, 30:], -np.log(np.expm1(losses)), rtol=1e-5)
    scores = LiRA().scores(records)
    assert auc_of(scores.members, scores.non_members) > 0.95


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ((MULTI[0][:, 0], MULTI[1]), r"outputs have shape \(30,\); expected \(n, C\), a logit for each label"),
        ((MULTI[0], MULTI[1][:, :2]), r"labels are int64 of shape \(30, 2\); expected zeros and ones of shape"),
        ((MULTI[0], MULTI[1] + 1), "labels are int64 .* expected zeros and ones"),
        ((MULTI[0] * np.nan, MULTI[1]), "outputs contain NaN"),
        ((*MULTI, np.zeros(3)), r"losses have shape \(3,\); expected \(30,\)"),
    ],
)
def test_several_labels_that_do_not_fit_are_refused(side, message):
    with pytest.raises(InputError, match=f"members {message}"):
        AttackRecords(members=side, non_members=side, outputs="multi-label")


# -- losses alone ------------------------------------------------------------------------------------------------------


def test_losses_alone_are_attacked(tmp_path):
    records = losses_alone()
    report = audit(records, attacks=["threshold", "lr"], jobs=1, splits=1)
    expected = stats.norm.cdf(1 / np.sqrt(2))
    for attack in ("threshold", "lr"):
        assert report.result(attack).auc.value == pytest.approx(expected, abs=0.06)
    assert "200 members, 200 non-members, 1 classes" in str(report)
    report.to_html(tmp_path / "report.html")
    assert str(AuditReport.load(report.save(tmp_path / "report.npz"))) == str(report)


def test_losses_alone_have_classes_where_labels_are_given():
    labels = np.arange(200) % 4
    report = audit(losses_alone(labels=[labels]), attacks="threshold", by_class=True, jobs=1)
    assert report.result("threshold", "class 3").members == 50


@pytest.mark.parametrize("offset", [0.0, -5.0], ids=["errors", "negative log-densities"])
def test_losses_alone_with_references(offset):
    """Each record has a loss of its own; members' are a tenth smaller."""
    generator = np.random.default_rng(3)
    hard = generator.normal(size=400)

    def drawn(models, shift=0.0):
        return np.exp(hard - shift * (np.arange(400) < 200) + 0.1 * generator.normal(size=(models, 400))) + offset

    target, own = drawn(1, 0.3)[0], drawn(8)
    records = AttackRecords(
        members=(target[:200],), non_members=(target[200:],), outputs="losses",
        references=References(member_outputs=own[:, :200], non_member_outputs=own[:, 200:]),
    )  # fmt: skip
    assert records.signals.are_odds == (offset == 0)
    report = audit(records, attacks=["threshold", "lira", "rmia", "calibrated", "bavaria"], jobs=1)
    assert report.result("threshold").auc.value < 0.65
    for attack in ("lira", "calibrated", "bavaria"):
        assert report.result(attack).auc.value > 0.8, attack
    assert report.result("rmia").auc.value > 0.6  # it compares likelihoods, which are all near 1 where errors are small


def test_losses_alone_say_nothing_of_outputs():
    class Outputs(LiRA):
        name, needs = "outputs", ("outputs",)

    with pytest.raises(InputError, match="the outputs attack needs the model's outputs, not losses alone"):
        audit(losses_alone(), attacks=Outputs())
    with pytest.raises(InputError, match="losses alone, which do not say what is answered right"):
        audit(losses_alone(), attacks="threshold", by_correctness=True)


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (np.ones(5), r"members must be \(losses,\) or \(losses, labels\), not a ndarray"),
        ((np.ones((5, 2)),), r"members losses have shape \(5, 2\); expected \(n,\)"),
        (([],), "at least one"),
        ((np.full(5, np.inf),), "members losses contain NaN or infinite values"),
        ((np.ones(5), np.zeros(4, int)), r"labels have shape \(4,\); expected \(5,\)"),
        ((np.ones(5), np.zeros(5)), "labels are float64; expected integers"),
    ],
)
def test_losses_that_do_not_fit_are_refused(side, message):
    with pytest.raises(InputError, match=message):
        AttackRecords(members=side, non_members=side, outputs="losses")


# -- features ----------------------------------------------------------------------------------------------------------


def with_features(n: int = 1500) -> AttackRecords:
    """How sure a model is follows a feature, and is a little more for members."""
    generator = np.random.default_rng(4)
    sides, features = [], []
    for shift in (1.0, 0.0):
        feature = generator.uniform(-1, 1, size=(n, 2))
        margins = 6 * feature[:, 0] + shift + 0.5 * generator.normal(size=n)
        sides.append((np.stack((margins, 0 * margins), axis=1), np.zeros(n, int)))
        features.append(feature)
    return AttackRecords(members=sides[0], non_members=sides[1], features=features)


def test_quantile_regression_finds_what_features_explain():
    """With the margin's mean known members are 2 standard deviations surer; beside all others 0.3."""
    records = with_features()
    report = audit(records, attacks=["threshold", "quantile"], jobs=1, splits=2)
    assert report.result("threshold").auc.value == pytest.approx(stats.norm.cdf(0.2), abs=0.05)
    assert report.result("quantile").auc.value == pytest.approx(stats.norm.cdf(2 / np.sqrt(2)), abs=0.05)
    assert report.result("quantile").tpr(0.01).value > 0.15


def test_quantile_regression_never_scores_what_it_learned_from():
    """Where features are as many as records, trees remember those that they learned from."""
    generator = np.random.default_rng(5)
    side = [(generator.normal(size=(400, 2)), np.zeros(400, int)) for _ in range(2)]
    features = [generator.normal(size=(400, 30)) for _ in range(2)]
    scores = QuantileRegression().scores(AttackRecords(members=side[0], non_members=side[1], features=features))
    assert auc_of(scores.members, scores.non_members) == pytest.approx(0.5, abs=0.06)


def test_quantile_regression_without_features_says_so():
    with pytest.raises(InputError, match=r"the quantile attack needs features of each record: AttackRecords\(..., f"):
        audit(losses_alone(), attacks="quantile")


def test_features_are_learned_from_follow_subsets_and_are_saved(tmp_path):
    records = with_features(20)
    assert records.features().shape == (40, 2 + 1 + 2)
    part = records.subset(members=[3, 1])
    assert np.array_equal(part.extra_features[:2], records.extra_features[[3, 1]])
    assert np.array_equal(part.extra_features[2:], records.extra_features[20:])
    found = AttackRecords.load(records.save(tmp_path / "records.npz"))
    assert np.array_equal(found.extra_features, records.extra_features)
    assert repr(found) == "AttackRecords(20 members, 20 non-members, 2 classes, logits, 2 features)"


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((30, 1)), r"features is a ndarray; expected \(of members \(n, F\), of non-mem"),
        ((np.zeros(30), np.zeros((30, 1))), r"features of members have shape \(30,\); expected \(30, F\)"),
        ((np.zeros((30, 1)), np.zeros((30, 2))), "there are 1 features of members and 2 of non-members"),
        ((np.zeros((30, 1)), np.full((30, 1), np.nan)), "features of non_members contain NaN"),
    ],
)
def test_features_that_do_not_fit_are_refused(features, message):
    with pytest.raises(InputError, match=message):
        multi_label(features=features)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [multi_label(), losses_alone(6), losses_alone(3, labels=[np.arange(3)])], ids=repr)
def test_save_load_and_subset_give_the_same(tmp_path, records):
    found = AttackRecords.load(records.save(tmp_path / "records.npz"))
    assert repr(found) == repr(records)
    for name in ("outputs", "labels", "losses"):
        assert np.array_equal(getattr(found, name), getattr(records, name))
        assert np.array_equal(getattr(records.subset(members=[1]), name)[0], getattr(records, name)[1])


def test_files_of_losses_need_no_labels_but_say_what_they_are(tmp_path):
    path = tmp_path / "losses.npz"
    np.savez(path, members_losses=np.ones(3), non_members_losses=np.zeros(3), outputs=np.array("losses"))
    assert repr(AttackRecords.load(path)) == "AttackRecords(3 members, 3 non-members, 1 classes, losses)"
    np.savez(path, members_losses=np.ones(3), non_members_losses=np.zeros(3))
    with pytest.raises(InputError, match=r"losses.npz: there are losses and no outputs; for losses alone add o"):
        AttackRecords.load(path)
