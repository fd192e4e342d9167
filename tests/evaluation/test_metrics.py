"""Ranking metrics: against naive counts, with ties, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakspot.errors import MetricError
from weakspot.evaluation import metrics

# few distinct scores, so that ties between good and bad pictures are the rule
rows_of_both_classes = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=2, max_size=30)
rankings = rows_of_both_classes.filter(lambda rows: len({label for label, _ in rows}) == 2)


def arrays(rows):
    labels, scores = zip(*rows, strict=True)
    return np.array(labels), np.array(scores, dtype=float)


def naive_average_precision(labels, scores):
    found = 0.0
    for mine in scores[labels == 1]:  # a tie is one step: all of it is called bad at once
        called = scores >= mine
        found += labels[called].mean()
    return found / labels.sum()


def naive_auroc(labels, scores):
    pairs = [(bad > good) + (bad == good) / 2 for bad in scores[labels == 1] for good in scores[labels == 0]]
    return np.mean(pairs)


def naive_best_f1(labels, scores):
    best = 0.0
    for cut in scores:
        called = scores >= cut
        tp, fp, fn = (labels[called] == 1).sum(), (labels[called] == 0).sum(), (labels[~called] == 1).sum()
        best = max(best, 2 * tp / (2 * tp + fp + fn))
    return best


@given(rankings)
def test_rankings_equal_naive_ones_ties_included(rows):
    labels, scores = arrays(rows)
    found = metrics.image_metrics(labels, scores)
    assert found["average_precision"] == pytest.approx(naive_average_precision(labels, scores))
    assert found["auroc"] == pytest.approx(naive_auroc(labels, scores))
    assert found["best_f1"] == pytest.approx(naive_best_f1(labels, scores))


@given(rankings)
def test_the_counts_at_best_f1_are_those_of_its_threshold(rows):
    labels, scores = arrays(rows)
    found = metrics.image_metrics(labels, scores)
    called = scores >= found["best_f1_threshold"]
    counted = [
        int(((labels == label) & (called == bad)).sum())
        for label, bad in ((1, True), (0, True), (0, False), (1, False))
    ]
    assert counted == [
        found[name] for name in ("true_positives", "false_positives", "true_negatives", "false_negatives")
    ]
    assert found["best_f1_threshold"] not in scores


@given(rankings)
def test_false_alarms_at_zero_escapes_count_ties_against_the_detector(rows):
    labels, scores = arrays(rows)
    found = metrics.image_metrics(labels, scores)
    assert found["false_positives_at_full_recall"] == sum(scores[labels == 0] >= scores[labels == 1].min())


@given(rankings, st.sampled_from([95, 99]))
def test_true_negative_rate_is_the_best_at_any_threshold_that_keeps_the_recall(rows, recall):
    labels, scores = arrays(rows)
    rates = [
        np.mean(scores[labels == 0] < cut) for cut in scores if np.mean(scores[labels == 1] >= cut) >= recall / 100
    ]
    assert metrics.image_metrics(labels, scores)[f"true_negative_rate_at_recall_{recall}"] == pytest.approx(max(rates))


@given(rankings)
def test_the_quick_forms_equal_the_plain_ones(rows):
    labels, scores = arrays(rows)
    assert metrics.quick_average_precision(labels, scores) == pytest.approx(metrics.average_precision(labels, scores))
    assert metrics.quick_auroc(labels, scores) == pytest.approx(metrics.auroc(labels, scores))


@given(rankings)
def test_cuts_separate_scores_in_every_way_and_lie_on_none(rows):
    _, scores = arrays(rows)
    cuts = metrics.cuts(scores)
    assert sorted({(scores >= cut).sum() for cut in cuts}) == sorted(
        {0, len(scores), *((scores >= score).sum() for score in scores)}
    )
    assert not np.isin(cuts, scores).any()


def test_a_cut_between_neighbouring_floats_still_parts_them():
    low = 0.1
    high = np.nextafter(low, 1)
    cut = metrics.cuts(np.array([low, high]))[1]
    assert not low >= cut
    assert high >= cut


def test_names_of_the_field_and_of_the_factory_stand_beside_ours():
    found = metrics.image_metrics([0, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert found["image_AP"] == found["average_precision"]
    assert found["image_AUROC"] == found["auroc"] == pytest.approx(5 / 6)
    assert found["image_F1Max"] == found["best_f1"] == pytest.approx(0.8)
    assert found["false_alarms_at_zero_escapes"] == found["false_positives_at_full_recall"] == 1


def test_of_several_best_thresholds_the_one_that_misses_fewest_is_taken():
    found = metrics.image_metrics(
        [1, 0, 0, 1], [1.0, 2.0, 3.0, 4.0]
    )  # F1 2/3 at the top and with everything called bad
    assert found["false_negatives"] == 0


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_one_class_alone_has_no_ranking(labels):
    with pytest.raises(MetricError, match="needs both"):
        metrics.image_metrics(labels, [0.1, 0.2])


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_never_counted(score):
    with pytest.raises(MetricError, match="1 of 2 scores"):
        metrics.image_metrics([0, 1], [0.1, score])
    with pytest.raises(MetricError):
        metrics.at_thresholds([0, 1], [0.1, score], 0.5, 0.5)


@pytest.mark.parametrize(("labels", "scores"), [([0, 1], [0.1]), ([], []), ([[0, 1]], [[0.1, 0.2]])])
def test_lengths_that_differ_are_refused(labels, scores):
    with pytest.raises(MetricError, match="one score for each"):
        metrics.image_metrics(labels, scores)


def test_labels_other_than_good_and_bad_are_refused():
    with pytest.raises(MetricError, match="1 for bad and 0 for good"):
        metrics.image_metrics([0, 2], [0.1, 0.2])


def test_scores_between_the_thresholds_are_for_review():
    counts = metrics.at_thresholds([1, 1, 1, 0, 0, 0], [-2, 0, 2, -2, 0, 2], bad_from=1, good_below=-1)
    assert counts.as_dict() == {
        "bad": 3, "escapes": 1, "bad_in_review": 1, "caught": 1,
        "good": 3, "passed": 1, "good_in_review": 1, "false_alarms": 1, "review": 2,
    }  # fmt: skip


def test_a_score_on_a_threshold_is_bad_at_bad_from_and_not_good_at_good_below():
    counts = metrics.at_thresholds([1, 0], [1, -1], bad_from=1, good_below=-1)
    assert (counts.caught, counts.good_in_review) == (1, 1)


def test_one_class_alone_can_be_counted_at_thresholds():
    assert metrics.at_thresholds([1, 1], [0, 2], 1, 1).escapes == 1


def test_thresholds_the_wrong_way_round_are_refused():
    with pytest.raises(MetricError, match="good and bad at once"):
        metrics.at_thresholds([0, 1], [0, 1], bad_from=0, good_below=1)


@pytest.mark.parametrize(("bad", "good"), [(3, 12), (6, 40), (15, 100)])
def test_chance_passes_for_a_ranking_at_most_once_in_twenty_times(bad, good):
    generator = np.random.default_rng(0)
    labels = np.repeat([1, 0], [bad, good])
    passed = [metrics.better_than_chance(labels, generator.normal(size=bad + good)) < 0.05 for _ in range(1000)]
    assert np.mean(passed) < 0.064  # 5 % and two standard errors of 1,000 draws


def test_pictures_of_one_part_do_not_make_chance_pass_more_often():
    generator = np.random.default_rng(0)
    labels, parts = np.repeat([1, 0], [5 * 8, 30 * 8]), np.repeat(np.arange(35), 8)
    drawn = [np.repeat(generator.normal(size=35), 8) + 0.1 * generator.normal(size=280) for _ in range(300)]
    assert np.mean([metrics.better_than_chance(labels, scores) < 0.05 for scores in drawn]) > 0.2
    assert np.mean([metrics.better_than_chance(labels, scores, parts) < 0.05 for scores in drawn]) < 0.075


def test_a_ranking_without_a_fault_is_as_unlikely_as_its_pictures_are_few():
    assert metrics.better_than_chance([0, 0, 0, 1, 1], [1, 2, 3, 4, 5]) == pytest.approx(1 / 10)  # of 10 orders one
    assert metrics.better_than_chance([1, 1, 0, 0, 0], [1, 2, 3, 4, 5]) == pytest.approx(1)
    assert metrics.better_than_chance([0] * 50 + [1] * 10, np.arange(60.0)) < 1e-6
