"""How much the service takes and how long it waits; each with its unit."""

from dataclasses import dataclass, replace
from typing import Annotated

from weakspot.settings import Range, ReadSettings, Settings


@dataclass(frozen=True, kw_only=True)
class Limits(Settings):
    """What one service takes from its clients, and what it keeps. Raises SettingsError naming the field."""

    queue: Annotated[int, Range(1, 10_000, 16)] = 16  # pictures waiting or at work; more are refused at once
    megabytes: Annotated[float, Range(0.001, 1000, 64)] = 64.0  # of one request's body
    megapixels: Annotated[float, Range(0.001, 1000, 64)] = 64.0  # of one picture; the model's own limit holds, too
    receive_seconds: Annotated[float, Range(0.1, 3600, 30)] = 30.0  # for a client to send one request
    decode_seconds: Annotated[float, Range(0.1, 600, 10)] = 10.0  # for one picture to be decoded
    decode_gigabytes: Annotated[float, Range(1, 1000, 4)] = 4.0  # of address space of the process that decodes
    reserve_megabytes: Annotated[float, Range(0, 1e9, 256)] = 256.0  # free on the disk; below, pictures are refused
    keep_days: Annotated[float, Range(0.01, 1e6, 365)] | None = None  # pictures without a verdict; None: for ever
    keep_gigabytes: Annotated[float, Range(0.001, 1e9, 500)] | None = None  # of such pictures; None: no limit

    @property
    def model_seconds(self) -> float:
        """For a client to send a model file, which may be far larger."""
        return 10 * self.receive_seconds

    @property
    def body_bytes(self) -> int:
        """The largest body in bytes."""
        return int(self.megabytes * 1e6)

    def allowing_more(self, read: ReadSettings) -> str:
        """The way out for a picture of more pixels than a model and this service allow."""
        ways = ["train with a larger max_megapixels"] * (read.max_megapixels <= self.megapixels)
        return " and ".join(ways + ["serve with a larger --megapixels"] * (self.megapixels <= read.max_megapixels))

    def bounded(self, read: ReadSettings) -> ReadSettings:
        """How a model reads pictures, none larger than this service takes."""
        return replace(read, max_megapixels=min(read.max_megapixels, self.megapixels))
