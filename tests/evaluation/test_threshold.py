"""Rules of one cut that choose the decision from out-of-fold scores: what each promises, the review band, and the
evidence kept of the choice. The rule `limits` is in test_threshold_limits.py."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakspot.errors import MetricError
from weakspot.evaluation import threshold, threshold_rules
from weakspot.evaluation.metrics import at_thresholds
from weakspot.settings import ThresholdSettings

RULES = ("best_f1", "no_escapes", "false_alarms", "cost")
scored = st.tuples(
    st.lists(st.integers(-40, 20), min_size=1, max_size=60), st.lists(st.integers(-20, 40), min_size=1, max_size=30)
)  # tenths of a logit: good ones, bad ones


def arrays(pair):
    good, bad = pair
    return np.array([0] * len(good) + [1] * len(bad)), np.array([*good, *bad]) / 10


def counts(labels, scores, **settings):
    found = threshold.choose_thresholds(labels, scores, ThresholdSettings(**settings)).thresholds
    return at_thresholds(labels, scores, found.bad_from, found.good_below)


@given(scored, st.floats(0, 3))
def test_no_escapes_lets_none_pass_and_keeps_its_margin(pair, margin):
    labels, scores = arrays(pair)
    for review in ("gap", "none"):
        found = threshold.choose_thresholds(
            labels, scores, ThresholdSettings(rule="no_escapes", margin=margin, review=review)
        ).thresholds
        assert found.good_below <= scores[labels == 1].min() - margin + 1e-9
        assert at_thresholds(labels, scores, found.bad_from, found.good_below).escapes == 0


@given(scored, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_false_alarms_stay_within_their_limit(pair, limit):
    labels, scores = arrays(pair)
    for review in ("gap", "none"):
        found = counts(labels, scores, rule="false_alarms", max_false_alarm_rate=limit, review=review)
        assert found.false_alarms <= limit * found.good + 1e-9


@given(scored, st.sampled_from([0.0, 0.1, 0.5]))
def test_within_its_limit_the_rule_finds_most_bad_pictures_with_fewest_false_alarms(pair, limit):
    labels, scores = arrays(pair)
    found = counts(labels, scores, rule="false_alarms", max_false_alarm_rate=limit, review="none")
    options = [at_thresholds(labels, scores, cut, cut) for cut in [*(scores - 0.01), scores.max() + 1]]
    allowed = [option for option in options if option.false_alarms <= limit * option.good + 1e-9]
    assert (found.caught, -found.false_alarms) == max((option.caught, -option.false_alarms) for option in allowed)


@given(scored, st.sampled_from([(100, 1), (1, 1), (1, 100)]))
def test_cost_is_the_least_of_all_thresholds(pair, costs):
    labels, scores = arrays(pair)
    escape, alarm = costs
    found = counts(labels, scores, rule="cost", cost_escape=escape, cost_false_alarm=alarm, review="none")
    options = [at_thresholds(labels, scores, cut, cut) for cut in [*(scores - 0.01), scores.max() + 1]]
    assert escape * found.escapes + alarm * found.false_alarms == min(
        escape * o.escapes + alarm * o.false_alarms for o in options
    )


@given(scored)
def test_best_f1_is_the_best_of_all_thresholds(pair):
    labels, scores = arrays(pair)
    found = counts(labels, scores, rule="best_f1", review="none")
    best = max(
        2 * o.caught / (o.caught + o.false_alarms + o.bad)
        for o in (at_thresholds(labels, scores, cut, cut) for cut in scores - 0.01)
    )
    assert 2 * found.caught / (found.caught + found.false_alarms + found.bad) == pytest.approx(best)


@given(scored, st.sampled_from(RULES), st.sampled_from(["gap", "none"]))
def test_thresholds_lie_between_observed_scores(pair, rule, review):
    labels, scores = arrays(pair)
    found = threshold.choose_thresholds(
        labels, scores, ThresholdSettings(rule=rule, margin=0, review=review)
    ).thresholds
    assert found.good_below <= found.bad_from
    assert np.abs(scores[:, None] - [found.good_below, found.bad_from]).min() > 1e-6
    assert review == "gap" or found.good_below == found.bad_from


@given(scored, st.sampled_from(RULES))
def test_the_review_band_holds_at_most_a_tenth_of_either_class_but_always_may_hold_one(pair, rule):
    labels, scores = arrays(pair)
    found = counts(labels, scores, rule=rule)
    assert found.good_in_review <= max(1, found.good // 10)
    assert found.bad_in_review <= max(1, found.bad // 10)


@given(scored, st.sampled_from(RULES))
def test_review_never_makes_more_errors_than_one_threshold(pair, rule):
    labels, scores = arrays(pair)
    banded, plain = counts(labels, scores, rule=rule), counts(labels, scores, rule=rule, review="none")
    assert banded.escapes <= plain.escapes
    assert banded.false_alarms <= plain.false_alarms


def test_the_gap_between_classes_that_lie_apart_goes_to_a_person():
    labels, scores = np.array([0] * 20 + [1] * 5), np.concatenate([np.linspace(-6, -4, 20), [6, 7, 8, 9, 10]])
    found = threshold.choose_thresholds(labels, scores, ThresholdSettings(rule="best_f1")).thresholds
    assert (found.good_below, found.bad_from) == pytest.approx((-3, 5))  # a tenth of the gap of 10 stays with each side


def test_an_overlap_is_covered_where_it_is_small():
    good, bad = [*np.linspace(-6, -1, 40), 1.0], [0.0, *np.linspace(3, 8, 9)]
    labels, scores = np.array([0] * 41 + [1] * 10), np.array([*good, *bad])
    found = counts(labels, scores, rule="best_f1")
    assert (found.escapes, found.false_alarms, found.good_in_review, found.bad_in_review) == (0, 0, 1, 1)


def test_one_hopeless_bad_picture_does_not_send_all_good_ones_to_a_person():
    labels, scores = np.array([0] * 200 + [1] * 10), np.array([*np.linspace(-8, -2, 200), -7.5, *np.linspace(2, 8, 9)])
    found = counts(labels, scores, rule="best_f1")
    assert (found.escapes, found.good_in_review, found.passed) == (1, 0, 200)


def test_of_errors_that_do_not_all_fit_into_the_band_the_dearer_ones_go_first():
    labels, scores = np.array([0] * 10 + [1] * 10), np.array([*np.arange(-10.0, -1), 3.5, -1.5, *np.arange(3.0, 12)])
    left = {}
    for escape, alarm in (
        (100, 1),
        (1, 100),
    ):  # either the bad one at −1.5 or the good one at 3.5, for only one bad picture may be inside
        good_below, bad_from = threshold_rules.review_band(
            labels, scores, 0.0, ThresholdSettings(cost_escape=escape, cost_false_alarm=alarm)
        )
        found = at_thresholds(labels, scores, bad_from, good_below)
        left[escape] = found.escapes, found.false_alarms
    assert left == {100: (0, 1), 1: (1, 0)}


@pytest.mark.parametrize("rule", [*RULES, "limits"])
@pytest.mark.parametrize("bad", [[5.0], [5.0, 6, 7, 8, 9], [-3.0, 6, 7, 8, 9]])
def test_five_bad_pictures_or_one_are_enough(rule, bad):
    generator = np.random.default_rng(0)
    labels, scores = np.array([0] * 100 + [1] * len(bad)), np.concatenate([generator.normal(-4, 1, 100), bad])
    found = threshold.choose_thresholds(labels, scores, ThresholdSettings(rule=rule))
    assert np.isfinite([found.thresholds.bad_from, found.thresholds.good_below]).all()
    assert found.evidence["counts"]["bad"] == len(bad)


def test_neighbouring_floats_are_parted_too():
    low = -1.0
    rule = ThresholdSettings(rule="best_f1")
    found = threshold.choose_thresholds([0, 1], [low, np.nextafter(low, 1)], rule).thresholds
    assert at_thresholds([0, 1], [low, np.nextafter(low, 1)], found.bad_from, found.good_below).as_dict() | {
        "bad": 1
    } == {
        "bad": 1,
        "good": 1,
        "escapes": 0,
        "bad_in_review": 0,
        "caught": 1,
        "false_alarms": 0,
        "good_in_review": 0,
        "passed": 1,
        "review": 0,
    }


def test_the_evidence_counts_says_what_the_count_proves_and_is_plain():
    labels, scores = [0] * 20 + [1] * 10, [*np.linspace(-6, -4, 20), *np.linspace(4, 6, 10)]
    ids = [f"{i:02}.png" for i in range(30)]
    groups = [i // 2 for i in range(30)]
    evidence = threshold.choose_thresholds(
        labels, scores, ThresholdSettings(rule="best_f1"), groups, ids, chosen_on="a few pictures"
    ).evidence
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
    assert evidence["sentences"][0] == "0 missed of 10: escapes below 26 % (one-sided 95 %)"
    assert "chose the thresholds, which flatters" in evidence["sentences"][2]
    assert "10 bad pictures show 5 parts" in evidence["sentences"][3]
    assert evidence["chosen_on"] == "a few pictures"
    assert [one["picture"] for one in evidence["deciding"]] == ["20.png", "19.png"]  # the neighbours of the gap
    assert evidence["escapes_interval"] == [0, pytest.approx(0.308, abs=0.001)]


def test_thresholds_that_would_be_of_no_use_are_said():
    labels, scores = [0] * 20 + [1] * 5, [*np.linspace(-6, 4, 20), -9, 1, 2, 3, 3.5]
    evidence = threshold.choose_thresholds(labels, scores, ThresholdSettings(rule="no_escapes")).evidence
    assert evidence["warnings"] == ["only 0 of 20 good pictures would be called good"]
    strict = threshold.choose_thresholds(
        labels, scores, ThresholdSettings(rule="false_alarms", max_false_alarm_rate=0, review="none")
    ).evidence
    assert "nothing would be called bad" in strict["warnings"][0]


@pytest.mark.parametrize(("labels", "scores"), [([1, 1], [0.1, 0.2]), ([0, 1], [0.1, np.nan]), ([], [])])
def test_without_good_pictures_or_scores_no_threshold_is_chosen(labels, scores):
    with pytest.raises(MetricError):
        threshold.choose_thresholds(labels, scores, ThresholdSettings())


def test_groups_of_another_length_are_refused():
    with pytest.raises(MetricError, match="1 groups for 2 pictures"):
        threshold.choose_thresholds([0, 1], [0, 1], ThresholdSettings(), groups=["a"])
