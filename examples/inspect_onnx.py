"""Judges pictures by a file that `weakspot export --to onnx` wrote: without weakspot, without torch.

    pip install numpy onnxruntime pillow
    python inspect_onnx.py part.onnx picture.png ...

Prints a line each, "bad 0.9876 picture.png"; ends with 3 when one is bad, 1 when one cannot be judged: that is never
good. Pictures must come at the size that the export was made for: nothing is resized here.
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

DECISIONS = "good", "review", "bad"


def pixels_of(path: str, channels: int, height: int, width: int) -> np.ndarray:
    """(1, C, H, W) uint8, as the export takes it."""
    with Image.open(path) as image:
        if image.mode not in ("L", "RGB") or (image.mode == "RGB" and channels == 1):
            raise ValueError(f"a picture of mode {image.mode}, where {channels} channels of 8 bits are needed")
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    if pixels.shape[:2] != (height, width):
        raise ValueError(f"{pixels.shape[0]} x {pixels.shape[1]} pixels, where {height} x {width} are needed")
    return pixels[None, None] if channels == 1 else pixels.transpose(2, 0, 1)[None]


def main(model: str, *pictures: str) -> int:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape[1:]
    statuses = {0}
    for path in pictures:
        try:
            image = np.ascontiguousarray(pixels_of(path, *shape))
        except (OSError, ValueError) as error:
            print(f"not inspected: {path}: {error}", file=sys.stderr)
            statuses.add(1)
            continue
        decision, score = session.run(["decision", "pred_score"], {"image": image})
        print(f"{DECISIONS[decision.item()]} {score.item():.4f} {path}")
        statuses.add(3 if decision.item() == 2 else 0)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
