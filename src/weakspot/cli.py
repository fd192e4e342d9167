"""The verbs of the command line: each reads its arguments, calls one function, and shows what came of it."""

import io
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from weakspot import flags
from weakspot.errors import WeakspotError, shown

# Whatever takes time to import is imported inside the verb that needs it: `weakspot --help` and `weakspot inspect`
# start without torch.

UsageError: Any = typer.BadParameter.__base__  # of the click inside typer, which is not the package click
USAGE = 2  # exit status
TRAINING_PACKAGES = {"torch", "onnx", "onnxscript", "tensorboard"}
SERVING_PACKAGES = {
    "alembic",
    "argon2",
    "fastapi",
    "multipart",
    "prometheus_client",
    "psycopg",
    "sqlalchemy",
    "uvicorn",
}
MISSING_EXTRAS = {
    **dict.fromkeys(TRAINING_PACKAGES, "train"),
    **dict.fromkeys(SERVING_PACKAGES, "serve"),
    "elpv_dataset": "demo",
    "openvino": "openvino",
}


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
        "weakspot train parts/ -o runs/first --resume  # go on where it stopped",
    )
)
def train(
    data: flags.Data,
    output: flags.Output,
    settings: flags.Settings = None,
    layout: flags.Layout = "auto",
    recipe: flags.Recipe = None,
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

    thresholds = flags.given(rule=rule, max_false_alarm_rate=max_false_alarms, max_escape_rate=max_escapes)
    of_data = {"positives": positives, "hold_out": hold_out, "seed": seed, "threshold": thresholds or None}
    training = {"minutes": minutes, "schedule": schedule, "recipe": recipe, "device": device, "threads": threads}
    chosen = read_settings(TrainSettings, settings, size=size and parse_size(size), masks=masks, **of_data, **training)
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
    threads: flags.Threads = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Judge labelled images: escapes, false alarms and ranking with intervals, in a report, a table and as JSON."""
    from weakspot import progress, terminal
    from weakspot.jobs.evaluate import evaluate_model

    with progress.counting("images judged", quiet) as on_image:
        evaluation = evaluate_model(model, data, output, layout=layout, threads=threads, on_image=on_image)
    terminal.show_evaluation(evaluation, output, as_json)
    raise typer.Exit(1 if evaluation.refused else 0)


@app.command(
    epilog=_examples(
        "weakspot inspect part.weakspot new/ -o out/",
        "weakspot inspect part.weakspot 'new/*.png' -o out/ --overlays --fail-on-bad",
        "weakspot inspect part.weakspot new/ -o out/ --json  # a line an image",
    )
)
def inspect(
    model: flags.Model,
    paths: Annotated[list[Path], typer.Argument(help="Images, folders or globs.", show_default=False)],
    output: flags.Output,
    overlays: Annotated[bool, typer.Option("--overlays", help="Write each image with its heat map on it.")] = False,
    heat_maps: Annotated[bool, typer.Option("--heat-maps", help="Write each raw heat map as 16-bit PNG.")] = False,
    runtime: flags.Runtime = "auto",
    precision: flags.Precision = "auto",
    memory: flags.Memory = "fast",
    threads: flags.Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier inspection in --output.")] = False,
    fail_on_bad: Annotated[bool, typer.Option("--fail-on-bad", help="End with 3 when a bad part was found.")] = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Decide good, review or bad for new images, and where; a table as CSV and as JSON lines.

    Ends with 1 when an image could not be read. Ctrl-C ends it early and leaves what was judged until then.
    """
    from weakspot import progress, terminal
    from weakspot.inspection.folder import inspect_folder
    from weakspot.inspection.loaded import LoadedDetector
    from weakspot.inspection.sources import are_few

    with progress.counting("images inspected", quiet or as_json) as counted:
        on_image = terminal.print_inspection if as_json else counted
        wanted = {"overlays": overlays, "heat_maps": heat_maps, "overwrite": overwrite, "fail_on_bad": fail_on_bad}
        how = {"threads": threads, "precision": precision, "memory": "small" if are_few(paths) else memory}
        detector = LoadedDetector.load(model, runtime, **how)  # type: ignore[arg-type]
        summary = inspect_folder(detector, paths, output, **wanted, on_image=on_image)
    terminal.show_inspected(summary, as_json)
    raise typer.Exit(summary.exit_status)


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
    detector = LoadedDetector.load(model, runtime, threads, precision)
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


@app.command(epilog=_examples("weakspot verify part.weakspot"))
def verify(model: flags.Model, threads: flags.Threads = None, as_json: flags.Json = False) -> None:
    """Check that a model file is whole, and that each runtime present answers as it did when the file was made."""
    from weakspot import terminal
    from weakspot.inspection.loaded import LoadedDetector

    verified = LoadedDetector.load_exact(model, threads).verify(threads=threads)
    terminal.show_verified(verified, as_json)
    raise typer.Exit(0 if all(each.ok for each in verified) else 1)


@app.command(
    epilog=_examples(
        "weakspot experiment experiments/kolektorsdd_clean.toml -o results/",
        "weakspot experiment experiments/casting.toml -o results/ --jobs 2  # two runs at a time",
    )
)
def experiment(
    table: Annotated[
        Path, typer.Argument(metavar="FILE.toml", help="What to run: one file a table or figure.", show_default=False)
    ],
    output: flags.Output,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; the cores are shared out among them.")] = 1,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this run of the file.", show_default=False)
    ] = None,
    threads: flags.Threads = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Run one experiment and write its records, from which tables are made. What has a record is not run again."""
    from weakspot import progress, terminal
    from weakspot.experiments.run import run_experiment

    with progress.progress(quiet) as shows:
        records = run_experiment(table, output, threads=threads, jobs=jobs, only=run, progress=shows)
    terminal.show_records(records, as_json)


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
