"""From inspections to figures: what is counted, what stands apart, and what is said not to be measured."""

from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.conftest import THRESHOLDS, made_inspection, made_mask, made_sample
from weakspot.errors import ImageError, MetricError
from weakspot.evaluation import words
from weakspot.evaluation.evaluate import Background, evaluate

MIXED = {"a/1": (0, -3.0), "a/2": (0, -2.0), "b/1": (0, 2.0), "c/1": (1, -2.5), "c/2": (1, 0.0), "d/1": (1, 3.0)}


def test_counts_at_the_models_thresholds_by_picture_and_by_part(made):
    found = made(MIXED)
    c, p = found.counts, found.part_counts
    assert (c.bad, c.escapes, c.bad_in_review, c.caught) == (3, 1, 1, 1)
    assert (c.good, c.passed, c.good_in_review, c.false_alarms) == (3, 2, 0, 1)
    assert (p.bad, p.escapes, p.caught, p.good, p.false_alarms) == (2, 1, 1, 2, 1)
    assert found.parts == 4


def test_a_part_with_good_and_bad_pictures_stands_on_both_sides(made):
    found = made({"a/1": (0, 2.0), "a/2": (1, 2.0), "a/3": (1, -2.0)})
    assert (found.parts, found.part_counts.bad, found.part_counts.good) == (1, 1, 1)
    assert (found.part_counts.escapes, found.part_counts.false_alarms) == (1, 1)


def test_both_scores_are_ranked():
    samples = [made_sample(str(i), i % 2) for i in range(10)]
    inspect = {s.path: made_inspection(s, raw=1.0 * s.label, heat_score=-1.0 * s.label) for s in samples}
    found = evaluate(lambda sample: inspect[sample.path], samples, THRESHOLDS, draws=0)
    assert (found.metrics["auroc"], found.metrics["heat_auroc"]) == (1.0, 0.0)
    assert found.metrics["heat_average_precision"] == found.by_heat["average_precision"]


def test_all_counted_figures_have_intervals(made):
    scores = {f"{i}/0": (i % 2, (i % 2) + np.sin(i)) for i in range(40)}
    found = made(scores)
    names = ("average_precision", "auroc", "false_negatives", "false_positives", "false_positives_at_full_recall")
    assert {f"{prefix}{name}" for name in names for prefix in ("", "heat_")} <= set(found.intervals)
    low, high = found.intervals["average_precision"]
    assert low <= found.metrics["average_precision"] <= high


def test_a_refused_picture_stands_apart_from_every_rate():
    samples = [made_sample("good", 0), made_sample("half.jpg", 0), made_sample("bad", 1)]

    def inspect(sample):
        if sample.path.name == "half.jpg":
            raise ImageError("half.jpg: ends early; copy it again")
        return made_inspection(sample, 3.0 if sample.label else -3.0)

    found = evaluate(inspect, samples, THRESHOLDS)
    assert [(item.sample.id, item.reason) for item in found.refused] == [
        ("half.jpg", "half.jpg: ends early; copy it again")
    ]
    assert (found.counts.good, found.counts.passed, len(found.rows)) == (1, 1, 2)
    assert "Anything about the picture that could not be inspected: no rate counts it." in words.does_not_show(found)


def test_where_no_picture_can_be_inspected_there_is_no_evaluation():
    def inspect(sample):
        raise ImageError(f"{sample.path}: not a picture")

    with pytest.raises(MetricError, match="none of 1 pictures could be inspected; the first: x: not a picture"):
        evaluate(inspect, [made_sample("x", 0)], THRESHOLDS)
    with pytest.raises(MetricError, match="none of 0"):
        evaluate(inspect, [], THRESHOLDS)


def test_a_score_that_is_no_number_ends_the_evaluation():
    sample = made_sample("x", 1)
    with pytest.raises(MetricError, match="NaN"):
        evaluate(lambda _: replace(made_inspection(sample, 0.0), heat_score=float("nan")), [sample, sample], THRESHOLDS)


def test_heat_that_is_none_ends_the_evaluation():
    sample = made_sample("x", 1)
    spoilt = replace(made_inspection(sample, 0.0), heat_map=np.full((2, 2), np.nan, dtype=np.float32))
    with pytest.raises(MetricError, match="heat map"):
        evaluate(lambda _: spoilt, [sample], THRESHOLDS)


def test_of_one_class_alone_the_decisions_are_counted_and_no_ranking_is_made_up(made):
    found = made({"a/1": (1, -3.0), "b/1": (1, 3.0)})
    assert (found.counts.escapes, found.counts.good) == (1, 0)
    assert not found.by_decision
    assert "average_precision" not in found.metrics
    assert "needs both" in found.not_measured["ranking"]
    assert words.headline(found) == "1 of 2 bad pictures would pass as good."
    assert [rate.key for rate in words.rates(found)] == ["escapes"]


def test_of_good_pictures_alone_nothing_is_said_of_escapes_but_that_it_is_not_known(made):
    found = made({"a/1": (0, -3.0), "b/1": (0, 3.0)}, Background(limits=("it was shown no bad picture",)))
    unknown = "How many bad parts would pass is not known, for none was tested"
    assert words.headline(found) == f"{unknown}; 1 of 2 good pictures would be called bad."
    assert "escapes" not in found.metrics and [rate.key for rate in words.rates(found)] == ["false_alarms", "review"]
    said = words.does_not_show(found)
    assert "Anything about bad parts: there are no bad pictures here." in said
    assert "It was shown no bad picture." in said
    assert found.not_measured["localization"].startswith("there are no bad pictures here")


def test_inspections_decided_at_other_thresholds_are_refused():
    sample = made_sample("x", 1)
    other = replace(THRESHOLDS, bad_from=2.0)
    with pytest.raises(
        MetricError, match=r"was decided at \(good_below, bad_from\) = \(-1.0, 1.0\), not at \(-1.0, 2.0\)"
    ):
        evaluate(lambda _: made_inspection(sample, 0.0), [sample], other)


def test_masks_tell_whether_the_heat_lies_on_the_defect():
    samples = [
        made_sample("on", 1, mask=True),
        made_sample("off", 1, mask=True),
        made_sample("good", 0),
        made_sample("unmarked", 1),
    ]
    cells = {"off": (5, 7)}
    inspect = lambda s: made_inspection(s, 2.0 * s.label - 1, cells.get(s.path.name, (2, 3)))  # noqa: E731
    found = evaluate(inspect, samples, THRESHOLDS, read_mask=made_mask)
    assert [row.hit for row in found.rows] == [True, False, None, None]
    assert found.metrics["hit_rate"] == 0.5
    assert found.metrics["cell_iou"] == 0.5
    assert found.metrics["pixel_AUROC"] == found.metrics["pixel_auroc"] < 1
    assert found.intervals["hit_rate"] == pytest.approx((0.0126, 0.9874), abs=1e-4)


def test_a_mask_that_cannot_be_used_is_named_and_takes_no_part():
    samples = [
        made_sample("on", 1, mask=True),
        made_sample("wrong size", 1, mask=True),
        made_sample("empty", 1, mask=True),
        made_sample("good", 0),
    ]

    def read_mask(path, height, width):
        if "wrong" in path.name:
            raise ImageError("wrong size.mask: 10 × 10 pixels, the picture has 64 × 48; give a mask of its size")
        return made_mask(path, height, width) if "on" in path.name else np.zeros((height, width), dtype=bool)

    found = evaluate(lambda s: made_inspection(s, 2.0 * s.label - 1), samples, THRESHOLDS, read_mask=read_mask)
    assert found.metrics["pictures_with_mask"] == 1
    assert found.metrics["hit_rate"] == 1.0
    assert "10 × 10" in found.not_measured["mask of wrong size"]
    assert "marks nothing" in found.not_measured["mask of empty"]
    assert len(found.rows) == 4  # they are judged all the same


def test_without_masks_localization_is_said_not_to_be_measured(made):
    found = made(MIXED)
    assert not found.localization
    assert "no bad picture has a mask" in found.not_measured["localization"]


def test_pictures_that_were_trained_on_are_recognised_by_their_bytes(made):
    held_out = made(MIXED, Background(held_out=True, trained_on=frozenset({"sha of other"})))
    assert words.standing(held_out).key == "held_out"
    assert "None of the 6 files" in words.standing(held_out).text
    seen = made(MIXED, Background(held_out=True, trained_on=frozenset({"sha of a/1", "sha of other"})))
    assert (seen.seen_in_training, words.standing(seen).title) == (1, "Not a test")
    assert words.standing(made(MIXED)).key == "unknown"
    assert words.standing(made(MIXED, Background(held_out=False))).key == "seen"


def test_the_headline_says_in_counts_how_often_it_would_be_wrong(made):
    assert (
        words.headline(made(MIXED)) == "1 of 3 bad pictures would pass as good; 1 of 3 good ones would be called bad. "
        "To a person would go 1 bad, 0 good."
    )
    right = made({"a": (0, -3.0), "b": (1, 3.0)})
    assert (
        words.headline(right) == "None of 1 bad pictures would pass as good; none of 1 good ones would be called bad."
    )


def test_rates_carry_count_interval_and_limits(made):
    scores = {f"g{i}": (0, -3.0) for i in range(100)} | {f"b{i}": (1, 3.0) for i in range(10)}
    escapes, alarms, review = words.rates(
        made(scores, Background(escape_limits=(0.3, 0.1), false_alarm_limits=(0.05,)))
    )
    assert escapes.sentence == "0 missed of 10: escapes below 26 % (one-sided 95 %)"
    assert [check.state for check in escapes.limits] == ["shown", "not shown yet"]
    assert (alarms.k, alarms.n, alarms.limits[0].state) == (0, 100, "shown")
    assert (review.k, review.n, escapes.by_part) == (0, 100, "")


def test_pictures_of_few_parts_are_also_counted_by_part(made):
    escapes = words.rates(made({f"part/{i}": (1, 3.0) for i in range(30)} | {"good": (0, -3.0)}))[0]
    assert escapes.by_part == "by part: 0 of 1 with a miss, at most 95 %"


def test_the_plants_own_defect_rate_says_how_many_bad_parts_are_among_those_that_pass(made):
    scores = {f"g{i}": (0, -3.0) for i in range(100)} | {f"b{i}": (1, 3.0 if i else -3.0) for i in range(10)}
    said = " ".join(words.shows(made(scores, Background(defect_rate=0.01))))
    assert "own rate of 1 % bad parts" in said
    assert "at the escapes seen here 1,009." in said  # 0.01 · 0.1 / (0.01 · 0.1 + 0.99)
    assert "was not given" in " ".join(words.does_not_show(made(scores)))


def test_progress_is_told_after_each_picture(made):
    told = []
    made(MIXED, on_sample=lambda done, n: told.append((done, n)))
    assert told == [(i, 6) for i in range(1, 7)]
