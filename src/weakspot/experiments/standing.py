"""Whether the default recipe stands above every rival: both on the same pictures, size, split and seeds, from records.

Joins records of several experiments; makes Markdown, and draws no conclusion that the figures do not.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from weakspot.experiments.records import Record
from weakspot.experiments.series import folds_of, mean_of_folds
from weakspot.settings import TrainSettings, as_plain

DEFAULT = "sharp"
AP = "average_precision"
# settings that change who is tested and who trains: alike in what is compared
ALIKE = ("size", "positives", "split", "hold_out", "read")
# settings that change nothing of what a recipe learns from them, or that are said of a rival
OPEN = (
    *ALIKE, "recipe", "masks", "weights_from", "split_seed", "draw_seed", "seed", "minutes", "device", "precision",
    "memory", "threads", "folds", "fold_schedule", "unlearned", "threshold",
)  # fmt: skip
HEADS = "data", "split", "size", "bad", "rival", "sees masks", "seeds", "AP of the default", "AP of the rival", "by"
NOTE = f"""## Is the default above every rival?

`{DEFAULT}`, which sees no mask, beside each other recipe, both as they are, on the same pictures, size, split and
number of bad pictures, and by the same seeds: mean ± standard deviation over those that both have on record. *By* is
the mean of the differences; **bold** where the default does not stand above.
"""

Seeds = dict[tuple[int, ...], list[Record]]  # who is tested, who trains, the weights → a record a fold


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The default and one rival, a figure for each seed that both have."""

    data: str
    split: str
    size: str
    bad: str
    rival: str
    sees_masks: bool
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ahead(self) -> float:
        """By how much AP of the default is higher, mean over the seeds."""
        return float(np.mean(np.subtract(self.ours, self.theirs)))


def standing(records: Iterable[Record]) -> list[str]:
    """The section of the page, as lines."""
    found = list(_comparisons(records))
    if not found:
        return [NOTE, "No rival is on record yet beside the default, with the same pictures, size and seeds.\n"]
    rows = [f"| {' | '.join(row)} |" for row in (HEADS, ["---"] * len(HEADS), *map(_cells, found))]
    return [NOTE, *rows, "", _in_words([each for each in found if not each.sees_masks]), ""]


def _comparisons(records: Iterable[Record]) -> Iterator[Comparison]:
    together: dict[tuple[str, ...], dict[tuple[str, bool], Seeds]] = defaultdict(lambda: defaultdict(dict))
    for record in filter(_is_plain, records):
        recipe = record["recipe"], record["settings"].get("masks") == "use"
        folds = together[_tested_on(record)][recipe].setdefault(_drawn_by(record), [])
        if folds_of([record]) - folds_of(folds) or not folds:  # the first of those that are on record twice
            folds.append(record)
    for (data, split, size, _, bad, _), recipes in sorted(together.items()):
        default = recipes.get((DEFAULT, False), {})
        for rival, sees_masks in sorted(recipes.keys() - {(DEFAULT, False)}):
            ours, theirs = _of_shared_seeds(default, recipes[rival, sees_masks])
            if ours:
                yield Comparison(
                    data=data, split=split, size=size, bad=bad, rival=rival, sees_masks=sees_masks, ours=ours,
                    theirs=theirs,
                )  # fmt: skip


def _is_plain(record: Record) -> bool:
    """Whether a recipe was run as it is, and ranked its test pictures."""
    defaults = as_plain(TrainSettings())
    changed = [key for key, value in record["settings"].items() if key in defaults and value != defaults[key]]
    return record.get("variant") is None and set(changed) <= set(OPEN) and AP in record["metrics"]


def _tested_on(record: Record) -> tuple[str, ...]:
    """What must be alike: data, split, size, all of it as JSON, bad pictures that were asked for, fingerprint."""
    defaults, settings = as_plain(TrainSettings()), record["settings"]
    alike = json.dumps({key: settings.get(key, defaults[key]) for key in ALIKE}, sort_keys=True)
    size, asked = "×".join(map(str, record["size"])), settings.get("positives")
    bad = "all" if asked is None else str(asked)
    return str(record.get("experiment")), record["split"]["name"], size, alike, bad, record["data_fingerprint"]


def _drawn_by(record: Record) -> tuple[int, ...]:
    seed: int = record["seed"]
    drawn = record["settings"] | {"weights_seed": record.get("weights_seed", seed)}
    return tuple(int(drawn.get(name, seed)) for name in ("split_seed", "draw_seed", "weights_seed"))


def _of_shared_seeds(ours: Seeds, theirs: Seeds) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """AP by seed, mean of the folds, of the seeds that have all folds that any has, on both sides."""
    needed = set[int]().union(*(folds_of(records) for seeds in (ours, theirs) for records in seeds.values()))
    shared = [seed for seed in sorted(ours.keys() & theirs.keys())
              if folds_of(ours[seed]) == folds_of(theirs[seed]) == needed]  # fmt: skip
    own, other = (tuple(mean_of_folds(seeds[each])[AP] for each in shared) for seeds in (ours, theirs))
    return own, other


def _cells(each: Comparison) -> list[str]:
    by = f"{each.ahead:+.3f}"
    return [
        each.data, each.split, each.size, each.bad, each.rival, "yes" if each.sees_masks else "", str(len(each.ours)),
        _mean(each.ours), _mean(each.theirs), by if each.ahead > 0 else f"**{by}**",
    ]  # fmt: skip


def _mean(values: tuple[float, ...]) -> str:
    text = f"{np.mean(values):.3f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.3f}"


def _in_words(found: list[Comparison]) -> str:
    """Of the rivals that see no masks."""
    if not found:
        return "No rival without masks is on record yet beside the default.\n"
    few = f"; {sum(len(each.ours) < 3 for each in found)} rest on fewer than three seeds"
    above = sum(each.ahead > 0 for each in found)
    told = f"The default stands above a rival that sees no masks in {above} of {len(found)} rows"
    behind = [f"{each.rival} on {each.data}, {each.bad} bad" for each in found if each.ahead <= 0]
    few = few if any(len(each.ours) < 3 for each in found) else ""
    return f"{told}{few}. " + (f"Not above: {'; '.join(behind)}.\n" if behind else "It stands above in all.\n")
