"""Summaries of records."""

from benchmarks.harness.results import summarized


def test_records_are_summarized_by_two_of_their_names_without_those_left_out():
    records = [
        {"arm": "random", "size": 2, "accuracy": 0.5},
        {"arm": "frepo", "size": 1, "accuracy": 0.25},
        {"arm": "random", "size": 1, "left_out": "too little room"},
        {"arm": "random", "size": 2, "accuracy": 0.75},
        {"arm": "dm", "size": 2, "left_out": "too little room"},
        {"arm": "random", "size": 0, "accuracy": 1.0},
    ]
    found = summarized(records, "arm", "size", lambda own: {"accuracies": [record["accuracy"] for record in own]})
    assert found == {
        "random": {2: {"accuracies": [0.5, 0.75]}, 0: {"accuracies": [1.0]}},
        "frepo": {1: {"accuracies": [0.25]}},
    }
    assert list(found) == ["random", "frepo"]
    assert list(found["random"]) == [2, 0]
