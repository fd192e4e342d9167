"""What the routes of health and of the Open Inference Protocol answer."""

from typing import Literal

from weakspot.service.bodies import Strict


class Checks(Strict):
    """Whether it is ready, and each thing that was looked at: "ok", or what is wrong."""

    ready: bool
    checks: dict[str, str]


class Live(Strict):
    """Open Inference Protocol: it answers."""

    live: Literal[True] = True


class Ready(Strict):
    """Open Inference Protocol; some clients look for `live`, some for `ready`."""

    ready: bool
    live: bool


class ServerMetadata(Strict):
    """Open Inference Protocol: what this is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Strict):
    """Open Inference Protocol: one input or output."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Strict):
    """Open Inference Protocol: what the model takes and gives. Pictures go to /v1/inspections."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
