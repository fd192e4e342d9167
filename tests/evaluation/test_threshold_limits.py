"""The rule `limits`: what is held, what goes to a person, and what too few pictures leave unsaid."""

import json
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.test_threshold import arrays, counts, scored
from weakspot.errors import MetricError
from weakspot.evaluation.label_doubts import label_doubts, swap_sentence
from weakspot.evaluation.metrics import at_thresholds
from weakspot.evaluation.promises import is_kept
from weakspot.evaluation.threshold import choose_thresholds
from weakspot.settings import ThresholdSettings

rates = st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0])


def chosen(good, bad, groups=None, **settings):
    labels, scores = np.array([0] * len(good) + [1] * len(bad)), np.array([*good, *bad], dtype=float)
    return choose_thresholds(labels, scores, ThresholdSettings(**settings), groups)


def between(choice):
    return choice.thresholds.good_below, choice.thresholds.bad_from


def test_it_is_the_default():
    assert ThresholdSettings().rule == "limits"
    assert (ThresholdSettings().max_false_alarm_rate, ThresholdSettings().max_escape_rate) == (0.01, 0.05)


@given(scored, rates, rates)
def test_both_limits_are_kept_and_one_threshold_keeps_that_of_false_alarms(pair, alarms, escapes):
    labels, scores = arrays(pair)
    for review in ("gap", "none"):
        found = counts(labels, scores, max_false_alarm_rate=alarms, max_escape_rate=escapes, review=review)
        assert found.false_alarms <= floor(alarms * found.good + 1e-9)
        assert review == "none" or found.escapes <= floor(escapes * found.bad + 1e-9)


@given(scored, rates, rates)
def test_where_one_cut_keeps_both_limits_nothing_that_was_seen_goes_to_a_person(pair, alarms, escapes):
    labels, scores = arrays(pair)
    options = [at_thresholds(labels, scores, cut, cut) for cut in [*(scores - 0.01), scores.max() + 1]]
    keeps = [
        one
        for one in options
        if one.false_alarms <= floor(alarms * one.good + 1e-9) and one.escapes <= floor(escapes * one.bad + 1e-9)
    ]
    found = counts(labels, scores, max_false_alarm_rate=alarms, max_escape_rate=escapes)
    if keeps:
        assert found.good_in_review + found.bad_in_review == 0
        assert found.escapes + found.false_alarms == min(one.escapes + one.false_alarms for one in keeps)
    else:
        assert found.false_alarms == max(
            one.false_alarms for one in options if one.false_alarms <= floor(alarms * one.good + 1e-9)
        )


def test_classes_that_lie_apart_leave_the_gap_between_them_to_a_person():
    good, bad = np.linspace(-6, -4, 300), [6.0, 7, 8, 9, 10]
    assert between(chosen(good, bad)) == pytest.approx((-3, 5))  # a tenth of the gap of 10 stays with each side
    assert between(chosen(good, bad, review="none")) == pytest.approx((1, 1))


def test_where_they_overlap_each_threshold_lies_amid_the_gap_of_its_own_class():
    good, bad = np.arange(200.0), np.arange(100.5, 220.5, 4)  # 30 bad: one may escape; two good may be false alarms
    assert between(chosen(good, bad)) == (102.5, 197.5)
    moved = np.append(bad[:2], bad[2:] + 30)
    assert chosen(good, moved).thresholds.bad_from == 197.5  # bad pictures do not bend the limit of false alarms


def test_beyond_the_outermost_score_it_is_half_a_logit():
    good, bad = np.arange(50.0), np.arange(10.25, 30, 2)  # none of 50 and none of 10 may be wrong
    assert between(chosen(good, bad)) == (9.75, 49.5)


def test_equal_scores_stay_on_one_side():
    choice = chosen([0.0] * 97 + [5.0] * 3, [1.0] * 30)  # a threshold through the three fives does not exist
    assert choice.evidence["counts"]["false_alarms"] == 0
    assert choice.evidence["counts"]["escapes"] == 0
    assert between(choice)[1] == 5.5


def test_one_threshold_that_cannot_keep_both_limits_says_which_it_breaks():
    good, bad = np.arange(200.0), np.arange(100.5, 220.5, 4)
    evidence = chosen(good, bad, review="none").evidence
    assert evidence["counts"]["false_alarms"] == 2
    assert 'with review = "none" only the limit of false alarms is kept: escapes lie above 5 %' in evidence["warnings"]
    assert not any("only the limit" in text for text in chosen(good, bad).evidence["warnings"])


def test_promises_are_kept_about_as_often_as_they_say():
    generator, kept = np.random.default_rng(0), []
    for _ in range(150):
        good, bad = generator.normal(-1, 1, (2, 200)), generator.normal(1, 1, (2, 150))
        choice = chosen(good[0], bad[0, :30])
        found = at_thresholds([1] * 150 + [0] * 200, [*bad[1], *good[1]], *reversed(between(choice)))
        promised = choice.evidence["promised"]
        kept += [
            is_kept(promised["escapes"], (found.escapes, found.bad)),
            is_kept(promised["false_alarms"], (found.false_alarms, found.good)),
        ]
    assert np.mean(kept) > 0.93


def test_what_the_pictures_cannot_show_is_said_with_how_many_would():
    evidence = chosen(np.linspace(-6, -4, 60), np.linspace(4, 6, 30)).evidence
    assert evidence["warnings"] == [
        "30 bad pictures can promise no better than 9.6 % escapes (95 %), even if none is missed: 5 % takes 59",
        "60 good pictures can promise no better than 4.9 % false alarms (95 %), even if none is called bad: "
        "1 % takes 299",
    ]
    assert chosen(np.linspace(-6, -4, 300), np.linspace(4, 6, 60)).evidence["warnings"] == []
    never = chosen(np.linspace(-6, -4, 300), np.linspace(4, 6, 60), max_escape_rate=0).evidence["warnings"]
    assert never == [
        "60 bad pictures can promise no better than 4.9 % escapes (95 %), even if none is missed: no number shows 0 %"
    ]


def test_parts_are_counted_where_they_are_known_and_each_bound_is_said_once():
    groups = [i // 10 for i in range(330)]
    evidence = chosen(np.linspace(-6, -4, 300), np.linspace(4, 6, 30), groups).evidence
    assert evidence["warnings"][0] == (
        "30 bad pictures of 3 parts can promise no better than 64 % escapes (95 %), even if none is missed: "
        "5 % takes 59 parts"
    )
    assert "by part" not in " ".join(evidence["sentences"])


def test_the_pictures_for_review_are_counted():
    good, bad = np.arange(200.0), np.arange(100.5, 220.5, 4)
    evidence = chosen(good, bad).evidence
    assert "for review: 95 of 200 good pictures and 24 of 30 bad ones" in evidence["sentences"]
    assert not any("for review" in text for text in chosen(good, bad, review="none").evidence["sentences"])


@pytest.mark.parametrize("rule", ["limits", "false_alarms"])
def test_without_bad_pictures_the_limit_of_false_alarms_decides_alone(rule):
    choice = chosen(np.arange(200.0), [], rule=rule)
    evidence = choice.evidence
    assert between(choice) == (197.5, 197.5)
    assert evidence["counts"] | {"passed": 198, "false_alarms": 2, "bad": 0, "review": 0} == evidence["counts"]
    assert evidence["promised"] == {"false_alarms": [2, 200]}
    assert evidence["score_range_bad"] is None
    assert evidence["rule_in_words"] == "false alarms at most 1 % of the good pictures"
    assert evidence["label_doubts"] == {"pictures": [], "sentences": []}
    assert evidence["warnings"][0] == (
        "no bad picture was there, so nothing is known about escapes: add bad pictures to learn how many there are"
    )
    assert not any("escapes" in text for text in evidence["sentences"])
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence


@pytest.mark.parametrize("rule", ["best_f1", "no_escapes", "cost"])
def test_a_rule_that_needs_bad_pictures_says_so_and_names_the_way_out(rule):
    with pytest.raises(MetricError, match=f'^rule {rule} needs bad pictures.*there is none.*rule = "limits"') as error:
        chosen(np.arange(20.0), [], rule=rule)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [[5.0], [5.0, -3.0]])
def test_one_or_two_bad_pictures_are_enough_and_what_they_cannot_show_is_said(bad):
    evidence = chosen(np.linspace(-6, 4, 300), bad).evidence
    assert evidence["promised"]["escapes"] == [0, len(bad)]
    assert f"{len(bad)} bad picture" in evidence["warnings"][-1]
    assert {1: "95 %", 2: "78 %"}[len(bad)] in evidence["warnings"][-1]


def test_one_hopeless_bad_picture_sends_all_to_a_person_and_the_way_out_is_said():
    evidence = chosen(np.linspace(-8, -2, 200), [-7.5, *np.linspace(2, 8, 9)]).evidence
    assert evidence["counts"]["good_in_review"] > 190
    (said,) = (text for text in evidence["warnings"] if text.startswith("only"))
    assert said == (
        "only 0 of 200 good pictures would be called good; "
        "were one more bad picture let through (max_escape_rate = 0.1), 200 would"
    )


def test_limits_that_the_scores_cannot_keep_without_sending_most_to_a_person_say_why():
    (said,) = (text for text in chosen(np.arange(200.0), np.arange(30.0) * 5).evidence["warnings"] if "only" in text)
    assert said == (
        "only 3 of 200 good pictures would be called good: "
        "the scores of good and bad ones overlap too far for these limits"
    )


@pytest.mark.parametrize("bad", [[-1.0], [-1.0, 3.0]])
def test_no_limit_is_advised_that_half_of_the_bad_pictures_may_escape(bad):
    good = np.random.default_rng(0).normal(0, 1, 100)
    (said,) = (text for text in chosen(good, bad).evidence["warnings"] if text.startswith("only"))
    assert said.endswith("would be called good: the scores of good and bad ones overlap too far for these limits")


@pytest.mark.parametrize("label", [0, 1])
def test_of_one_label_alone_nothing_is_doubted_and_nothing_swapped(label):
    labels, scores = [label] * 20, np.arange(20.0)
    assert label_doubts(labels, scores, [str(i) for i in range(20)]) == {"pictures": [], "sentences": []}
    assert swap_sentence(labels, scores) == ""
