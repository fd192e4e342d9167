"""Two detectors on the same judged pictures, of which neither was trained on any: who is right where they differ.

Knows no store: whoever has the pictures hands them over.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from weakspot.data.layouts import read_layout
from weakspot.errors import DataError, ImageError, SettingsError, shown
from weakspot.evaluation.intervals import Proportion
from weakspot.inspection.inspection import HeatMap, ModelInfo
from weakspot.inspection.loaded import LoadedDetector
from weakspot.jobs.comparison import TRUTH, Comparison, Pair, Side

MOST_HEATS = 60  # differing pairs whose heat is kept: each holds the heat of two detectors
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


def _rate(pairs: Sequence[Pair], side: int, label: int, wrong: str) -> Proportion:
    """Of the parts with inspected pictures of this label, how many have one that is decided wrongly."""
    inspected = [pair for pair in pairs if pair.label == label and pair.decisions[side] != "not inspected"]
    wrongly = {pair.part for pair in inspected if pair.decisions[side] == wrong}
    return Proportion(k=len(wrongly), n=len({pair.part for pair in inspected}))


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise ImageError(f"{shown(path)}: cannot be read ({reason}); mend or remove it") from None
