"""The words that call a part good or bad: one list for folders, tables and classifiers alike. German ones are in it."""

import re
from collections.abc import Iterable

from weakspot.errors import DataError, shown

GOOD = frozenset(
    "good ok okay normal pass passed io accept accepted intact nodefect nodefects defectfree nondefective undamaged "
    "flawless faultless gut inordnung fehlerfrei unbeschädigt".split()
)
BAD = frozenset(
    "bad ng nok notok notokay ko nogood notgood abnormal anomaly anomalies anomalous defect defects defective fail "
    "failed faulty nio reject rejected damaged schlecht nichtok nichtinordnung fehler fehlerhaft defekt beschädigt "
    "ausschuss".split()
)
# Kinds of defect speak only where no word above does: good/hole/ may be the good parts' hole as the camera sees it.
KINDS = frozenset(
    "crack cracks cracked scratch scratches scratched dent dents dented hole holes stain stains chip chipped burr "
    "burrs pit pits blowhole break broken fray contamination corrosion rust riss risse kratzer delle".split()
)
UNCLEAR = frozenset(("positive", "negative", "pos", "neg", "0", "1"))  # opposite things to different people
NUMBERS = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}  # where somebody states a label on purpose


def plain(word: str) -> str:
    """The word in lower case without spaces, dots, dashes and underscores."""
    return re.sub(r"[ _.\-]", "", word.casefold())


def label_of(word: str) -> int | None:
    """1 for a word that means bad, 0 for one that means good, None for any other."""
    return 0 if plain(word) in GOOD else 1 if plain(word) in BAD else None


def stated_label(text: str) -> int | None:
    """The same for a cell or a class that somebody wrote as a label: a number or a kind of defect will do."""
    return NUMBERS.get(text.casefold(), 1 if plain(text) in KINDS else label_of(text))


def place_of_label(words: Iterable[str], path: object) -> int | None:
    """Which of a path's folders says whether its parts are good or bad; None where none does.

    Raises DataError where one says good and another bad.
    """
    words = list(words)
    places = [place for place, word in enumerate(words) if label_of(word) is not None]
    if len({label_of(words[place]) for place in places}) > 1:
        contradiction = " and ".join(shown(words[place]) for place in places[:2])
        way_out = "rename or move one of the folders"
        raise DataError(f"{shown(path)}: its folders {contradiction} call it good and bad; {way_out}")
    return next(iter(places or [place for place, word in enumerate(words) if plain(word) in KINDS]), None)
