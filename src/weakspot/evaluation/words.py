"""What a report says in sentences: how often the detector would be wrong, what the counts prove, and what they
don't."""

from dataclasses import dataclass

from weakspot.evaluation import intervals
from weakspot.evaluation.evaluate import Evaluation
from weakspot.evaluation.intervals import Interval, LimitCheck


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A count that is a rate: k of n with its exact interval, the sentence on what it proves, and the limits it was
    held against."""

    key: str
    name: str
    explained: str
    k: int
    n: int
    interval: Interval
    sentence: str
    by_part: str
    limits: tuple[LimitCheck, ...]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Whether these pictures can test the detector: `key` is held_out, unknown or seen."""

    key: str
    title: str
    text: str


def standing(evaluation: Evaluation) -> Standing:
    """Whether the evaluated pictures had a part in making the detector: as the caller says, checked by the files'
    SHA-256 where it can be."""
    seen, pictures = evaluation.seen_in_training, len(evaluation.rows)
    background = evaluation.background
    checked = (
        f"None of the {pictures:,} files is byte for byte a training picture. "
        if background.trained_on and not seen
        else ""
    )
    if seen:
        text = f"{seen:,} of {pictures:,} files are byte for byte training pictures, which test nothing. Evaluate pictures the detector never saw."
        return Standing(key="seen", title="Not a test", text=text)
    if background.held_out:
        text = "These pictures were not used for training, for the thresholds or for the recipe."
        return Standing(key="held_out", title="Test pictures", text=checked + text)
    if background.held_out is False:
        text = "These pictures had a part in training, thresholds or recipe, so the figures flatter: only pictures without such a part test a detector."
        return Standing(key="seen", title="Not a test", text=checked + text)
    text = "Whether these pictures had a part in training, thresholds or recipe was not said. Where they had, the figures flatter."
    return Standing(key="unknown", title="Origin not known", text=checked + text)


def headline(evaluation: Evaluation) -> str:
    """How often it would be wrong, in one or two plain sentences."""
    c = evaluation.counts
    parts = []
    if c.bad:
        parts.append(f"{_none_or(c.escapes)} of {c.bad:,} bad pictures would pass as good")
    if c.good:
        parts.append(
            f"{_none_or(c.false_alarms)} of {c.good:,} good {'ones' if c.bad else 'pictures'} would be called bad"
        )
    review = c.bad_in_review + c.good_in_review
    tail = f" {review:,} would go to a person." if review else ""
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "." + tail


def rates(evaluation: Evaluation) -> list[Rate]:
    """Escapes, false alarms, and the good pictures sent to a person; a rate whose pictures are missing is left out."""
    c, p, background = evaluation.counts, evaluation.part_counts, evaluation.background
    found = []
    if c.bad:
        limits = tuple(intervals.against_limit(c.escapes, c.bad, limit) for limit in background.escape_limits)
        by_part = _by_part("with a miss", p.escapes, p.bad, c.bad)
        found.append(
            _rate(
                "escapes", "Escapes", "bad pictures called good", c.escapes, c.bad, "missed", "escapes", by_part, limits
            )
        )
    if c.good:
        what = "good pictures without a false alarm"
        limits = tuple(
            intervals.against_limit(c.false_alarms, c.good, limit, what) for limit in background.false_alarm_limits
        )
        by_part = _by_part("with a false alarm", p.false_alarms, p.good, c.good)
        explained = "good pictures called bad"
        found.append(
            _rate(
                "false_alarms",
                "False alarms",
                explained,
                c.false_alarms,
                c.good,
                "called bad",
                "false alarms",
                by_part,
                limits,
            )
        )
        by_part = _by_part("with such a picture", p.good_in_review, p.good, c.good)
        explained = "good pictures a person must look at"
        found.append(
            _rate(
                "review",
                "For review",
                explained,
                c.good_in_review,
                c.good,
                "sent to a person",
                "reviews of good pictures",
                by_part,
                (),
            )
        )
    return found


def shows(evaluation: Evaluation) -> list[str]:
    """What the figures prove, a sentence each."""
    c, said = evaluation.counts, [rate.sentence + "." for rate in rates(evaluation)[:2]]
    if c.good:
        per_thousand = 1000 * c.false_alarms / c.good
        low, high = intervals.clopper_pearson(c.false_alarms, c.good)
        said.append(
            f"Of 1,000 good pictures like these about {per_thousand:.0f} would be called bad (95 %: {1000 * low:.0f} to {1000 * high:.0f})."
        )
    if c.bad and c.good and evaluation.background.defect_rate:
        said.append(_passed_bad(evaluation, evaluation.background.defect_rate))
    if "hit_rate" in evaluation.localization:
        hits, marked = int(evaluation.localization["hits"]), int(evaluation.localization["pictures_with_mask"])
        low_high = intervals.between(intervals.clopper_pearson(hits, marked))
        said.append(
            f"In {hits:,} of {marked:,} bad pictures with a mask the hottest place lies on the defect (95 %: {low_high})."
        )
    return said


def does_not_show(evaluation: Evaluation) -> list[str]:
    """What the figures leave open, a sentence each; never empty."""
    c, pictures = evaluation.counts, len(evaluation.rows)
    said = [
        "Other batches, cameras, lights or kinds of defect than these pictures hold: where one changes, new pictures and a new report are needed."
    ]
    if evaluation.parts < pictures:
        text = f"{pictures:,} pictures show {evaluation.parts:,} parts. Pictures of one part are alike, so the intervals by picture are too narrow; "
        said.append(text + "those by part stand beside them.")
    if c.bad and c.escapes == 0:
        said.append(
            f"That nothing is ever missed: {c.bad:,} bad pictures without a miss leave room for the bound above."
        )
    if not c.bad or not c.good:
        said.append(f"Anything about {'bad' if not c.bad else 'good'} parts: there are no such pictures here.")
    if evaluation.background.defect_rate is None:
        said.append(
            "How many bad parts are among those that pass: that depends on the line's own rate of bad parts, which was not given."
        )
    if evaluation.by_decision.get("average_precision", 0) > 1 - 1e-12:
        said.append(
            "A perfect ranking of other pictures: the interval of an average precision of 1 has no width, whatever the number of pictures."
        )
    if evaluation.refused:
        which, them = (
            ("picture", "it") if len(evaluation.refused) == 1 else (f"{len(evaluation.refused):,} pictures", "them")
        )
        said.append(f"Anything about the {which} that could not be inspected: no rate counts {them}.")
    said += [_sentence(text) for text in evaluation.background.limits]
    return [*said, "It is no safety function: where a missed defect can hurt someone, something else must catch it."]


def _none_or(count: int) -> str:
    return f"{count:,}" if count else "none"


def _rate(
    key: str,
    name: str,
    explained: str,
    k: int,
    n: int,
    missed: str,
    rate: str,
    by_part: str,
    limits: tuple[LimitCheck, ...],
) -> Rate:
    sentence = intervals.proves(k, n, missed, rate)
    interval = intervals.clopper_pearson(k, n)
    return Rate(
        key=key,
        name=name,
        explained=explained,
        k=k,
        n=n,
        interval=interval,
        sentence=sentence,
        by_part=by_part,
        limits=limits,
    )


def _by_part(what: str, k: int, parts: int, pictures: int) -> str:
    """The same rate by part, where parts have several pictures: they, not pictures, are independent of each other."""
    if parts == pictures:
        return ""
    return f"by part: {k:,} of {parts:,} {what}, at most {intervals.at_most(intervals.one_sided_upper(k, parts))}"


def _passed_bad(evaluation: Evaluation, defect_rate: float) -> str:
    """Bad parts among a million that pass, at the line's defect rate, at the escape rate seen and at its bound."""
    c = evaluation.counts
    passing = (1 - defect_rate) * c.passed / c.good

    def among(escape_rate: float) -> float:
        return defect_rate * escape_rate / max(defect_rate * escape_rate + passing, 1e-12)

    seen, bound = among(c.escapes / c.bad), among(intervals.one_sided_upper(c.escapes, c.bad))
    rate = f"At the line's own rate of {intervals.share(defect_rate)} bad parts"
    return f"{rate}, at most {1e6 * bound:,.0f} of a million passed parts would be bad (one-sided 95 %); at the escapes seen here {1e6 * seen:,.0f}."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
