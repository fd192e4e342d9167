"""Verbs that compare recipes over many trainings: experiment, crossval."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from weakspot.cli import flags
from weakspot.cli.entry import app, examples


@app.command(
    epilog=examples(
        "weakspot experiment --list  # all of them, with minutes and state",
        "weakspot experiment fig7_without_stage_one --jobs 2",
        "weakspot experiment table6_rivals --scale half",
        "weakspot experiment experiments/kolektorsdd_clean.toml -o results/",
        "weakspot experiment experiments/casting.toml -o results/ --jobs 2  # two runs at a time",
        "weakspot experiment fig5_positives --ray 10.0.0.1:6379  # on a cluster, as many as it has processors for",
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
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time, 1 if left out; they share the cores.", show_default=False),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Runs on a Ray cluster; local: one of this machine.", show_default=False),
    ] = None,
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

    how = {"threads": threads, "jobs": jobs, "ray": ray, "only": run, "scale": scale, "tables_only": tables_only}
    with progress.progress(quiet) as shows:
        records = run_experiment(table, results, **how, progress=shows)  # type: ignore[arg-type]
    terminal.show_records(records, as_json)


@app.command(
    epilog=examples(
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
