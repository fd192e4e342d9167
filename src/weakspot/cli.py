"""The verbs of the command line: each reads its arguments, calls one function, and shows what came of it."""

import io
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from weakspot import flags
from weakspot.errors import WeakspotError, shown

# Whatever takes time to import is imported inside the verb that needs it: `weakspot --help` and `weakspot inspect`
# start without torch.

UsageError: Any = typer.BadParameter.__base__  # of the click inside typer, which is not the package click
USAGE = 2  # exit status
TRAINING_PACKAGES = {"torch", "onnx", "onnxscript", "tensorboard"}
CLUSTER_PACKAGES = {"ray", "pyarrow", "fsspec", "s3fs", "gcsfs", "adlfs"}
SERVING_PACKAGES = set("alembic argon2 fastapi multipart prometheus_client psycopg sqlalchemy uvicorn".split())
MISSING_EXTRAS = {
    **dict.fromkeys(TRAINING_PACKAGES, "train"), **dict.fromkeys(CLUSTER_PACKAGES, "cluster"),
    **dict.fromkeys(SERVING_PACKAGES, "serve"), "elpv_dataset": "demo", "openvino": "openvino", "nncf": "export",
}  # fmt: skip


def _examples(*commands: str) -> str:
    return "\n\n".join(("[bold]Examples[/bold]", *commands))


app = typer.Typer(
    name="weakspot",
    help="Finds surface defects, taught by images labelled good or bad: no masks, no GPU, no internet.\n\n"
    "Exit status: 0 well, 1 failed or an image could not be read, 2 wrong usage, "
    "3 a bad part was found and --fail-on-bad given, 130 Ctrl-C.",
    epilog=_examples(
        "weakspot audit parts/  # what is wrong with these images",
        "weakspot train parts/ -o runs/first  # a model file and a report",
        "weakspot inspect runs/first/model.weakspot new/ -o out/  # decisions",
    ),
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _weakspot(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False,
) -> None:
    if version:
        print(installed_version("weakspot"))
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command(
    epilog=_examples(
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
    epilog=_examples(
        "weakspot train parts/ -o runs/first",
        "weakspot train parts/ -o runs/quick --size 256x256 --schedule 0.5",
        "weakspot train parts/ -o runs/few --positives 10 --rule no_escapes",
        "weakspot train parts/ -o runs/strict --max-escapes 0.01 --max-false-alarms 0.02",
        "weakspot train parts/ -o runs/line3 --settings line3.toml",
        "weakspot train parts/ -o runs/rival --recipe segdec_masks  # a rival, beside it",
        "weakspot train parts/ -o runs/first --resume  # go on where it stopped",
    )
)
def train(
    data: flags.Data,
    output: flags.Output,
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

    limits = flags.given(rule=rule, max_false_alarm_rate=max_false_alarms, max_escape_rate=max_escapes)
    what = {"recipe": recipe, "masks": masks, "weights_from": weights, "seed": seed, "threshold": limits or None}
    how = {"minutes": minutes, "schedule": schedule, "hold_out": hold_out, "device": device, "threads": threads}
    chosen = read_settings(TrainSettings, settings, size=size and parse_size(size), positives=positives, **what, **how)
    flags.refuse_idle_limits(chosen.threshold.rule, max_false_alarms, max_escapes)
    from weakspot.jobs import train as jobs  # now that the settings are right: it brings torch, which takes seconds

    with progress.progress(quiet) as shows:
        shows.note(terminal.differing(chosen))
        result = jobs.train(data, chosen, layout=layout, output=output, resume=resume, progress=shows)
    terminal.show_training(result, as_json)
    raise typer.Exit(result.exit_status)


@app.command(
    epilog=_examples(
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
    epilog=_examples(
        "weakspot inspect part.weakspot new/ -o out/",
        "weakspot inspect part.weakspot 'new/*.png' -o out/ --overlays --fail-on-bad",
        "weakspot inspect part.weakspot new/ -o out/ --ignore clamps.png  # white: not inspected",
        "weakspot inspect part.weakspot new/ -o out/ --json  # a line an image",
        "weakspot inspect part.weakspot s3://line3/2026-11/ -o s3://results/2026-11 --ray local  # very many",
    )
)
def inspect(
    model: flags.Model,
    paths: Annotated[list[str], typer.Argument(help="Images, folders or globs.", show_default=False)],
    output: flags.Place,
    overlays: Annotated[bool, typer.Option("--overlays", help="Write each image with its heat map on it.")] = False,
    heat_maps: Annotated[bool, typer.Option("--heat-maps", help="Write each raw heat map as 16-bit PNG.")] = False,
    runtime: flags.Runtime = "auto",
    precision: flags.Precision = "auto",
    memory: flags.Memory = "fast",
    max_memory: flags.MaxMemory = 1000.0,
    ignore: flags.Ignore = None,
    threads: flags.Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier inspection in --output.")] = False,
    fail_on_bad: Annotated[bool, typer.Option("--fail-on-bad", help="End with 3 when a bad part was found.")] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Very many: Parquet in pieces; the same command again goes on.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The same on a Ray cluster; local: on this machine.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of Ray; default: as many as there are cores.", show_default=False)
    ] = None,
    piece: Annotated[int, typer.Option(min=1, help="Images a piece.")] = 1000,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Decide good, review or bad for new images, and where; a table as CSV and as JSON lines.

    Ends with 1 when an image could not be read. Ctrl-C ends it early and leaves what was judged until then. With
    --parquet or --ray, images and results may lie in object storage, and lists (.txt) and Parquet tables are read.
    """
    from weakspot import progress, terminal
    from weakspot.inspection.folder import inspect_folder
    from weakspot.inspection.loaded import LoadedDetector
    from weakspot.inspection.sources import are_few

    wanted = {"overlays": overlays, "heat_maps": heat_maps, "overwrite": overwrite, "fail_on_bad": fail_on_bad}
    how: dict[str, Any] = {"threads": threads, "precision": precision, "memory": "small" if are_few(paths) else memory}
    if parquet or ray:
        _inspect_many((model, paths, output), wanted, how, (runtime, ray, workers, piece), as_json, quiet)
    with progress.counting("images inspected", quiet or as_json) as counted:
        on_image = terminal.print_inspection if as_json else counted
        detector = LoadedDetector.load(model, runtime, max_memory=max_memory, ignore=ignore, **how)
        summary = inspect_folder(detector, list(map(Path, paths)), Path(output), **wanted, on_image=on_image)
    terminal.show_inspected(summary, as_json)
    raise typer.Exit(summary.exit_status)


def _inspect_many(
    places: tuple[Path, list[str], str], wanted: dict[str, bool], how: dict[str, Any], many: Any, *shows: bool
) -> NoReturn:
    """The verb inspect where results go out in pieces. many: runtime, address of Ray, workers, images a piece."""
    from weakspot import progress, terminal
    from weakspot.inspection.cluster import How, inspect_many

    fail_on_bad, (as_json, quiet), (runtime, ray, workers, piece) = wanted.pop("fail_on_bad"), shows, many
    flags.refuse_beside("--parquet and --ray", **wanted)
    asked = How(runtime=runtime, ray=ray, workers=workers, images_a_piece=piece, fail_on_bad=fail_on_bad, **how)
    with progress.counting("pieces inspected", quiet or as_json) as on_piece:
        tally = inspect_many(*places, asked, on_piece)
    terminal.show_tally(tally, as_json)
    raise typer.Exit(tally.exit_status)


@app.command(
    epilog=_examples(
        "weakspot watch part.weakspot /data/camera -o /data/results --move-to /data/done",
        "weakspot watch part.weakspot /mnt/share -o results/ --every 2  # a network share",
        "weakspot watch part.weakspot new/ -o results/ --once  # what lies there, or came since the last time",
    )
)
def watch(
    model: flags.Model,
    folder: Annotated[Path, typer.Argument(help="Folder that images arrive in.", show_default=False)],
    output: flags.Output,
    once: Annotated[bool, typer.Option("--once", help="Judge what lies there and was not judged, then end.")] = False,
    move_to: Annotated[
        Path | None,
        typer.Option(
            metavar="DONE", help="Move inspected images into this folder, on the same disk.", show_default=False
        ),
    ] = None,
    mark: Annotated[bool, typer.Option("--mark", help="Put .inspected behind the names of inspected images.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Take images of the folders inside it, too.")] = False,
    every: Annotated[
        float, typer.Option(min=0.01, help="Seconds between two looks; an image is whole when two find it the same.")
    ] = 0.2,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds that what cannot be read must not change before that is reported.")
    ] = 10.0,
    cycle: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that an image may take; later ones get a warning.", show_default=False),
    ] = None,
    runtime: flags.Runtime = "auto",
    precision: flags.Precision = "auto",
    max_memory: flags.MaxMemory = 1000.0,
    ignore: flags.Ignore = None,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Judge images as they arrive in a folder: a line each in results.jsonl and results.csv, on disk at once.

    Goes on after a kill where it was, without losing or repeating one. SIGTERM and Ctrl-C end it after the image at
    work, with 0 and 130; --once ends with 1 when an image could not be read.
    """
    from weakspot import progress, terminal
    from weakspot.inspection.arrivals import version_or_none
    from weakspot.inspection.loaded import LoadedDetector
    from weakspot.jobs.watch import How
    from weakspot.jobs.watch import watch as watch_folder

    how = How(every=every, patience=patience, cycle=cycle, once=once, move_to=move_to, mark=mark, deep=deep)
    version = version_or_none(model)
    detector = LoadedDetector.load(model, runtime, threads, precision, max_memory=max_memory, ignore=ignore)
    with progress.progress(quiet) as shows:
        on_image = terminal.print_inspection if as_json else None if quiet else terminal.say_inspection
        watched = watch_folder(detector, (model, version), folder, output, how, on_image, shows.note)
    terminal.show_watched(watched, as_json)
    raise typer.Exit(watched.exit_status)


@app.command(
    epilog=_examples(
        "weakspot serve part.weakspot  # on http://127.0.0.1:8000, data in weakspot-data/",
        "weakspot serve part.weakspot --data /data/weakspot --host 0.0.0.0 --allow-host line3",
        "weakspot serve --data /data/weakspot --store postgresql://weakspot@db/weakspot --keep-days 90",
    )
)
def serve(
    models: Annotated[
        list[Path] | None, typer.Argument(help="Model files; the first answers if none did.", show_default=False)
    ] = None,
    data_folder: flags.ServiceData = Path("weakspot-data"),
    store: flags.StoreUrl = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name by which clients call it.", show_default=False)
    ] = None,
    queue: Annotated[int | None, typer.Option(help="Pictures at work or waiting; default 16.")] = None,
    receive_seconds: Annotated[float | None, typer.Option(help="A client has to send one request; default 30.")] = None,
    megabytes: Annotated[float | None, typer.Option(help="Of one request; default 64.", show_default=False)] = None,
    keep_days: Annotated[
        float | None, typer.Option(help="Remove pictures older than this that nobody judged.", show_default=False)
    ] = None,
    keep_gigabytes: Annotated[
        float | None, typer.Option(help="Remove the oldest such pictures beyond this.", show_default=False)
    ] = None,
    runtime: flags.Runtime = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
) -> None:
    """Inspect pictures that come by HTTP, and keep each answer: on disk before it is given.

    SIGTERM and Ctrl-C end it after the pictures at work, with 0 and 130; 1 when the store failed.
    """
    from weakspot.service.detectors import Computes
    from weakspot.service.limits import Limits
    from weakspot.service.serve import Serving
    from weakspot.service.serve import serve as serve_models

    taken = {"queue": queue, "receive_seconds": receive_seconds, "megabytes": megabytes}
    kept = {"keep_days": keep_days, "keep_gigabytes": keep_gigabytes}
    limits = Limits(**flags.given(**taken, **kept))  # type: ignore[arg-type]
    where = {"data": data_folder, "store": store, "host": host, "port": port, "hosts": allow_host or ()}
    how = Computes(runtime, precision, threads)
    raise typer.Exit(serve_models(models or [], Serving(**where, computes=how, limits=limits)))  # type: ignore[arg-type]


@app.command(
    epilog=_examples("weakspot backup -o /backup/monday", "weakspot backup --data /data/weakspot -o /backup/tuesday")
)
def backup(
    output: flags.Output,
    data_folder: flags.ServiceData = Path("weakspot-data"),
    store: flags.StoreUrl = None,
    as_json: flags.Json = False,
) -> None:
    """Copy a service's store, pictures and models from one moment; the service goes on meanwhile."""
    from weakspot import terminal
    from weakspot.service.backup import back_up

    terminal.show_counts(back_up(data_folder, store, output), as_json)


@app.command(epilog=_examples("weakspot restore /backup/monday --data /data/weakspot"))
def restore(
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `backup` wrote.", show_default=False)],
    data_folder: flags.ServiceData = Path("weakspot-data"),
    store: flags.StoreUrl = None,
    as_json: flags.Json = False,
) -> None:
    """Put a backup into a new data folder and, with --store, into an empty database; each file is checked."""
    from weakspot import terminal
    from weakspot.service.backup import restore as restore_backup

    terminal.show_counts(restore_backup(folder, data_folder, store), as_json)


@app.command(
    name="export-verdicts",
    epilog=_examples(
        "weakspot export-verdicts -o judged/", "weakspot export-verdicts --data /data/weakspot -o judged/"
    ),
)
def export_verdicts(
    output: flags.Output,
    data_folder: flags.ServiceData = Path("weakspot-data"),
    store: flags.StoreUrl = None,
    as_json: flags.Json = False,
) -> None:
    """Write the judged pictures of a service as a folder that `weakspot train` takes, with a table beside."""
    from weakspot import terminal
    from weakspot.service.export import export_verdicts as export

    terminal.show_counts(export(data_folder, store, output), as_json)


@app.command(
    epilog=_examples(
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
    epilog=_examples(
        "weakspot verify part.weakspot",
        "weakspot verify part.weakspot parts/  # every runtime on these images, beside torch",
    )
)
def verify(
    model: flags.Model,
    data: Annotated[
        list[Path] | None, typer.Argument(metavar="[DATA]...", help="Images, folders or globs.", show_default=False)
    ] = None,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Check that a model file is whole, and that each runtime present answers as it did when the file was made.

    With images, ask every runtime and precision of each: no decision may differ from that of torch, or where torch is
    not installed of the first runtime.
    """
    from weakspot import progress, terminal
    from weakspot.inspection.loaded import LoadedDetector
    from weakspot.jobs.verify import verify_on

    detector = LoadedDetector.load_exact(model, threads)
    verified = detector.verify(threads=threads)
    with progress.counting("images compared", quiet) as on_image:
        parity = verify_on(detector, data, threads, on_image) if data else None
    terminal.show_verified(verified, parity, as_json)
    raise typer.Exit(0 if all(each.ok for each in verified) and (parity is None or parity.ok) else 1)


@app.command(
    epilog=_examples(
        "weakspot export part.weakspot --to onnx -o part.onnx",
        "weakspot export part.weakspot --to openvino -o models/part  # a folder as model servers read it",
        "weakspot export part.weakspot --to onnx -o part.onnx --precision int8 --calibrate parts/",
    )
)
def export(
    model: flags.Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="New file *.onnx or *.xml, or a model server's folder.", show_default=False
        ),
    ],
    to: Annotated[Literal["onnx", "openvino"], typer.Option(help="What other programs read.")] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option(help="fp16: half the file; int8: faster, needs --calibrate.")
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Labelled images that int8 is made by, and all is judged by."),
    ] = None,
    layout: flags.Layout = "auto",
    picture_size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Pixels at which images come; default: as in the training.", show_default=False
        ),
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Write it though decisions change or the ranking is worse.")
    ] = False,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
) -> None:
    """Write a model for other programs: thresholds inside and in a JSON beside it; none that answers otherwise.

    Images come as the camera gives them, at one size; what is resized is resized inside.
    """
    from weakspot import terminal
    from weakspot.jobs.export import export as write
    from weakspot.settings import parse_size

    how = {"precision": precision, "calibrate": calibrate, "layout": layout, "allow_changes": allow_changes}
    exported = write(model, to, output, picture=picture_size and parse_size(picture_size), threads=threads, **how)  # type: ignore[arg-type]
    terminal.show_exported(exported, as_json)


@app.command(
    epilog=_examples(
        "weakspot experiment --list  # all of them, with minutes and state",
        "weakspot experiment fig7_without_stage_one --jobs 2",
        "weakspot experiment table6_rivals --scale half",
        "weakspot experiment experiments/kolektorsdd_clean.toml -o results/",
        "weakspot experiment experiments/casting.toml -o results/ --jobs 2  # two runs at a time",
    )
)
def experiment(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="What to run: a name of --list, or a .toml file.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the records; default: the clone's results/.", show_default=False
        ),
    ] = None,
    as_list: Annotated[bool, typer.Option("--list", help="Name all experiments, with minutes and state.")] = False,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Run nothing: tables and figure anew.")] = False,
    scale: Annotated[
        Literal["quarter", "half", "full"] | None,
        typer.Option(help="352 x 128, 704 x 256 or 1408 x 512 pixels, instead of the file's.", show_default=False),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; the cores are shared out among them.")] = 1,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this run of the file.", show_default=False)
    ] = None,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Run one experiment: records, and the table and figure made from them. What has a record is not run again."""
    from weakspot import progress, terminal
    from weakspot.experiments import shipped

    if as_list or name is None:
        return terminal.show_experiments(shipped.states(output, scale), as_json)
    table = shipped.find_experiment(name)
    results = shipped.results_of(table, output)
    from weakspot.experiments.run import run_experiment  # it brings torch, which takes seconds

    how = {"threads": threads, "jobs": jobs, "only": run, "scale": scale, "tables_only": tables_only}
    with progress.progress(quiet) as shows:
        records = run_experiment(table, results, **how, progress=shows)  # type: ignore[arg-type]
    terminal.show_records(records, as_json)


@app.command(
    epilog=_examples(
        "weakspot crossval parts/ -o crossval/ --folds 5 --size 256x256",
        "weakspot crossval KolektorSDD/ -o crossval/ --folds clean --seeds 0,1,2,3,4 --size 528x192 --jobs 2",
        "weakspot crossval parts/ -o weights/ --seeds 0 --weights-seeds 0,1,2 --size 256x256  # only the weights vary",
    )
)
def crossval(
    data: flags.Data,
    output: flags.Output,
    folds: Annotated[
        str, typer.Option(metavar="clean|official|K", help="KolektorSDD's, or how many to make by groups.")
    ] = "3",
    seeds: Annotated[
        str, typer.Option(metavar="0,1,…", help="Each draws who is tested, which bad images train, and the weights.")
    ] = "0",
    weights_seeds: Annotated[
        str | None, typer.Option(metavar="0,1,…", help="These draw the weights, in their place.", show_default=False)
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(help="Draws who is tested, in their place.", show_default=False)
    ] = None,
    draw_seed: Annotated[
        int | None, typer.Option(help="Draws which bad images train, in their place.", show_default=False)
    ] = None,
    positives: Annotated[
        int | None, typer.Option(help="Bad images to train on in each fold; default: all.", show_default=False)
    ] = None,
    recipe: flags.Recipe = None,
    size: flags.Size = None,
    schedule: flags.Schedule = None,
    settings: flags.Settings = None,
    layout: flags.Layout = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; the cores are shared out among them.")] = 1,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Test a recipe on all images: every fold and seed in turn, one report. The same command goes on after a stop."""
    from weakspot import progress, terminal
    from weakspot.settings import parse_size

    drawn = {"seeds": flags.numbers("--seeds", seeds), "split_seed": split_seed, "draw_seed": draw_seed}
    drawn["weights_seeds"] = flags.numbers("--weights-seeds", weights_seeds or "")
    what = {"folds": folds, "positives": positives, "recipe": recipe or "sharp", "settings": settings, "layout": layout}
    how = {"size": parse_size(size) if size else None, "schedule": schedule, "jobs": jobs, "threads": threads}
    from weakspot.experiments import crossval as experiments  # it brings torch, which takes seconds

    with progress.progress(quiet) as shows:
        result = experiments.crossval(data, output, **drawn, **what, **how, progress=shows)  # type: ignore[arg-type]
    terminal.show_crossval(result, as_json)


@app.command(
    epilog=_examples("weakspot demo -o runs/demo", "weakspot demo -o runs/demo --schedule 0.1  # a look, finds little")
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
    chosen = jobs.demo_settings(settings, recipe=recipe, size=size and parse_size(size), device=device, **numbers)
    with progress.progress(quiet) as shows:
        shows.note(terminal.differing(chosen))
        result = jobs.demo(chosen, output=output, resume=resume, progress=shows)
    terminal.show_training(result, as_json)
    raise typer.Exit(result.exit_status)


@app.command(
    epilog=_examples(
        "weakspot doctor", "weakspot doctor part.weakspot  # which runtime is fastest for it", "weakspot doctor --json"
    )
)
def doctor(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="Model file to time now, on each runtime.", show_default=False),
    ] = None,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
) -> None:
    """Say what is installed, which runtime is the fastest, and how fast this machine is."""
    from weakspot import doctor as examination
    from weakspot import terminal

    terminal.show_doctor(examination.examine(model, threads), as_json)


def main() -> None:
    """Run the command line. What the user can mend is one line on stderr; a traceback is a mistake of ours."""
    _make_output_safe()
    try:
        status = app(standalone_mode=False, prog_name="weakspot")
        sys.exit(status if isinstance(status, int) else 0)
    except UsageError as error:
        reason = error.format_message().replace("Value error, ", "").rstrip(".")
        _fail(f"{reason}; see {error.ctx.command_path if error.ctx else 'weakspot'} --help", USAGE)
    except WeakspotError as error:
        _fail(str(error), error.exit_status)
    except ModuleNotFoundError as error:
        if error.name not in MISSING_EXTRAS:
            raise
        install = f"pip install 'weakspot[{MISSING_EXTRAS[error.name]}]'"
        _fail(f"{error.name} is not installed, and this verb needs it; run: {install}", 1)
    except OSError as error:  # the system refused something where no better message stands
        reason = (error.strerror or str(error)).lower()
        _fail(f"{error.filename or 'weakspot'}: {reason}; check the disk, its free space and your rights", 1)
    except MemoryError:
        _fail("not enough memory; take a smaller --size, or close other programs", 1)


def _make_output_safe() -> None:
    """Let what stdout and stderr cannot encode become escapes; where one is closed or left, let nothing fail for it.

    Else a name that the terminal has no letters for would end the verb with a traceback, the work undone.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (as long as the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            if isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
                setattr(sys, name, _until_its_reader_goes(stream))


def _until_its_reader_goes(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    at_once = stream.line_buffering or stream.write_through
    raw = io.BufferedWriter(_Pipe(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=at_once)


class _Pipe(io.FileIO):
    """stdout or stderr: what nobody reads any more (`| head`) is dropped, and the work goes on."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _fail(message: str, exit_status: int) -> None:
    print(f"weakspot: error: {shown(message)}", file=sys.stderr)
    sys.exit(exit_status)
