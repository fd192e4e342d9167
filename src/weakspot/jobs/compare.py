"""Two detectors on the same judged pictures, of which neither was trained on any: who is right where they differ.

Knows no store: whoever has the pictures hands them over.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from weakspot.data.layouts import read_layout
from weakspot.errors import DataError, ImageError, SettingsError, amount, shown
from weakspot.evaluation.intervals import Interval, at_most, clopper_pearson, share
from weakspot.inspection.inspection import HeatMap, ModelInfo
from weakspot.inspection.loaded import LoadedDetector

TRUTH = ("good", "bad")
MOST_HEATS = 60  # differing pairs whose heat is kept: each holds the heat of two detectors
_COUNTED = {  # what a count counts, in words
    "part": "Rates and chance count physical parts, whose pictures are alike: one wrong picture makes it wrong",
    "picture": "Rates and chance count pictures: of no two it is known that they show one part",
}
PROVES_LITTLE = 0.05  # so few pictures that the interval of a rate reaches beyond this even without a miss
DIGITS = 6  # of a SHA-256, where two models have one name


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A picture of which a person said what it is."""

    id: str
    label: int  # 1 bad, 0 good
    sha256: str  # of the file
    content: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Material:
    """What two detectors are asked of, each picture once.

    parts: the physical parts that a picture shows, by its SHA-256, also of pictures that nobody judged; contradicted:
    pictures that were called good and bad, left out.
    """

    pictures: Sequence[Judged]
    parts: Mapping[str, frozenset[str]]
    contradicted: int


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What both say of one picture. part: the physical part that it shows, else the picture itself.

    heats: of the first where they differ; None where it was not inspected.
    """

    id: str
    part: str
    label: int
    decisions: tuple[str, str]
    raw_scores: tuple[float | None, float | None]
    heats: tuple[HeatMap | None, HeatMap | None] = (None, None)

    @property
    def differs(self) -> bool:
        """Whether they decide differently."""
        return self.decisions[0] != self.decisions[1]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Wrong decisions of one kind: k of n parts, of which a picture is decided so."""

    k: int
    n: int

    @property
    def interval(self) -> Interval:
        """Exact, 95 %; there must be one."""
        return clopper_pearson(self.k, self.n)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"k": self.k, "n": self.n, "interval": list(self.interval) if self.n else None}


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one of the two makes of all pictures, right to not inspected; the rates count parts."""

    model: ModelInfo
    right: int
    wrong: int
    review: int
    not_inspected: int
    escapes: Rate
    false_alarms: Rate

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        rates = {name: getattr(self, name).as_dict() for name in ("escapes", "false_alarms")}
        counts = {name: getattr(self, name) for name in ("right", "wrong", "review", "not_inspected")}
        return {"name": self.model.name, "sha256": self.model.sha256} | counts | rates


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both sides. left_out: pictures on which one of them was trained, or on another one of the same part.

    counted: "part", or "picture" where no two are known to show one part. contradicted: pictures that were called good
    and bad, left out, too.
    """

    sides: tuple[Side, Side]
    pairs: tuple[Pair, ...]
    left_out: int
    contradicted: int
    counted: str
    unknown: tuple[str, ...]  # names of models that do not say on what they were trained

    @property
    def differing(self) -> list[Pair]:
        """The pictures on which they decide differently."""
        return [pair for pair in self.pairs if pair.differs]

    @property
    def sentences(self) -> list[str]:
        """How much this rests on, and how little it may prove."""
        return [self._basis, *self._unknown, self._difference, *self._proof]

    @property
    def _basis(self) -> str:
        good, bad = (sum(pair.label == label for pair in self.pairs) for label in (0, 1))
        left = f"{self.left_out} left out, since one of them was trained on that picture or another of the same part"
        both = f"; {self.contradicted} left out that were called good and bad" if self.contradicted else ""
        judged = f"{amount(len(self.pairs), 'judged picture')} that neither was trained on"
        return f"{judged}: {good} good, {bad} bad; {left}{both}"

    @property
    def _unknown(self) -> list[str]:
        why = "was trained on pictures in memory and does not say which: it may have seen some of these"
        return [f"{shown(name)} {why}" for name in self.unknown]

    @property
    def _difference(self) -> str:
        found = f"They decide differently on {amount(len(self.differing), 'picture')}"
        only = _only_right(self.pairs)
        told = f"{found}: only the first is right on {amount(only[0], self.counted)}, only the second on {only[1]}"
        if not sum(only):
            return told
        chance = _chance(*only)
        cases = "less than 0.1 %" if chance < 0.001 else share(chance)
        return f"{told}; between equals chance gives a difference like that in {cases} of cases"

    @property
    def _proof(self) -> list[str]:
        told = [_COUNTED[self.counted]]
        for label, rate in ((1, "escapes"), (0, "false alarms")):
            n = len({pair.part for pair in self.pairs if pair.label == label})
            if n == 0:
                told.append(f"None of them is {TRUTH[label]}: nothing is known of {rate}")
            elif (bound := clopper_pearson(0, n)[1]) > PROVES_LITTLE:
                even = f"even without a mistake they only show {rate} below {at_most(bound)} (95 % interval)"
                told.append(f"{amount(n, f'{TRUTH[label]} {self.counted}')} prove little: {even}")
        return told

    def as_dict(self) -> dict[str, Any]:
        """All but the heat as plain values for JSON."""
        differing = [
            {"id": pair.id, "truth": TRUTH[pair.label], "decisions": pair.decisions, "raw_scores": pair.raw_scores}
            for pair in self.differing
        ]
        counts: dict[str, Any] = {
            "compared": len(self.pairs),
            "left_out": self.left_out,
            "contradicted": self.contradicted,
        }
        counts |= {"counted": self.counted, "parts": len({pair.part for pair in self.pairs})}
        return {
            "schema_version": 1,
            "models": [side.as_dict() for side in self.sides],
            **counts,
            "sentences": self.sentences,
            "differing": differing,
        }


def compare(
    detectors: tuple[LoadedDetector, LoadedDetector],
    material: Material,
    on_image: Callable[[int, int], object] = lambda *_: None,
) -> Comparison:
    """Ask two detectors, each at its own thresholds, of all pictures on which neither was trained.

    Raises SettingsError for one detector twice, DataError where no picture is left.
    """
    if detectors[0].info.sha256 == detectors[1].info.sha256:
        raise SettingsError("the same model twice; name two that differ")
    unseen = _unseen(material, trained_on(detectors))
    left_out = len(material.pictures) - len(unseen)
    if not unseen:
        why = f"all {left_out} were trained on by one of the two" if left_out else "nothing was judged good or bad"
        raise DataError(f"no judged picture is left to compare on: {why}; judge others first")
    shown_parts = _parts(unseen, material.parts)
    pairs: list[Pair] = []
    differing = 0
    for number, picture in enumerate(unseen, start=1):
        pair = _pair(detectors, picture, shown_parts[picture.sha256])
        differing += pair.differs
        pairs.append(pair if differing <= MOST_HEATS else replace(pair, heats=(None, None)))
        on_image(number, len(unseen))
    sides = (_side(detectors[0].info, pairs, 0), _side(detectors[1].info, pairs, 1))
    names = told_apart([(each.info.name, each.info.sha256) for each in detectors])
    unknown = tuple(name for name, each in zip(names, detectors, strict=True) if not each.manifest.training_files)
    counted = "part" if len({*shown_parts.values()}) < len(unseen) else "picture"
    left = {"left_out": left_out, "contradicted": material.contradicted}
    return Comparison(sides=sides, pairs=tuple(pairs), unknown=unknown, counted=counted, **left)


def told_apart(models: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each of (name, SHA-256): its own, and where others have the same, digits of the SHA-256 beside."""
    shared = Counter(name for name, _ in dict.fromkeys(models))
    return [f"{name} {digest[:DIGITS]}" if shared[name] > 1 else name for name, digest in models]


def trained_on(detectors: Sequence[LoadedDetector]) -> frozenset[str]:
    """The SHA-256 of all files on which any of them was trained."""
    return frozenset(digest for each in detectors for digest in each.manifest.training_files)


def labelled_pictures(data: Path, layout: str = "auto") -> Material:
    """The pictures of a labelled folder or table; of exact copies one.

    Raises DataError, ImageError for a file that cannot be opened.
    """
    samples = [(_digest(each.path), each) for each in read_layout(data, layout, good_needed=False)]
    labels: dict[str, set[int]] = {}
    parts: dict[str, set[str]] = {}
    for digest, each in samples:
        labels.setdefault(digest, set()).add(each.label)
        parts.setdefault(digest, set()).add(each.group)
    once = {digest: each for digest, each in samples if len(labels[digest]) == 1}
    pictures = [
        Judged(id=each.id, label=each.label, sha256=digest, content=each.path.read_bytes)
        for digest, each in once.items()
    ]
    shows = {digest: frozenset(groups) for digest, groups in parts.items()}
    return Material(pictures=pictures, parts=shows, contradicted=len(labels) - len(once))


def _unseen(material: Material, trained: frozenset[str]) -> list[Judged]:
    """The pictures that are not trained on and show no part that is on one that is."""
    none: frozenset[str] = frozenset()
    learned = none.union(*(material.parts.get(digest, none) for digest in trained))
    return [
        each
        for each in material.pictures
        if each.sha256 not in trained and not material.parts.get(each.sha256, none) & learned
    ]


def _parts(pictures: Sequence[Judged], known: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """A name for what each picture shows, by SHA-256: its part, or itself. Parts that one picture shows are one."""
    names = {each.sha256: {f"part {name}" for name in known.get(each.sha256, ())} or {each.sha256} for each in pictures}
    same: dict[str, set[str]] = {}  # each name: all that are the same part
    for together in names.values():
        all_ = together.union(*(same.get(name, {name}) for name in together))
        same.update(dict.fromkeys(all_, all_))
    return {digest: min(same[next(iter(together))]) for digest, together in names.items()}


def _pair(detectors: tuple[LoadedDetector, LoadedDetector], picture: Judged, part: str) -> Pair:
    content = picture.content()
    asked = [_asked(detector, content) for detector in detectors]
    (one, one_score, one_heat), (other, other_score, other_heat) = asked
    heats = (one_heat, other_heat) if one != other else (None, None)
    told = {"decisions": (one, other), "raw_scores": (one_score, other_score), "heats": heats}
    return Pair(id=picture.id, part=part, label=picture.label, **told)  # type: ignore[arg-type]


def _asked(detector: LoadedDetector, content: bytes) -> tuple[str, float | None, HeatMap | None]:
    try:
        answer = detector.inspect(content)
    except ImageError:
        return "not inspected", None, None
    return answer.decision, answer.raw_score, answer.heat_map


def _side(model: ModelInfo, pairs: Sequence[Pair], side: int) -> Side:
    said = Counter((TRUTH[pair.label], pair.decisions[side]) for pair in pairs)
    decided = Counter(pair.decisions[side] for pair in pairs)
    return Side(
        model=model,
        right=said["good", "good"] + said["bad", "bad"],
        wrong=said["good", "bad"] + said["bad", "good"],
        review=decided["review"],
        not_inspected=decided["not inspected"],
        escapes=_rate(pairs, side, 1, "good"),
        false_alarms=_rate(pairs, side, 0, "bad"),
    )


def _rate(pairs: Sequence[Pair], side: int, label: int, wrong: str) -> Rate:
    """Of the parts with inspected pictures of this label, how many have one that is decided wrongly."""
    inspected = [pair for pair in pairs if pair.label == label and pair.decisions[side] != "not inspected"]
    wrongly = {pair.part for pair in inspected if pair.decisions[side] == wrong}
    return Rate(k=len(wrongly), n=len({pair.part for pair in inspected}))


def _only_right(pairs: Sequence[Pair]) -> tuple[int, int]:
    """On how many parts the first alone is right, and the second alone: right on each picture of it."""
    wrong = [{pair.part for pair in pairs if pair.decisions[side] != TRUTH[pair.label]} for side in (0, 1)]
    return len(wrong[1] - wrong[0]), len(wrong[0] - wrong[1])


def _chance(one: int, other: int) -> float:
    """Two-sided sign test (McNemar 1947, exact): how often two equals differ at least like that."""
    return float(binomtest(one, one + other).pvalue)


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise ImageError(f"{shown(path)}: cannot be read ({reason}); mend or remove it") from None
