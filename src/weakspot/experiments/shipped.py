"""The experiments of a clone, by name: where each lies, what it shows, and how many of its records there are."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from weakspot.errors import SettingsError, shown
from weakspot.experiments.experiment import SCALES, Experiment, Scale, combinations, read_experiment

CLONE = Path(__file__).resolve().parents[3]  # of an installed wheel it has no experiments/
FOLDER, RESULTS = CLONE / "experiments", CLONE / "results"


@dataclass(frozen=True, kw_only=True)
class State:
    """How far an experiment is."""

    name: str
    claim: str
    expected: str
    minutes: float | None  # of all its runs on one core, about; None: nobody has said
    done: int  # records
    needed: int
    scale: Scale | None


def find_experiment(name: str) -> Path:
    """The file of that name or path. Raises SettingsError with the nearest name."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    known = {each.stem: each for each in FOLDER.glob("*.toml")}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known)) or 'none here'}"
    raise SettingsError(f"no experiment is named {shown(name)}; {hint} (or give the path of a .toml file)")


def results_of(table: Path, output: Path | None) -> Path:
    """Where the records of an experiment go: as asked, else the clone's results/ for an experiment of the clone."""
    if output is None and table.resolve().parent != FOLDER:
        raise SettingsError(f"{shown(table)}: is none of this clone's experiments; say where its records go: --output")
    return output or RESULTS


def states(results: Path | None, scale: Scale | None) -> list[State]:
    """Of all experiments of the clone, in order of their names."""
    return [_state(table, results or RESULTS, scale) for table in sorted(FOLDER.glob("*.toml"))]


def _state(table: Path, results: Path, scale: Scale | None) -> State:
    experiment = read_experiment(table)
    if experiment.scale and scale:  # the others have their own size
        experiment = read_experiment(table, scale)
    runs = list(combinations(experiment))
    done = sum((results / table.stem / f"{run.name}.json").is_file() for run in runs)
    return State(
        name=table.stem,
        claim=experiment.claim,
        expected=experiment.expected,
        minutes=_minutes_a_run(experiment) * len(runs) or None,
        done=done,
        needed=len(runs),
        scale=experiment.scale,
    )


def _minutes_a_run(experiment: Experiment) -> float:
    """In proportion to the pixels, where the file says the minutes at quarter size."""
    height, width = SCALES[experiment.scale or "quarter"]
    return experiment.minutes_a_run * height * width / (SCALES["quarter"][0] * SCALES["quarter"][1])
