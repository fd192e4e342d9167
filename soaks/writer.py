"""Pictures as plants write them, for `weakspot watch`: renamed into the folder, slowly in chunks, over earlier ones."""

import hashlib
import io
import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

LEVELS = {"good": 60, "review": 128, "bad": 200}  # mean grey, and what the detector of the tests makes of it
FORMS = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".jpg": "JPEG"}


def write(place: Path) -> None:
    """Pictures in several ways until the file `stop` appears, each written down once it is whole."""
    rng, number = random.Random(3), 0
    with open(place / "written.jsonl", "w") as journal:
        while not (place / "stop").exists():
            number += 1
            way, decision, ending = (rng.choice(each) for each in (("rename", "chunks", "over"), [*LEVELS], [*FORMS]))
            name = f"over{rng.randrange(8)}{ending}" if way == "over" else f"{number:06}{ending}"
            content = picture(number, LEVELS[decision], FORMS[ending])
            {"rename": by_renaming, "chunks": in_chunks, "over": in_chunks}[way](place / "new" / name, content, rng)
            digest = hashlib.sha256(content).hexdigest()
            journal.write(json.dumps({"name": name, "sha256": digest, "decision": decision, "way": way}) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
            time.sleep(rng.uniform(0, 0.1))


def picture(seed: int, level: int, form: str) -> bytes:
    """A file on which the detector of the tests decides by its level."""
    pixels = np.clip(level + np.random.default_rng(seed).integers(-30, 31, (64, 96)), 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, form)
    return content.getvalue()


def by_renaming(path: Path, content: bytes, _: random.Random) -> None:
    """Whole from the first moment."""
    path.with_name(f".{path.name}").write_bytes(content)
    path.with_name(f".{path.name}").rename(path)


def in_chunks(path: Path, content: bytes, rng: random.Random) -> None:
    """Over what is there; now and then with a pause after which the picture counts as not inspected."""
    with open(path, "wb", buffering=0) as file:
        while content:
            size = rng.randint(1, 4000)
            file.write(content[:size])
            content = content[size:]
            time.sleep(rng.choice((0, 0.01, 0.05, 0.5 * (rng.random() < 0.1))))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
