"""What all verbs share: the app they join, its exit statuses, and how a failure is said in one line."""

import sys
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer

from weakspot.cli.streams import make_output_safe
from weakspot.errors import WeakspotError, shown

UsageError: Any = typer.BadParameter.__base__  # of the click inside typer, which is not the package click
USAGE = 2  # exit status
EXTRAS = {  # and the modules that come with each, once: where two have it, the one that is missed without the other
    "train": "torch onnxscript tensorboard",
    "export": "onnx nncf",
    "openvino": "openvino",
    "cluster": "ray pyarrow fsspec s3fs gcsfs adlfs",
    "serve": "alembic argon2 fastapi multipart prometheus_client psycopg sqlalchemy uvicorn",
    "paper": "matplotlib",
    "demo": "elpv_dataset",
}
MISSING_EXTRAS = {module: extra for extra, modules in EXTRAS.items() for module in modules.split()}


def examples(*commands: str) -> str:
    """The end of a verb's --help."""
    return "\n\n".join(("[bold]Examples[/bold]", *commands))


app = typer.Typer(
    name="weakspot",
    help="Finds surface defects, taught by images labelled good or bad: no masks, no GPU, no internet.\n\n"
    "Exit status: 0 well, 1 failed or an image could not be read, 2 wrong usage, "
    "3 a bad part was found and --fail-on-bad given, 130 Ctrl-C.",
    epilog=examples(
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


def main() -> None:
    """Run the command line. What the user can mend is one line on stderr; a traceback is a mistake of ours."""
    make_output_safe()
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


def _fail(message: str, exit_status: int) -> None:
    print(f"weakspot: error: {shown(message)}", file=sys.stderr)
    sys.exit(exit_status)
