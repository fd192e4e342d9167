"""How long each runtime took on this machine, in one small file in the user's cache folder.

The file may be missing, damaged or impossible to write at any time. That never stops anything: what it holds can be
measured again.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from weakspot.durable import make_folder, write_durably
from weakspot.errors import OutputError
from weakspot.inspection.processor import Processor
from weakspot.settings import Size

MOST_SETTINGS = 100  # in the file; the oldest makes room
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All that the times of one picture depend on."""

    size: Size  # height, width in pixels
    channels: int
    third_kernel: int | None  # cells; None where the model file does not say
    threads: int
    bf16: bool  # whether the model file says how far bf16 may be off, so that it was measured too
    versions: dict[str, str]  # of weakspot and the runtimes installed
    machine: Processor


@dataclass(frozen=True)
class Timing:
    """Median milliseconds of one picture in one setting, by runtime and precision, such as "openvino bf16"."""

    setting: Setting
    milliseconds: dict[str, Milliseconds]


_FILE = TypeAdapter(tuple[Timing, ...])


def cache_file() -> Path:
    """Where timings are stored. Raises RuntimeError where this user has no home folder."""
    folder = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else Path.home() / ".cache") / "weakspot" / "runtimes.json"


def stored_timings() -> tuple[Timing, ...]:
    """Every timing in the file, the newest last; none where it cannot be read or is not as it was written."""
    try:
        return _FILE.validate_json(cache_file().read_bytes())
    except (OSError, RuntimeError, ValueError):
        return ()


def store_timing(timing: Timing) -> None:
    """Put a timing in the place of the earlier one of its setting. Nothing happens where the file cannot be written."""
    others = [other for other in stored_timings() if other.setting != timing.setting]
    with suppress(OutputError, RuntimeError):
        path = cache_file()
        make_folder(path.parent)
        write_durably(path, _FILE.dump_json((*others[1 - MOST_SETTINGS :], timing), indent=1))
