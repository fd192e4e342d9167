"""Verbs of the service: serve, backup, restore, export-verdicts."""

from pathlib import Path
from typing import Annotated

import typer

from weakspot.cli import flags
from weakspot.cli.entry import app, examples


@app.command(
    epilog=examples(
        "weakspot serve part.weakspot  # on http://127.0.0.1:8000, data in weakspot-data/",
        "weakspot serve part.weakspot --training-data /data/parts  # the page Train may learn from its folders",
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
    tokens: Annotated[bool, typer.Option("--tokens", help="Ask for tokens on loopback, too.")] = False,
    queue: Annotated[int | None, typer.Option(help="Pictures at work or waiting; default 16.")] = None,
    receive_seconds: Annotated[float | None, typer.Option(help="A client has to send one request; default 30.")] = None,
    megabytes: Annotated[float | None, typer.Option(help="Of one request; default 64.", show_default=False)] = None,
    megapixels: Annotated[float | None, typer.Option(help="Of one picture; default 64.", show_default=False)] = None,
    decode_seconds: Annotated[
        float | None, typer.Option(help="For one picture to be decoded; default 10.", show_default=False)
    ] = None,
    decode_gigabytes: Annotated[
        float | None, typer.Option(help="Of memory for that; default 4.", show_default=False)
    ] = None,
    keep_days: Annotated[
        float | None, typer.Option(help="Remove pictures older than this that nobody judged.", show_default=False)
    ] = None,
    keep_gigabytes: Annotated[
        float | None, typer.Option(help="Remove the oldest such pictures beyond this.", show_default=False)
    ] = None,
    training_data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder whose labelled folders may be trained on by the page; repeatable.", show_default=False
        ),
    ] = None,
    training_settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Settings of such trainings, as `train` takes them.", show_default=False
        ),
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
    from weakspot.settings import TrainSettings, read_settings

    taken = {"queue": queue, "receive_seconds": receive_seconds, "megabytes": megabytes, "megapixels": megapixels}
    taken |= {"decode_seconds": decode_seconds, "decode_gigabytes": decode_gigabytes}
    kept = {"keep_days": keep_days, "keep_gigabytes": keep_gigabytes}
    limits = Limits(**flags.given(**taken, **kept))  # type: ignore[arg-type]
    where = {"data": data_folder, "store": store, "host": host, "port": port, "hosts": allow_host or ()}
    taught = {"training_data": training_data or (), "training": read_settings(TrainSettings, training_settings)}
    how = {"computes": Computes(runtime, precision, threads), "limits": limits, "tokens": tokens} | taught
    raise typer.Exit(serve_models(models or [], Serving(**where, **how)))  # type: ignore[arg-type]


@app.command(
    epilog=examples("weakspot backup -o /backup/monday", "weakspot backup --data /data/weakspot -o /backup/tuesday")
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

    copied = back_up(data_folder, store, output)
    terminal.show_counts(copied, as_json)
    raise typer.Exit(copied.exit_status)


@app.command(epilog=examples("weakspot restore /backup/monday --data /data/weakspot"))
def restore(
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `backup` wrote.", show_default=False)],
    data_folder: flags.ServiceData = Path("weakspot-data"),
    store: flags.StoreUrl = None,
    as_json: flags.Json = False,
) -> None:
    """Put a backup into a new data folder and, with --store, into an empty database; each file is checked."""
    from weakspot import terminal
    from weakspot.service.backup import restore as restore_backup

    copied = restore_backup(folder, data_folder, store)
    terminal.show_counts(copied, as_json)
    raise typer.Exit(copied.exit_status)


@app.command(
    name="export-verdicts",
    epilog=examples("weakspot export-verdicts -o judged/", "weakspot export-verdicts --data /data/weakspot -o judged/"),
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
