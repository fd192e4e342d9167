"""What counts prove: against closed forms and published tables, and the sentences made of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from weakspot.errors import MetricError
from weakspot.evaluation import intervals, metrics

counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_the_exact_interval_is_that_of_the_beta_distribution(count):
    k, n = count
    low, high = 0.0 if k == 0 else beta.ppf(0.025, k, n - k + 1), 1.0 if k == n else beta.ppf(0.975, k + 1, n - k)
    assert intervals.clopper_pearson(k, n) == pytest.approx((low, high))


@given(counts)
def test_at_the_one_sided_bound_the_count_has_a_chance_of_one_in_twenty(count):
    k, n = count
    if k < n:
        assert binom.cdf(k, n, intervals.one_sided_upper(k, n)) == pytest.approx(0.05)
    if k:
        assert binom.sf(k - 1, n, intervals.one_sided_lower(k, n)) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("bad", "bounds"),  # escape rate at most, one-sided 95 %, in per cent
    [
        (52, {0: 5.6, 1: 8.8, 3: 14.2}),
        (110, {0: 2.7, 1: 4.2, 5: 9.3}),
        (246, {0: 1.2, 1: 1.9, 3: 3.1}),
        (500, {0: 0.6, 1: 0.9, 5: 2.1}),
    ],
)
def test_the_bounds_of_known_data_sets(bad, bounds):
    for missed, per_cent in bounds.items():
        assert round(100 * intervals.one_sided_upper(missed, bad), 1) == per_cent


@pytest.mark.parametrize(("bad", "per_cent"), [(5, 45), (10, 26), (30, 9.5)])
def test_without_a_miss_the_bound_has_a_closed_form(bad, per_cent):
    assert intervals.one_sided_upper(0, bad) == pytest.approx(1 - 0.05 ** (1 / bad))
    assert 100 * intervals.one_sided_upper(0, bad) == pytest.approx(per_cent, abs=0.5)


@pytest.mark.parametrize(("limit", "plan"), [(0.1, 29), (0.05, 59), (0.01, 299), (0.001, 2995)])
def test_how_many_parts_without_a_miss_show_a_limit(limit, plan):
    assert intervals.needed_without_miss(limit) == plan


@pytest.mark.parametrize(("limit", "plan"), [(0.05, (59, 93, 124, 153)), (0.01, (299, 473, 628, 773))])
def test_each_miss_asks_for_more_parts(limit, plan):
    assert tuple(intervals.needed_without_miss(limit, missed) for missed in range(4)) == plan


def test_a_limit_is_not_shown_yet_while_the_bound_lies_outside():
    check = intervals.against_limit(0, 110, 0.01)
    assert (check.state, check.more_needed) == ("not shown yet", 189)
    assert check.sentence == "at most 1 %: not shown yet, needs 189 more bad pictures without a miss"
    assert intervals.against_limit(0, 299, 0.01).state == "shown"


def test_a_limit_is_failed_only_when_the_other_bound_lies_outside():
    assert intervals.against_limit(2, 20, 0.05).state == "not shown yet"  # 10 % seen, but 5 % would show that often
    failed = intervals.against_limit(10, 20, 0.05)
    assert (failed.state, failed.more_needed) == ("failed", 0)
    assert failed.sentence == "at most 5 %: failed, the rate is above 30 %"


@given(counts, st.sampled_from([0.1, 0.05, 0.01]))
def test_the_number_still_needed_is_exactly_what_shows_the_limit(count, limit):
    k, n = count
    check = intervals.against_limit(k, n, limit)
    if check.state == "not shown yet":
        assert intervals.against_limit(k, n + check.more_needed, limit).state == "shown"
        assert intervals.against_limit(k, n + check.more_needed - 1, limit).state != "shown"


def test_the_sentence_on_what_a_count_proves():
    assert intervals.proves(0, 10) == "0 missed of 10: escapes below 26 % (one-sided 95 %)"
    assert (
        intervals.proves(2, 200, "called bad", "false alarms")
        == "2 called bad of 200: false alarms below 3.2 % (one-sided 95 %)"
    )
    assert intervals.proves(3, 3) == "3 missed of 3: no bound on escapes"


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (0.258866, ("26 %", "26 %", "25 %")),
        (0.0424, ("4.2 %", "4.3 %", "4.2 %")),
        (0.00063, ("0.06 %", "0.07 %", "0.06 %")),
        (0.05, ("5 %", "5 %", "5 %")),
        (0.0, ("0 %", "0 %", "0 %")),
        (1.0, ("100 %", "100 %", "100 %")),
        (0.0999, ("10 %", "10 %", "9.9 %")),
    ],
)
def test_bounds_are_rounded_so_that_the_sentence_stays_true(value, texts):
    assert (intervals.share(value), intervals.at_most(value), intervals.at_least(value)) == texts


@pytest.mark.parametrize(("k", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_a_count_that_cannot_be_is_refused(k, n):
    with pytest.raises(MetricError, match="does not exist"):
        intervals.clopper_pearson(k, n)


@pytest.mark.parametrize("limit", [0.0, 1.0, -0.1])
def test_no_count_shows_a_limit_of_nothing(limit):
    with pytest.raises(MetricError, match="cannot be shown"):
        intervals.needed_without_miss(limit)


def test_the_bootstrap_draws_whole_groups_and_is_repeatable():
    labels, scores = (
        np.tile([0, 0, 0, 1], 20),
        np.tile([0.1, 0.5, 0.2, 0.4], 20),
    )  # every group alike: no draw of groups can differ
    groups = np.repeat(np.arange(20), 4)
    assert intervals.bootstrap_interval(metrics.auroc, labels, scores, groups, draws=20) == pytest.approx(
        (2 / 3, 2 / 3)
    )
    low, high = intervals.bootstrap_interval(
        metrics.auroc, labels, scores + 0.1 * np.sin(np.arange(80)), np.arange(80), seed=1, draws=50
    )
    again = intervals.bootstrap_interval(
        metrics.auroc, labels, scores + 0.1 * np.sin(np.arange(80)), np.arange(80), seed=1, draws=50
    )
    assert low < high
    assert (low, high) == again


def test_the_bootstrap_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(60):
        labels = np.repeat([0, 1], 60)
        scores = generator.normal(labels * 1.0, 1.0)  # true AUROC: Phi(1 / sqrt 2) = 0.760
        low, high = intervals.bootstrap_interval(metrics.quick_auroc, labels, scores, range(120), seed=seed, draws=200)
        held += low <= 0.7602 <= high
    assert held >= 51


def test_four_bad_parts_have_no_interval_however_many_pictures_they_fill():
    labels, scores = np.repeat([0, 1], 80), np.arange(160.0)
    groups = [*range(80), *np.arange(80) % 4 + 100]
    with pytest.raises(MetricError, match="4 parts with bad pictures"):
        intervals.bootstrap_interval(metrics.auroc, labels, scores, groups)
