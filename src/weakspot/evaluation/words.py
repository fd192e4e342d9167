"""What a report says in sentences: how often the detector would be wrong, what the counts prove, and what they
don't."""

from dataclasses import dataclass

from weakspot.evaluation import intervals
from weakspot.evaluation.evaluate import Evaluation
from weakspot.evaluation.intervals import Interval, LimitCheck

Count = tuple[int, int]  # k of n
RATES = {  # name, what it counts, a wrong picture, the rate, a part with one, pictures without one
    "escapes": ("Escapes", "bad pictures called good", "missed", "escapes", "with a miss",
                "bad pictures without a miss"),
    "false_alarms": ("False alarms", "good pictures called bad", "called bad", "false alarms", "with a false alarm",
                     "good pictures without a false alarm"),
    "review": ("For review", "good pictures a person must look at", "sent to a person", "reviews of good pictures",
               "with such a picture", ""),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A count that is a rate, k of n, with what it proves and the limits it was held against."""

    key: str
    name: str
    explained: str
    k: int
    n: int
    interval: Interval  # exact, 95 %
    sentence: str
    by_part: str  # the same by part, where parts have several pictures
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
    seen, pictures, background = evaluation.seen_in_training, len(evaluation.rows), evaluation.background
    if seen:
        text = f"{seen:,} of {pictures:,} files are byte for byte training pictures, which test nothing. "
        return Standing(key="seen", title="Not a test", text=text + "Evaluate pictures the detector never saw.")
    none = f"None of the {pictures:,} files is byte for byte a training picture. " if background.trained_on else ""
    if background.held_out:
        text = "These pictures were not used for training, for the thresholds or for the recipe."
        return Standing(key="held_out", title="Test pictures", text=none + text)
    if background.held_out is False:
        text = "These pictures had a part in training, thresholds or recipe, so the figures flatter: "
        text += "only pictures without such a part test a detector."
        return Standing(key="seen", title="Not a test", text=none + text)
    text = "Whether these pictures had a part in training, thresholds or recipe was not said. "
    return Standing(key="unknown", title="Origin not known", text=none + text + "Where they had, the figures flatter.")


def headline(evaluation: Evaluation) -> str:
    """How often it would be wrong, in one or two plain sentences."""
    c = evaluation.counts
    parts = []
    if c.bad:
        parts.append(f"{_none_or(c.escapes)} of {c.bad:,} bad pictures would pass as good")
    else:
        parts.append("how many bad parts would pass is not known, for none was tested")
    if c.good:
        which = "ones" if c.bad else "pictures"
        parts.append(f"{_none_or(c.false_alarms)} of {c.good:,} good {which} would be called bad")
    kinds = ((c.bad, c.bad_in_review, "bad"), (c.good, c.good_in_review, "good"))
    went = ", ".join(f"{k:,} {kind}" for n, k, kind in kinds if n)
    tail = f" To a person would go {went}." if c.bad_in_review + c.good_in_review else ""
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "." + tail


def rates(evaluation: Evaluation) -> list[Rate]:
    """Escapes, false alarms, and the good pictures sent to a person; a rate whose pictures are missing is left out."""
    c, p, background = evaluation.counts, evaluation.part_counts, evaluation.background
    held = background.threshold_evidence.get("limits", {})
    by_key = {
        "escapes": ((c.escapes, c.bad), (p.escapes, p.bad), _limits(background.escape_limits, held.get("escapes"))),
        "false_alarms": (
            (c.false_alarms, c.good),
            (p.false_alarms, p.good),
            _limits(background.false_alarm_limits, held.get("false_alarms")),
        ),
        "review": ((c.good_in_review, c.good), (p.good_in_review, p.good), ()),
    }
    return [_rate(key, *counted) for key, counted in by_key.items() if counted[0][1]]


def shows(evaluation: Evaluation) -> list[str]:
    """What the figures prove, a sentence each."""
    c, said = evaluation.counts, [rate.sentence + "." for rate in rates(evaluation) if rate.key != "review"]
    if c.good:
        low, high = (f"{1000 * bound:.0f}" for bound in intervals.clopper_pearson(c.false_alarms, c.good))
        about = f"Of 1,000 good pictures like these about {1000 * c.false_alarms / c.good:.0f} would be called bad"
        said.append(f"{about} (95 %: {low} to {high}).")
    if c.bad and c.good and evaluation.background.defect_rate:
        said.append(_passed_bad(evaluation, evaluation.background.defect_rate))
    if "hit_rate" in evaluation.localization:
        hits, marked = int(evaluation.localization["hits"]), int(evaluation.localization["pictures_with_mask"])
        where = f"In {hits:,} of {marked:,} bad pictures with a mask the hottest place lies on the defect"
        said.append(f"{where} (95 %: {intervals.between(evaluation.intervals['hit_rate'])}).")
    return said


def does_not_show(evaluation: Evaluation) -> list[str]:
    """What the figures leave open, a sentence each; never empty."""
    c, pictures, refused = evaluation.counts, len(evaluation.rows), len(evaluation.refused)
    said = [
        "Other batches, cameras, lights or kinds of defect than these pictures hold: "
        "where one changes, new pictures and a new report are needed."
    ]
    if evaluation.parts < pictures:
        said.append(
            f"{pictures:,} pictures show {evaluation.parts:,} parts. Pictures of one part are alike, "
            "so the intervals by picture are too narrow; those by part stand beside them."
        )
    if c.bad and c.escapes == 0:
        said.append(
            f"That nothing is ever missed: {c.bad:,} bad pictures without a miss leave room for the bound above."
        )
    for n, word, rate in ((c.bad, "bad", "escapes"), (c.good, "good", "false_alarms")):
        if not n:
            said.append(f"Anything about {word} parts: {evaluation.not_measured[rate]}.")
    if evaluation.background.defect_rate is None:
        said.append(
            "How many bad parts are among those that pass: "
            "that depends on the line's own rate of bad parts, which was not given."
        )
    if evaluation.by_decision.get("average_precision", 0) > 1 - 1e-12:
        said.append(
            "A perfect ranking of other pictures: "
            "the interval of an average precision of 1 has no width, whatever the number of pictures."
        )
    if refused:
        which, them = ("picture", "it") if refused == 1 else (f"{refused:,} pictures", "them")
        said.append(f"Anything about the {which} that could not be inspected: no rate counts {them}.")
    said += [_sentence(text) for text in evaluation.background.limits]
    return [*said, "It is no safety function: where a missed defect can hurt someone, something else must catch it."]


def _rate(key: str, pictures: Count, parts: Count, limits: tuple[float, ...]) -> Rate:
    name, explained, wrong, what, with_one, without_one = RATES[key]
    k, n = pictures
    bound = intervals.at_most(intervals.one_sided_upper(*parts))
    return Rate(
        key=key,
        name=name,
        explained=explained,
        k=k,
        n=n,
        interval=intervals.clopper_pearson(k, n),
        sentence=intervals.proves(k, n, wrong, what),
        by_part="" if parts[1] == n else f"by part: {parts[0]:,} of {parts[1]:,} {with_one}, at most {bound}",
        limits=tuple(intervals.against_limit(k, n, limit, without_one) for limit in limits),
    )


def _limits(shares: tuple[float, ...], held: float | None) -> tuple[float, ...]:
    """The limits to hold a count against, falling, with the one that the thresholds hold where counting can show it."""
    return tuple(sorted({*shares, *([held] if held and held < 1 else [])}, reverse=True))


def _none_or(count: int) -> str:
    return f"{count:,}" if count else "none"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." * (not text.endswith((".", "!", "?")))


def _passed_bad(evaluation: Evaluation, defect_rate: float) -> str:
    """Bad parts among a million that pass, at the line's defect rate, at the escape rate seen and at its bound."""
    c = evaluation.counts
    passing = (1 - defect_rate) * c.passed / c.good

    def among(escape_rate: float) -> float:
        return 1e6 * defect_rate * escape_rate / max(defect_rate * escape_rate + passing, 1e-12)

    seen, bound = among(c.escapes / c.bad), among(intervals.one_sided_upper(c.escapes, c.bad))
    rate = f"At the line's own rate of {intervals.share(defect_rate)} bad parts"
    at_most = f"at most {bound:,.0f} of a million passed parts would be bad (one-sided 95 %)"
    return f"{rate}, {at_most}; at the escapes seen here {seen:,.0f}."
