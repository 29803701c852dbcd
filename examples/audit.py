"""Audit a scikit-learn model: who was it trained on? Seconds on a CPU; needs no torch."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from privacy import AttackRecords, audit

# Members are what the model is trained on; non-members come from the same distribution and were never used.
pixels, labels = load_digits(return_X_y=True)
members, others, member_labels, other_labels = train_test_split(
    pixels / 16, labels, train_size=300, test_size=300, random_state=0
)
model = MLPClassifier((100,), max_iter=500, random_state=0).fit(members, member_labels)

# Any framework: what the attacker sees are outputs and labels. Logits would be better still.
records = AttackRecords(
    members=(model.predict_proba(members), member_labels),
    non_members=(model.predict_proba(others), other_labels),
    outputs="probabilities",
)
report = audit(
    records,
    by_correctness=True,
    images=members.reshape(-1, 8, 8),
    info={"model": "MLPClassifier", "test_accuracy": float(model.score(others, other_labels))},
)
print(report)
report.to_html("audit.html")
for member in report.exposed("threshold")[:3]:
    print(f"member {member.position}, a {member.label}: {member.false_positives} non-members score as high")
