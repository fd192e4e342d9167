"""Verbs that use a model file: inspect, watch, verify, export."""

from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from weakspot.cli import flags
from weakspot.cli.entry import app, examples


@app.command(
    epilog=examples(
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
    max_memory: flags.MaxMemory = flags.MAX_MEMORY,
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

    wanted = {"overlays": overlays, "heat_maps": heat_maps, "overwrite": overwrite, "fail_on_bad": fail_on_bad}
    how: dict[str, Any] = {"threads": threads, "precision": precision, "memory": _form(memory, paths, parquet or ray)}
    flags.refuse_many([] if parquet or ray else [*paths, output], None if ray else workers)
    if parquet or ray:
        _pieces((model, paths, output), wanted, how, (runtime, ray, workers, piece, max_memory, ignore), as_json, quiet)
    with progress.counting("images inspected", quiet, terminal.print_inspection if as_json else None) as on_image:
        detector = LoadedDetector.load(model, runtime, max_memory=max_memory, ignore=ignore, **how)
        summary = inspect_folder(detector, list(map(Path, paths)), Path(output), **wanted, on_image=on_image)
    terminal.show_inspected(summary, as_json)
    raise typer.Exit(summary.exit_status)


def _form(memory: flags.Memory, paths: list[str], pieces: Any) -> flags.Memory:
    """What was asked for, but for few images what opens at once; a list or a table of pieces may name millions."""
    from weakspot.inspection.sources import are_few

    return "small" if not pieces and are_few(paths) else memory


def _pieces(
    places: tuple[Path, list[str], str], wanted: dict[str, bool], how: dict[str, Any], many: Any, *shows: bool
) -> NoReturn:
    """The verb inspect where results go out in pieces. many: runtime, address of Ray, workers, images a piece;
    and the bounds of memory and of what is looked at, which pieces do not heed.
    """
    from weakspot import progress, terminal
    from weakspot.inspection.cluster import How, inspect_many

    (as_json, quiet), (runtime, ray, workers, piece, max_memory, ignore) = shows, many
    fail_on_bad, bounds = wanted.pop("fail_on_bad"), {"max_memory": max_memory != flags.MAX_MEMORY, "ignore": ignore}
    flags.refuse_beside("--parquet and --ray", **wanted, **bounds)
    asked = How(runtime=runtime, ray=ray, workers=workers, images_a_piece=piece, fail_on_bad=fail_on_bad, **how)
    with progress.counting("pieces inspected", quiet or as_json) as on_piece:
        tally = inspect_many(*places, asked, on_piece)
    terminal.show_tally(tally, as_json)
    raise typer.Exit(tally.exit_status)


@app.command(
    epilog=examples(
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
        typer.Option(min=0, help="Seconds that an image may take; a later one is never good.", show_default=False),
    ] = None,
    runtime: flags.Runtime = "auto",
    precision: flags.Precision = "auto",
    max_memory: flags.MaxMemory = flags.MAX_MEMORY,
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
    from weakspot.jobs.watch import watch as watch_folder
    from weakspot.jobs.watching import How

    how = How(every=every, patience=patience, cycle=cycle, once=once, move_to=move_to, mark=mark, deep=deep)
    version = version_or_none(model)
    detector = LoadedDetector.load(model, runtime, threads, precision, max_memory=max_memory, ignore=ignore)
    with progress.progress(quiet) as shows:
        on_image = terminal.print_inspection if as_json else None if quiet else terminal.say_inspection
        watched = watch_folder(detector, (model, version), folder, output, how, on_image, shows.note)
    terminal.show_watched(watched, as_json)
    raise typer.Exit(watched.exit_status)


@app.command(
    epilog=examples(
        "weakspot verify part.weakspot",
        "weakspot verify part.weakspot parts/  # every runtime on these images, beside torch",
    )
)
def verify(
    model: flags.Model,
    data: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DATA]...", help="Images, folders, globs, or data in a layout.", show_default=False),
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
    epilog=examples(
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
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="fp16: half the file; int8: faster on OpenVINO alone."),
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
