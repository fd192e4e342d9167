"""Every kind of message for the user, as a small tree.

Holds no logic: whoever raises one writes what was found, what is needed, and the way out.
"""


class WeakspotError(Exception):
    """The user's mistake or the machine's limit, in one line.

    The command line prints it without a traceback and ends with `exit_status`.
    """

    exit_status = 1


class SettingsError(WeakspotError):
    """A setting, key or argument that cannot be."""

    exit_status = 2


class DataError(WeakspotError):
    """A folder or table from which no samples, or too few, can be made."""


class ImageError(WeakspotError):
    """A picture that cannot be read or must not be judged. It is never called good."""


class ModelFileError(WeakspotError):
    """A model file that is cut short, altered, of another version, or does not answer as it did when it was made."""


class TrainingError(WeakspotError):
    """A training that cannot start, cannot go on, or did not learn."""


class MetricError(WeakspotError):
    """A metric that these scores and labels do not define; never turned into a number."""


class OutputError(WeakspotError):
    """A place that cannot be written: full disk, missing rights, a folder that already holds something else."""


class DiskError(OutputError):
    """A disk that failed while writing: what it was given last may be gone, and a second try proves nothing."""


class StorageError(WeakspotError):
    """Object storage that does not answer, or refuses. What was done before is kept."""


class StoreError(WeakspotError):
    """A store that cannot be opened, read or written; what was to be kept then is not kept."""


class StoreFullError(StoreError):
    """A disk too full to keep anything more; it goes on when space is freed."""


def shown(name: object) -> str:
    """A path or name as one line that is safe to print: what is not printable becomes escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in str(name)
    )


def quoted(text: object, most: int = 200) -> str:
    """What is said of a file, as one line that does not quote the file at length: its middle is left out."""
    line, half = shown(text), most // 2
    return line if len(line) <= most else f"{line[: half - 1]}…{line[-half:]}"


def amount(count: int, noun: str) -> str:
    """'1 mask', '2 masks'."""
    return f"{count} {noun}{'s' * (count != 1)}"
