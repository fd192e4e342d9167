"""Verbs that make a detector and measure it: audit, train, evaluate, compare, threshold, demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from weakspot.cli import flags
from weakspot.cli.entry import app, examples

if TYPE_CHECKING:
    from weakspot.jobs.compare import Material


@app.command(
    epilog=examples(
        "weakspot audit parts/",
        "weakspot audit KolektorSDD/ --layout kolektorsdd -o audit/",
        "weakspot audit parts/ --json",
    )
)
def audit(
    data: flags.Data,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for audit.json; it is made.", show_default=False)
    ] = None,
    settings: flags.Settings = None,
    layout: flags.Layout = "auto",
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Say what is wrong with labelled images: unreadable files, copies, and cues that give the label away."""
    from weakspot import progress, terminal
    from weakspot.jobs.audit import audit_folder
    from weakspot.settings import TrainSettings, read_settings

    read = read_settings(TrainSettings, settings).read
    with progress.counting("images read", quiet) as on_image:
        found = audit_folder(data, read, layout, output, on_image)
    terminal.show_audit(found, as_json)
    raise typer.Exit(1 if found.left_out else 0)


@app.command(
    epilog=examples(
        "weakspot train parts/ -o runs/first",
        "weakspot train parts/ -o runs/quick --size 256x256 --schedule 0.5",
        "weakspot train parts/ -o runs/few --positives 10 --rule no_escapes",
        "weakspot train parts/ -o runs/strict --max-escapes 0.01 --max-false-alarms 0.02",
        "weakspot train parts/ -o runs/line3 --settings line3.toml",
        "weakspot train parts/ -o runs/clamped --ignore clamps.png  # white: not inspected, now and later",
        "weakspot train parts/ -o runs/rival --recipe segdec_masks --masks use  # a rival, beside it",
        "weakspot train --from /data/weakspot -o runs/next  # on what people judged in a service",
        "weakspot train parts/ -o runs/first --resume  # go on where it stopped",
    )
)
def train(
    output: flags.Output,
    data: flags.DataOrVerdicts = None,
    verdicts: flags.Verdicts = None,
    store: flags.StoreUrl = None,
    settings: flags.Settings = None,
    layout: flags.Layout = "auto",
    recipe: flags.Recipe = None,
    weights: flags.WeightsFrom = None,
    size: flags.Size = None,
    minutes: flags.Minutes = None,
    positives: Annotated[
        int | None,
        typer.Option(
            help="Bad images to train on, drawn by the setting draw_seed; 0: none; default: all.", show_default=False
        ),
    ] = None,
    ignore: flags.IgnoreAlways = None,
    masks: Annotated[
        Literal["ignore", "use"] | None,
        typer.Option(help="use: bad images with a mask are taught by it; default ignore.", show_default=False),
    ] = None,
    hold_out: Annotated[
        float | None, typer.Option(help="Share of the parts kept for the report's test.", show_default=False)
    ] = None,
    schedule: flags.Schedule = None,
    rule: flags.Rule = None,
    max_false_alarms: flags.MaxFalseAlarms = None,
    max_escapes: flags.MaxEscapes = None,
    seed: flags.Seed = None,
    device: flags.Device = None,
    threads: flags.Threads = None,
    resume: flags.Resume = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a detector: one model file, and a report on images it had not seen."""
    from weakspot import progress, terminal
    from weakspot.settings import TrainSettings, parse_size, read_settings

    what = flags.given(recipe=recipe, masks=masks, weights_from=weights, seed=seed, ignore=ignore, positives=positives)
    what |= {"size": size and parse_size(size), "threshold": flags.limits(rule, max_false_alarms, max_escapes)}
    how = {"minutes": minutes, "schedule": schedule, "hold_out": hold_out, "device": device, "threads": threads}
    chosen = read_settings(TrainSettings, flags.settings_of(settings, output, resume), **what, **how)
    flags.refuse_idle_limits(chosen.threshold.rule, max_false_alarms, max_escapes)
    from weakspot.jobs import train as jobs  # now that the settings are right: it brings torch, which takes seconds

    where, title = _source(data, verdicts, store, output, resume)
    with progress.progress(quiet, terminal.differing(chosen)) as shows:
        result = jobs.train(where, chosen, layout=layout, output=output, resume=resume, progress=shows, title=title)
    terminal.show_training(result, as_json)
    raise typer.Exit(result.exit_status)


def _source(
    data: Path | None, verdicts: Path | None, store: str | None, output: Path, resume: bool
) -> tuple[Path, str | None]:
    """What is trained on, and what the detector is called; None: as its data."""
    flags.refuse_two_sources(data, verdicts, store)
    if verdicts is None:
        return data or Path(), None
    from weakspot.service.learning import judged_folder

    return judged_folder(verdicts, store, output, resume), output.resolve().name


@app.command(
    epilog=examples(
        "weakspot evaluate part.weakspot labelled/ -o evaluation/",
        "weakspot evaluate part.weakspot parts.csv -o evaluation/ --json",
    )
)
def evaluate(
    model: flags.Model,
    data: flags.Data,
    output: flags.Output,
    layout: flags.Layout = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier evaluation in --output.")] = False,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Judge labelled images: escapes, false alarms and ranking with intervals, in a report, a table and as JSON."""
    from weakspot import progress, terminal
    from weakspot.jobs.evaluate import evaluate_model

    with progress.counting("images judged", quiet) as on_image:
        evaluation = evaluate_model(
            model, data, output, layout=layout, overwrite=overwrite, threads=threads, on_image=on_image
        )
    terminal.show_evaluation(evaluation, output, as_json)
    raise typer.Exit(1 if evaluation.refused else 0)


@app.command(
    epilog=examples(
        "weakspot compare old.weakspot new.weakspot labelled/",
        "weakspot compare old.weakspot new.weakspot --from /data/weakspot  # on what people judged in a service",
    )
)
def compare(
    one: Annotated[Path, typer.Argument(metavar="MODEL_A", help="Model file, *.weakspot.", show_default=False)],
    other: Annotated[Path, typer.Argument(metavar="MODEL_B", help="Another one.", show_default=False)],
    data: flags.DataOrVerdicts = None,
    verdicts: flags.Verdicts = None,
    store: flags.StoreUrl = None,
    layout: flags.Layout = "auto",
    threads: flags.Threads = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Say which of two models is right where they differ, on labelled images that neither was trained on."""
    from weakspot import progress, terminal
    from weakspot.inspection.loaded import LoadedDetector
    from weakspot.jobs.compare import compare as compare_on
    from weakspot.jobs.compare import trained_on

    detectors = LoadedDetector.load_exact(one, threads), LoadedDetector.load_exact(other, threads)
    material = _judged(data, verdicts, store, layout, trained_on(detectors))
    with progress.counting("images judged", quiet) as on_image:
        found = compare_on(detectors, material, on_image)
    terminal.show_comparison(found, as_json)


def _judged(
    data: Path | None, verdicts: Path | None, store: str | None, layout: str, trained: frozenset[str]
) -> "Material":
    """What two models are compared on."""
    flags.refuse_two_sources(data, verdicts, store)
    if verdicts is None:
        from weakspot.jobs.compare import labelled_pictures

        return labelled_pictures(data or Path(), layout)
    from weakspot.service.learning import reviewed_pictures

    return reviewed_pictures(verdicts, store, trained)


@app.command(
    epilog=examples(
        "weakspot threshold part.weakspot  # show them",
        'weakspot threshold part.weakspot --max-false-alarms 0.02 --reason "too much to review"',
        'weakspot threshold part.weakspot --bad-from 1.5 --reason "false alarms"',
    )
)
def threshold(
    model: flags.Model,
    bad_from: Annotated[
        float | None, typer.Option(help="Raw score from which a part is bad.", show_default=False)
    ] = None,
    good_below: Annotated[
        float | None, typer.Option(help="Raw score below which a part is good; between the two it is for review.")
    ] = None,
    max_false_alarms: flags.MaxFalseAlarms = None,
    max_escapes: flags.MaxEscapes = None,
    reason: Annotated[
        str | None, typer.Option(help="Why; kept in the model file with the change.", show_default=False)
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Show a model's thresholds, or change them: the change and its reason stay in the file.

    A limit chooses both thresholds by the scores of the training images; one that is not given is the training's.
    """
    from weakspot import terminal
    from weakspot.inspection.model_file import read_model_file
    from weakspot.jobs.threshold import held_out_counts, thresholds_of

    record = thresholds_of(model, bad_from, good_below, reason, max_false_alarms, max_escapes)
    terminal.show_thresholds(record, held_out_counts(read_model_file(model).manifest), as_json)


@app.command(
    epilog=examples("weakspot demo -o runs/demo", "weakspot demo -o runs/demo --schedule 0.1  # a look, finds little")
)
def demo(
    output: flags.Output,
    settings: flags.Settings = None,
    recipe: flags.Recipe = None,
    size: flags.Size = None,
    minutes: flags.Minutes = None,
    schedule: flags.Schedule = None,
    seed: flags.Seed = None,
    device: flags.Device = None,
    threads: flags.Threads = None,
    resume: flags.Resume = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train on real images that come with a package (solar cells, at most 30 bad) and test on others: ten minutes."""
    from weakspot import progress, terminal
    from weakspot.jobs import demo as jobs
    from weakspot.settings import parse_size

    numbers = {"minutes": minutes, "schedule": schedule, "seed": seed, "threads": threads}
    mine = flags.settings_of(settings, output, resume)
    chosen = jobs.demo_settings(mine, recipe=recipe, size=size and parse_size(size), device=device, **numbers)
    with progress.progress(quiet) as shows:
        shows.note(terminal.differing(chosen))
        result = jobs.demo(chosen, output=output, resume=resume, progress=shows)
    terminal.show_training(result, as_json)
    raise typer.Exit(result.exit_status)
