"""The files of an export: the graph with what it is in its own metadata, a JSON beside it, and a server's folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from weakspot.data.reading import area
from weakspot.durable import output_errors
from weakspot.errors import OutputError, shown
from weakspot.inspection.drift import limits_of
from weakspot.inspection.inspection import now, sigmoid
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import Manifest
from weakspot.inspection.runtimes import openvino_core, require_runtime
from weakspot.jobs.export_graph import BOOLEAN, DECISIONS, MAPS, OUTPUTS, Target
from weakspot.provenance import versions
from weakspot.settings import Size

ENDINGS: dict[Target, str] = {"onnx": ".onnx", "openvino": ".xml"}
BACKENDS: dict[Target, str] = {"onnx": "onnxruntime", "openvino": "openvino"}  # as Triton calls them
SCHEMA_VERSION = 1
MEANINGS = {
    "raw_score": "logit; higher is worse",
    "heat_score": "logit; the heat map's own score",
    "pred_score": "defect score in [0, 1], the sigmoid of raw_score; a thresholds.score compares with it",
    "pred_label": "true: bad",
    "anomaly_map": "heat in [0, 1], a number for each 8 x 8 pixels of what the detector sees",
    "pred_mask": "true: heat of at least thresholds.region_from",
    "decision": "0 good, 1 review (a person decides), 2 bad",
}


def description(detector: LoadedDetector, to: Target, picture: Size, verified: dict[str, Any]) -> dict[str, Any]:
    """All that another program must know, as JSON has it. picture: height and width at which pictures come."""
    about, limits = detector.manifest, detector.thresholds
    channels = about.channels if to == "onnx" else 3
    order = "NCHW" if to == "onnx" else "NHWC"
    colours = "grey" if channels == 1 else "RGB" if to == "onnx" else "BGR, as OpenCV reads files"
    return {
        "schema_version": SCHEMA_VERSION,
        "name": about.name,
        "model_sha256": detector.model.sha256,
        "input": {
            "name": "image", "type": f"uint{about.bit_depth}", "layout": order, "height": picture[0],
            "width": picture[1], "channels": channels, "colours": colours, "values": "raw; nothing to scale or resize",
        },
        "outputs": {name: MEANINGS[name] for name in OUTPUTS[to]},
        "decisions": list(DECISIONS),
        "thresholds": {
            "raw": {"bad_from": limits.bad_from, "good_below": limits.good_below},
            "score": {"bad_from": sigmoid(limits.bad_from), "good_below": sigmoid(limits.good_below)},
            "region_from": limits.region_from, "rule": limits.rule, "chosen_on": limits.chosen_on,
        },
        "not_refused": "pictures that weakspot refuses, or holds for review by `usual`: check both limits yourself",
        "training_pictures": {
            "sizes": about.image_sizes.model_dump(mode="json"), "least_deviation": about.image_std_min,
        },
        "usual": _usual(about, picture),
        "verified": verified,
        "versions": versions(),
        "created": now(),
    }  # fmt: skip


def _usual(about: Manifest, picture: Size) -> dict[str, Any] | None:
    """By which limits weakspot calls no picture good that is unlike the training's (docs/deploy.md).

    None where the model file keeps none, or ignores parts, which take no part in the figures.
    """
    if about.usual is None or about.ignored is not None:
        return None
    return {
        "size": list(about.size), "area": list(area(*picture, about.size, about.fit)),
        "limits": {name: list(pair) for name, pair in limits_of(about.usual).items()}, "layout": about.usual.layout,
    }  # fmt: skip


def graph_files(made: onnx.ModelProto, to: Target, folder: Path, said: Mapping[str, Any]) -> dict[str, bytes]:
    """Write the graph into a folder as model.onnx, or model.xml and model.bin → their content by ending.

    said: what goes into the file's metadata.
    """
    if to == "onnx":
        onnx.helper.set_model_props(made, _metadata(said))
        content = made.SerializeToString()
        with output_errors(folder):
            (folder / "model.onnx").write_bytes(content)
        return {".onnx": content}
    openvino = require_runtime("openvino")
    graph = openvino_core(openvino, os.getpid()).read_model(made.SerializeToString())
    for key, value in _model_info(said).items():
        graph.set_rt_info(value, ["model_info", key])
    try:
        openvino.serialize(graph, folder / "model.xml", folder / "model.bin")
    except RuntimeError as error:
        reason = shown(str(error).strip().splitlines()[-1])
        raise OutputError(f"{folder}: OpenVINO cannot write there ({reason}); let TMPDIR name another place") from None
    return {ending: (folder / f"model{ending}").read_bytes() for ending in (".xml", ".bin")}


def named_files(files: dict[str, bytes], said: Mapping[str, Any], to: Target, output: Path) -> dict[Path, bytes]:
    """The files by the names they get: beside one another, or in a folder as model servers read it."""
    text = json.dumps(said, indent=2, allow_nan=False, ensure_ascii=False).encode()
    if output.suffix == ENDINGS[to]:
        return {output.with_suffix(ending): content for ending, content in {**files, ".json": text}.items()}
    model = {output / "1" / f"model{ending}": content for ending, content in files.items()}
    return {**model, output / "model.json": text, output / "config.pbtxt": _triton(said, to).encode()}


def _metadata(said: Mapping[str, Any]) -> dict[str, str]:
    """Keys of ONNX's metadata that tools of the field show, and all of it under `weakspot`."""
    if not said:
        return {}
    seen = said["input"]
    return {
        "description": f"weakspot: whether a part has a surface defect, and where; {said['name']}",
        "date": said["created"],
        "version": said["versions"].get("weakspot", ""),
        "task": "anomaly",
        "imgsz": json.dumps([seen["height"], seen["width"]]),
        "channels": str(seen["channels"]),
        "names": json.dumps(dict(enumerate(DECISIONS))),
        "weakspot": json.dumps(said, allow_nan=False),
    }


def _model_info(said: Mapping[str, Any]) -> dict[str, str]:
    """As OpenVINO's model_api asks of an anomaly model. Reading is in the graph, which it calls embedded."""
    if not said:
        return {}
    seen, limits = said["input"], said["thresholds"]
    return {
        "model_type": "AnomalyDetection", "task": "segmentation", "labels": "good bad",
        "image_threshold": str(limits["score"]["bad_from"]), "pixel_threshold": str(limits["region_from"]),
        "normalization_scale": "1.0", "embedded_processing": "True", "reverse_input_channels": "False",
        "input_dtype": {"uint8": "u8", "uint16": "u16"}[seen["type"]],
        "orig_height": str(seen["height"]), "orig_width": str(seen["width"]),
        "weakspot": json.dumps(said, allow_nan=False),
    }  # fmt: skip


def _triton(said: Mapping[str, Any], to: Target) -> str:
    """config.pbtxt, by which Triton serves the folder under the folder's own name."""
    seen, many = said["input"], -1 if to == "onnx" else 1
    sides = {"N": many, "C": seen["channels"], "H": seen["height"], "W": seen["width"]}
    outputs = [_tensor(name, _triton_type(name), [many, 1, -1, -1] if name in MAPS else [many]) for name in OUTPUTS[to]]
    image = _tensor("image", f"TYPE_{seen['type'].upper()}", [sides[letter] for letter in seen["layout"]])
    lines = [f'backend: "{BACKENDS[to]}"', f'default_model_filename: "model{ENDINGS[to]}"', "max_batch_size: 0"]
    return "\n".join([*lines, f"input [{image}]", "output [", ",\n".join(outputs), "]", ""])


def _tensor(name: str, kind: str, dims: list[int]) -> str:
    return f'{{ name: "{name}" data_type: {kind} dims: {dims} }}'


def _triton_type(output: str) -> str:
    return "TYPE_BOOL" if output in BOOLEAN else "TYPE_INT64" if output == "decision" else "TYPE_FP32"
