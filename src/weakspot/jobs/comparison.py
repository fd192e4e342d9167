"""What two detectors say of the same judged pictures, in counts and in words. Asks no detector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest

from weakspot.errors import amount, shown
from weakspot.evaluation.intervals import Proportion, at_most, clopper_pearson, share
from weakspot.inspection.inspection import HeatMap, ModelInfo

TRUTH = ("good", "bad")
_COUNTED = {  # what a count counts, in words
    "part": "Rates and chance count physical parts, whose pictures are alike: one wrong picture makes it wrong",
    "picture": "Rates and chance count pictures: of no two it is known that they show one part",
}
PROVES_LITTLE = 0.05  # so few pictures that the interval of a rate reaches beyond this even without a miss


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
class Side:
    """What one of the two makes of all pictures, right to not inspected; the rates count parts."""

    model: ModelInfo
    right: int
    wrong: int
    review: int
    not_inspected: int
    escapes: Proportion  # of the parts with bad pictures, those of which one is decided good
    false_alarms: Proportion

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        rates = {name: _as_dict(getattr(self, name)) for name in ("escapes", "false_alarms")}
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


def _as_dict(rate: Proportion) -> dict[str, Any]:
    return {"k": rate.k, "n": rate.n, "interval": list(rate.interval) if rate.n else None}


def _only_right(pairs: Sequence[Pair]) -> tuple[int, int]:
    """On how many parts the first alone is right, and the second alone: right on each picture of it."""
    wrong = [{pair.part for pair in pairs if pair.decisions[side] != TRUTH[pair.label]} for side in (0, 1)]
    return len(wrong[1] - wrong[0]), len(wrong[0] - wrong[1])


def _chance(one: int, other: int) -> float:
    """Two-sided sign test (McNemar 1947, exact): how often two equals differ at least like that."""
    return float(binomtest(one, one + other).pvalue)
