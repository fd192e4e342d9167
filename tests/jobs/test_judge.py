"""What was not learned is never a quiet success: the detector that ships is asked, and its folds beside chance."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from weakspot.errors import TrainingError
from weakspot.jobs.judge import judge
from weakspot.jobs.learn import Learned
from weakspot.settings import TrainSettings
from weakspot.training.train import Scores

BAD, GOOD = 8, 20
LABELS = np.array([1] * BAD + [0] * GOOD)
NAMES = [f"part {index}" for index in range(BAD + GOOD)]
TOLD_APART = np.linspace(3, 1, BAD + GOOD)
CHANCE = np.random.default_rng(0).permutation(BAD + GOOD).astype(float)


def learned(
    own: np.ndarray,
    held_out: np.ndarray | None,
    heat: float = 0.1,
    lost: tuple[str, ...] = (),
    drawn: np.ndarray | None = None,
) -> Learned:
    def scores(raw: np.ndarray) -> Scores:
        return Scores(raw, raw, np.full((len(raw), 2, 2), heat))

    folds = None if held_out is None else scores(held_out)
    return Learned(detector=None, recipe=SimpleNamespace(), scores=scores(own), held_out=folds, drawn=drawn, lost=lost)


def judged(what: Learned, **settings: object):
    return judge(what, LABELS, NAMES, NAMES, replace(TrainSettings(), **settings))


def test_what_was_learned_says_how_that_is_known():
    verdict = judged(learned(TOLD_APART, TOLD_APART))
    assert not verdict.warnings
    assert "its own training pictures with AUROC 1.00" in verdict.learned
    assert "have not seen with 1.00" in verdict.learned and "chance" in verdict.learned
    assert "out-of-fold" in verdict.choice.thresholds.chosen_on


def test_a_detector_that_does_not_know_its_own_pictures_does_not_ship_whatever_its_folds_say():
    with pytest.raises(TrainingError, match=r"the training did not learn.*AUROC 0\.\d\d") as error:
        judged(learned(CHANCE, TOLD_APART))
    assert "Try:" in str(error.value)


def test_folds_that_chance_would_give_are_not_enough():
    with pytest.raises(TrainingError, match="did not learn"):
        judged(learned(TOLD_APART, CHANCE))
    verdict = judged(learned(TOLD_APART, CHANCE), unlearned="keep")
    assert verdict.warnings[0].startswith("the training did not learn")


def test_a_dark_heat_is_called_so():
    with pytest.raises(TrainingError, match="all dark"):
        judged(learned(CHANCE, CHANCE, heat=0.001))


def test_an_upside_down_ranking_is_called_a_swap():
    with pytest.raises(TrainingError, match="swapped"):
        judged(learned(TOLD_APART, -TOLD_APART))


def test_without_folds_it_is_said_that_nothing_speaks_for_other_pictures():
    verdict = judged(learned(TOLD_APART, None))
    assert "without folds" in verdict.learned
    assert any("thresholds rest on scores of the very pictures" in warning for warning in verdict.warnings)


def test_a_final_training_that_was_lost_in_every_start_does_not_ship_and_a_lost_fold_is_a_warning():
    with pytest.raises(TrainingError, match="lost in every start: final"):
        judged(learned(TOLD_APART, TOLD_APART, lost=("final",)))
    assert any(
        "the search of fold 1 was lost" in text
        for text in judged(learned(TOLD_APART, TOLD_APART, lost=("fold 1",))).warnings
    )


def test_parts_too_few_to_show_that_anything_was_learned_are_counted_and_the_detector_is_kept():
    labels, raw = np.array([1, 1, 0, 0, 0, 0]), np.array([6.0, 5, 4, 3, 2, 1])
    names = [f"part {index}" for index in range(6)]
    verdict = judge(replace(learned(raw, raw)), labels, names, names, TrainSettings())
    assert any("2 bad and 4 good parts are too few to show" in text for text in verdict.warnings)


ALARMS = replace(TrainSettings(), threshold={"rule": "false_alarms"})
UNSEEN_GOOD = np.linspace(-1, 1, GOOD)


def judged_few(bad: int, drawn: np.ndarray | None, held_out_bad: float = 0.5):
    """A training on `bad` bad pictures, which the folds score as said, and good ones without and with a defect."""
    labels, names = np.array([1] * bad + [0] * GOOD), [f"part {index}" for index in range(bad + GOOD)]
    held_out = None if drawn is None else np.array([held_out_bad] * bad + [*UNSEEN_GOOD])
    own = np.array([held_out_bad] * bad + [*UNSEEN_GOOD])
    return judge(learned(own, held_out, drawn=drawn), labels, names, names, ALARMS)


def test_without_bad_pictures_drawn_defects_show_that_it_learned_and_nothing_is_said_of_escapes():
    verdict = judged_few(0, UNSEEN_GOOD + 3)
    drawn_on = "good pictures they have not seen, with a defect drawn on each, above those without"
    assert f"{drawn_on} with 1.00" in verdict.learned
    assert "chance" in verdict.learned and "own training pictures" not in verdict.learned
    assert verdict.warnings == ("it was shown no bad picture: all that it knows of defects was drawn",)
    assert "escapes" not in verdict.choice.evidence["promised"]


def test_drawn_defects_that_chance_ranks_as_well_are_not_enough():
    with pytest.raises(TrainingError, match=r"did not learn: the heat has the mean 0\.100 on good ones"):
        judged_few(0, UNSEEN_GOOD + 0.01)


def test_a_few_bad_pictures_are_told_beside_drawn_defects_and_refuse_no_training():
    verdict = judged_few(2, UNSEEN_GOOD + 3, held_out_bad=-0.95)
    assert (
        "those without with 1.00" in verdict.learned
        and "2 bad pictures among the good ones with 0.0" in verdict.learned
    )
    assert any("judged by drawn defects: 2 bad parts can show" in warning for warning in verdict.warnings)


def test_without_bad_pictures_and_folds_nothing_speaks_for_other_pictures():
    verdict = judged_few(0, None)
    assert "without folds nothing says" in verdict.learned
    assert any("no bad picture" in warning for warning in verdict.warnings)


def test_scores_of_pictures_it_was_trained_on_doubt_no_label_and_promise_nothing():
    own = TOLD_APART.copy()
    own[-1] = 9.0
    evidence = judged(learned(own, None)).choice.evidence
    assert evidence["label_doubts"]["sentences"] == [] and evidence["promised"] == {}
    assert judged(learned(own, own)).choice.evidence["label_doubts"]["sentences"], "or this test could not fail"
