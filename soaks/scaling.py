"""How many pictures of 1408 × 512 pixels 1 and 2 workers of Ray judge a second, a thread each; NUMBER are judged.

It only measures. The detector is one after a training that is far too short, which is as slow as any other.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from soaks.inspect import start_inspect
from soaks.trained import pngs, train_shortly

SIZE = (1408, 512)
DRAWN = 20  # that differ; the others are copies, for drawing takes long


def run(number: int) -> dict[str, Any]:
    """What a picture takes with 1 and 2 workers, from the first piece that is done to the last: without Ray's start."""
    with TemporaryDirectory() as folder:
        place, found = Path(folder), {}
        train_shortly(place / "made.weakspot", SIZE)
        drawn = pngs(DRAWN, SIZE)
        (place / "new").mkdir()
        for index in range(number):
            (place / "new" / f"{index:06}.png").write_bytes(drawn[index % DRAWN])
        for workers in (1, 2):
            output = place / f"out{workers}"
            assert start_inspect(place, output, workers, "--piece", str(max(1, number // 20))).wait() == 0
            paths = list((output / "done").iterdir())
            first, *rest = sorted(
                ((path.stat().st_mtime, json.loads(path.read_text())) for path in paths), key=lambda each: each[0]
            )
            images, seconds = sum(record["images"] for _, record in rest), rest[-1][0] - first[0]
            worked = sum(record["seconds"] for _, record in rest)
            found[workers] = {
                "images_a_second": round(images / seconds, 1),
                "worker_seconds_an_image": round(worked / images, 4),
            }
    return {"images": number, "size": SIZE, "workers": found}


def went_well(record: dict[str, Any]) -> bool:
    """Whether both were measured."""
    return len(record["workers"]) == 2
