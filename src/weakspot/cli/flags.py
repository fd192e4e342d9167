"""The arguments and flags that verbs share, each stated once: the same name, meaning and default everywhere."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from weakspot.errors import SettingsError, shown
from weakspot.runs import Run
from weakspot.settings import RecipeName, RuleName

Data = Annotated[
    Path,
    typer.Argument(
        help="Folder (or CSV table) of labelled images: good/ and bad/, or one of the layouts.", show_default=False
    ),
]
DataOrVerdicts = Annotated[
    Path | None,
    typer.Argument(
        metavar="[DATA]",
        help="Folder (or CSV table) of labelled images: good/ and bad/, or one of the layouts. Or --from.",
        show_default=False,
    ),
]
Verdicts = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FOLDER",
        help="Instead of DATA: what people judged in the service whose data folder this is.",
        show_default=False,
    ),
]
Model = Annotated[Path, typer.Argument(help="Model file, *.weakspot.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write into; it is made.", show_default=False)]
Place = Annotated[
    str, typer.Option("--output", "-o", help="Folder to write into; it is made.", show_default=False)
]  # which may be an address in object storage
Layout = Annotated[
    str,
    typer.Option(
        help="How DATA lies on disk: auto, folder, mvtec, kolektorsdd, kolektorsdd2, magnetic_tile, dagm, elpv, table."
    ),
]
Settings = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE.toml", help="Settings as TOML; flags win over it.", show_default=False),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="HxW",
        help="Height x width in pixels; default: the images' own, reduced until it fits --minutes.",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None, typer.Option(help="Draws the weights and the order of images; default 0.", show_default=False)
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where to compute; default auto.", show_default=False)
]
Minutes = Annotated[
    float | None, typer.Option(help="How long training may take, where no --size is given.", show_default=False)
]
Schedule = Annotated[
    float | None,
    typer.Option(help="Factor on all iterations; below 0.2 nothing useful is learned.", show_default=False),
]
Recipe = Annotated[
    RecipeName | None,
    typer.Option(
        help="How to train; default sharp. paper: as printed; the others are rivals (docs/rivals.md), of which *_masks "
        "need --masks use.",
        show_default=False,
    ),
]
WeightsFrom = Annotated[
    str | None,
    typer.Option(
        "--weights-from",
        metavar="FILE.safetensors",
        help="First weights of ResNet-18, for --recipe resnet18_cam; default: random.",
        show_default=False,
    ),
]
Rule = Annotated[RuleName | None, typer.Option(help="What chooses the thresholds; default limits.", show_default=False)]
MaxFalseAlarms = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of good parts that may be called bad, such as 0.01.", show_default=False),
]
MaxEscapes = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of bad parts that may be called good, such as 0.05.", show_default=False),
]
Runtime = Annotated[
    Literal["auto", "onnxruntime", "openvino"],
    typer.Option(help="What computes; auto: the fastest here, measured once."),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(help="How precisely; auto: the faster one here. Decisions are those of fp32."),
]
Memory = Annotated[Literal["fast", "small"], typer.Option(help="small: less memory where images are large, more time.")]
Ignore = Annotated[
    Path | None,
    typer.Option(metavar="MASK", help="An image of their proportions, white where they are not inspected."),
]
IgnoreAlways = Annotated[
    str | None,
    typer.Option(
        "--ignore", metavar="MASK", help="An image of their proportions, white where nothing is ever inspected."
    ),
]
MAX_MEMORY = 1000.0  # megabytes
MaxMemory = Annotated[
    float,
    typer.Option(
        min=100, max=1_000_000, help="Megabytes that may be taken; images at a size that needs more are seen in tiles."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads to compute on; default: as many as this process may use.", show_default=False),
]
ServiceData = Annotated[Path, typer.Option("--data", help="Folder of a service: store, pictures, models.")]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="postgresql://USER@HOST/NAME; default: SQLite in the data folder.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the training in --output, by its settings.")]
Json = Annotated[bool, typer.Option("--json", help="Data as JSON on stdout; everything else on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress; errors still come on stderr.")]


def limits(rule: str | None, max_false_alarms: float | None, max_escapes: float | None) -> dict[str, object] | None:
    """The settings of `threshold` that were given; None where none were."""
    return given(rule=rule, max_false_alarm_rate=max_false_alarms, max_escape_rate=max_escapes) or None


def settings_of(settings: Path | None, output: Path, resume: bool) -> Path | None:
    """The file of settings that was given, or the one of the run that is gone on with."""
    mine = Run(output).settings
    return mine if resume and settings is None and mine.is_file() else settings


def given(**values: object) -> dict[str, object]:
    """The settings that were given, without those that are None."""
    return {name: value for name, value in values.items() if value is not None}


def numbers(flag: str, text: str) -> tuple[int, ...]:
    """'0,1,2' → (0, 1, 2). Raises SettingsError naming the flag."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isdecimal() for part in parts):
        raise SettingsError(f"{flag} {text!r}; needed are whole numbers with commas between them, such as 0,1,2")
    return tuple(map(int, parts))


def refuse_idle_limits(rule: RuleName, max_false_alarms: float | None, max_escapes: float | None) -> None:
    """Raise SettingsError for a limit that the rule would not hold."""
    for flag, value, rules in (
        ("--max-false-alarms", max_false_alarms, ("limits", "false_alarms")),
        ("--max-escapes", max_escapes, ("limits",)),
    ):
        if value is not None and rule not in rules:
            raise SettingsError(f"{flag} {value:g} with rule {rule}, which holds no such limit; take --rule limits")


def refuse_two_sources(data: Path | None, verdicts: Path | None, store: str | None) -> None:
    """Raise SettingsError unless there is either DATA or --from, and --store only beside the latter."""
    if data is None and verdicts is None:
        raise SettingsError("neither DATA nor --from; give a folder of labelled images, or a service's data folder")
    if data is not None and verdicts is not None:
        raise SettingsError("DATA and --from at once; give one, or write the verdicts beside DATA by export-verdicts")
    if store is not None and verdicts is None:
        raise SettingsError("--store: not without --from, the data folder in which the pictures lie")


def refuse_many(places: list[str], workers: int | None) -> None:
    """Raise SettingsError for places that pieces alone read or write, and for workers, where there are none."""
    if workers is not None:
        raise SettingsError(f"--workers {workers}: of Ray alone; add --ray local, or leave it out")
    for place in places:
        if "://" in place or (place.lower().endswith((".txt", ".parquet")) and Path(place).is_file()):
            needed = "addresses, lists (.txt) and Parquet tables are for --parquet and --ray"
            raise SettingsError(f"{shown(place)}: {needed}; add --parquet")


def refuse_beside(flag: str, **others: bool) -> None:
    """Raise SettingsError for a flag that does nothing beside this one."""
    for name, given_too in others.items():
        if given_too:
            raise SettingsError(f"--{name.replace('_', '-')}: not with {flag}; leave one of them out")
