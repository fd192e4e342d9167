"""Labels that look wrong: the flipped one is named, clean data name none or few, and a swap is said as a swap."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from weakspot.evaluation.label_doubts import label_doubts, swap_sentence

RESULTS = Path(__file__).parents[2] / "results"


def drawn(generator, good=300, bad=30, apart=8.0):
    labels = np.repeat([0, 1], [good, bad])
    return labels, generator.normal(size=good + bad) + apart * labels


def doubted(labels, scores):
    found = label_doubts(labels, scores, [str(i) for i in range(len(labels))])
    return [int(one["picture"]) for one in found["pictures"]]


def test_a_bad_picture_filed_under_good_is_named_and_a_good_one_filed_under_bad():
    labels, scores = drawn(np.random.default_rng(0))
    labels[[3, 320]] = 1, 0
    scores[3], scores[320] = -2.0, 9.0
    ids = [f"{i}.png" for i in range(330)]
    found = label_doubts(labels, scores, ids)
    assert [(one["picture"], one["label"]) for one in found["pictures"]] == [("320.png", 0), ("3.png", 1)]
    assert found["sentences"] == [
        "1 of 300 good pictures scores like bad ones, out of fold: is the label right of 320.png?",
        "1 of 30 bad pictures scores like good ones, out of fold: is the label right of 3.png?",
    ]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("apart", [3.5, 5.0, 8.0])
@pytest.mark.parametrize("bad", [5, 30, 150])
def test_right_labels_are_hardly_ever_doubted(apart, bad):
    generator = np.random.default_rng(1)
    assert np.mean([len(doubted(*drawn(generator, bad=bad, apart=apart))) for _ in range(50)]) < 0.2


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.0])
def test_where_the_kinds_overlap_few_or_none_are_named(apart):
    generator = np.random.default_rng(2)
    named = [len(doubted(*drawn(generator, apart=apart))) for _ in range(50)]
    assert np.mean(named) < 1
    assert max(named) <= 3


def test_a_long_tail_of_good_pictures_is_not_taken_for_wrong_labels():
    generator = np.random.default_rng(3)
    labels = np.repeat([0, 1], [300, 30])
    named = [
        len(doubted(labels, np.append(generator.gumbel(0, 0.8, 300), 4 + generator.gumbel(0, 0.8, 30))))
        for _ in range(50)
    ]
    assert np.mean(named) < 1


@pytest.mark.parametrize("path", sorted(RESULTS.glob("kolektorsdd_clean*/*.scores.csv")), ids=lambda path: path.stem)
def test_on_recorded_scores_of_right_labels_none_is_named_and_most_flipped_ones_are(path):
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(row["label"]), float(row["raw_score"])) for row in csv.DictReader(file)]
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows])
    assert doubted(labels, scores) == []
    flipped = [np.where(np.arange(len(labels)) == i, 1 - labels, labels) for i in range(len(labels))]
    named = np.array([i in doubted(other, scores) for i, other in enumerate(flipped)])
    assert named[labels == 1].mean() > 0.6  # a bad one filed under good
    assert named[labels == 0].mean() > 0.45  # by the rule half of the good ones lie below their median


def test_of_many_the_first_are_named_in_the_sentence():
    labels, scores = drawn(np.random.default_rng(0), good=300, bad=100)
    labels[300:310] = 0
    (sentence,) = label_doubts(labels, scores, [f"{i}.png" for i in range(400)])["sentences"]
    assert sentence.startswith("9 of 310 good pictures score like bad ones")
    assert sentence.endswith(", …?")
    assert sentence.count(".png") == 5


def test_a_swap_is_said_as_a_swap():
    labels, scores = drawn(np.random.default_rng(0), apart=2.0)
    assert swap_sentence(labels, scores) == ""
    upside_down = swap_sentence(1 - labels, scores)
    assert upside_down.startswith("good pictures score above bad ones 9")
    assert upside_down.endswith("good and bad seem to be swapped: look at both kinds, and swap the labels")
    labels, scores = drawn(np.random.default_rng(3), good=10, bad=120, apart=0.0)
    assert swap_sentence(labels, scores).startswith("120 pictures are labelled bad and only 10 good, and nothing tells")
    assert swap_sentence(1 - labels, scores) == ""


def test_more_bad_than_good_pictures_are_no_swap_where_they_are_told_apart():
    assert swap_sentence(*drawn(np.random.default_rng(0), good=18, bad=114, apart=2.0)) == ""


def test_chance_is_hardly_ever_called_a_swap():
    generator = np.random.default_rng(0)
    assert np.mean([swap_sentence(*drawn(generator, apart=0.0)) != "" for _ in range(300)]) < 0.03
