"""Judges pictures by a file that `weakspot export --to onnx` wrote: without weakspot, without torch.

    pip install numpy onnxruntime pillow
    python inspect_onnx.py part.onnx picture.png ...

Prints a line each, "bad 0.9876 picture.png", with "review" for a good one that is unlike the training's; ends with 3
when one is bad, 1 when one cannot be judged: that is never good. Pictures are PNG, BMP or TIFF at the size and depth
that the export was made for: nothing is resized here. JPEG is left out, since Pillow fills with grey what a damaged one
lacks, and says nothing.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

DECISIONS = "good", "review", "bad"
MODES = {("tensor(uint8)", 1): ["L"], ("tensor(uint8)", 3): ["RGB", "L"], ("tensor(uint16)", 1): ["I;16", "I;16B"]}


def pixels_of(path: str, depth: str, channels: int, height: int, width: int) -> np.ndarray:
    """(1, C, H, W) uint8 or uint16, as the export takes it."""
    with Image.open(path, formats=["PNG", "BMP", "TIFF"]) as image:  # read from here on: first what it says it is
        needed = MODES.get((depth, channels), [])  # none for colours of 16 bits, of which Pillow reads 8
        if image.mode not in needed or getattr(image, "n_frames", 1) > 1:
            raise ValueError(f"a picture of mode {image.mode}, where one of {needed} is needed, and no more than one")
        if image.size != (width, height):
            raise ValueError(f"{image.height} x {image.width} pixels, where {height} x {width} are needed")
        pixels = np.asarray(image.convert("RGB") if channels == 3 else image)
    return (
        pixels.transpose(2, 0, 1)[None] if channels == 3 else pixels.astype(pixels.dtype.newbyteorder("="))[None, None]
    )


def unlike(image: np.ndarray, usual: dict) -> str:
    """In which figures a picture (1, C, H, W) is unlike the training's, as weakspot takes them; "" for none."""
    (height, width), size = usual["area"], usual["size"]
    grey = image[0].mean(axis=0, dtype=np.float32) / np.iinfo(image.dtype).max
    grey = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))
    grey = np.pad(grey, ((0, size[0] - height), (0, size[1] - width)), "symmetric")
    small = np.asarray(Image.fromarray(grey).resize((16, 16), Image.Resampling.BOX), np.float64).ravel()
    small, layout, contrast = small - small.mean(), np.array(usual["layout"]), grey.std()
    step = (np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2
    figures = {
        "brightness": grey.mean(),
        "contrast": contrast,
        "sharpness": np.log((step + 1e-4) / (contrast + 1e-4)),
        "likeness": small @ layout / max(1e-9, np.linalg.norm(small) * np.linalg.norm(layout)),
    }
    limits = usual["limits"].items()
    outside = [name for name, (low, high) in limits if not low <= figures[name] <= high]
    return ", ".join(f"{name} {figures[name]:.2f}" for name in outside)


def main(model: str, *pictures: str) -> int:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    usual = json.loads(session.get_modelmeta().custom_metadata_map["weakspot"])["usual"]
    statuses = {0}
    for path in pictures:
        try:
            image = np.ascontiguousarray(pixels_of(path, taken.type, *taken.shape[1:]))
            decision, score = session.run(["decision", "pred_score"], {"image": image})
            strange = unlike(image, usual) if usual else ""
        except Exception as error:  # of any kind, as decoders and runtimes raise them
            print(f"not inspected: {path}: {error}", file=sys.stderr)
            statuses.add(1)
            continue
        if strange:
            print(f"unlike the training pictures: {path}: {strange}", file=sys.stderr)
        print(f"{DECISIONS[max(decision.item(), 1 if strange else 0)]} {score.item():.4f} {path}")
        statuses.add(3 if decision.item() == 2 else 0)
    return max(statuses)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("usage: python inspect_onnx.py part.onnx picture.png ...", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
