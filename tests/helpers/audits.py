"""Records to audit, and readers of what an audit writes."""

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from sklearn import metrics

from privacy import Attack, AttackRecords, Roc

WHOLE = "all records"
HOSTILE = "<script>alert('1')</script> & \"quoted\""
FAST = {"attacks": ["threshold", "knn"], "jobs": 1}


def records(n: int = 40, m: int = 60, *, gap: float = 1.0, seed: int = 0) -> AttackRecords:
    generator = np.random.default_rng(seed)
    sides = []
    for count, surer in ((n, gap), (m, 0.0)):
        labels = np.arange(count) % 3
        outputs = generator.normal(size=(count, 3))
        outputs[np.arange(count), labels] += 1 + surer
        sides.append((outputs, labels))
    return AttackRecords(members=sides[0], non_members=sides[1])


def sides(values: np.ndarray) -> list[np.ndarray]:
    """What belongs to the 40 members and to the 60 non-members."""
    return np.split(values, [40])


def area(curve: Roc) -> float:
    return metrics.auc(curve.fpr, curve.tpr)


def refuse(constant: str):
    raise AssertionError(f"{constant} is no JSON")


def read(path: Path):
    return json.loads(path.read_text(), parse_constant=refuse)


class Page(HTMLParser):
    """Reads a page as strictly as HTML can be read, and remembers what is in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"

    def assert_self_contained(self) -> None:
        assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in self.tags}
        for _, attributes in self.tags:
            assert not [name for name in attributes if name.startswith("on")]
            for name in ("src", "href", "data", "action"):
                assert attributes.get(name, "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "@import" not in self.source
        assert "url(" not in self.source


@dataclass(frozen=True)
class Hostile(Attack):
    name = HOSTILE
    title = HOSTILE + " $x"

    def tasks(self, records, *, seed):
        return [lambda: (np.arange(len(records)), records.losses)]
