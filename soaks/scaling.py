"""How many pictures a second 1 and 2 workers of Ray judge: NUMBER pictures of 1408 × 512 pixels. It only measures."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from soaks.inspect import draw_new, start_inspect
from tests.inspection.conftest import made_model
from weakspot.inspection.manifest import ImageSizes
from weakspot.inspection.model_file import write_model_file


def run(number: int) -> dict[str, Any]:
    """What a picture takes with 1 and 2 workers, from the first piece that is done to the last: without Ray's start."""
    with TemporaryDirectory() as folder:
        place, found = Path(folder), {}
        model = made_model(size=(1408, 512), image_sizes=ImageSizes(min=(1408, 512), max=(1408, 512)))
        write_model_file(place / "made.weakspot", model)
        draw_new(place / "new", number, (1408, 512))
        for workers in (1, 2):
            output = place / f"out{workers}"
            assert start_inspect(place, output, workers, "--piece", str(max(1, number // 20))).wait() == 0
            paths = list((output / "done").iterdir())
            first, *rest = sorted(
                ((path.stat().st_mtime, json.loads(path.read_text())) for path in paths), key=lambda each: each[0]
            )
            images, seconds = sum(record["images"] for _, record in rest), rest[-1][0] - first[0]
            worked = sum(record["seconds"] for _, record in rest)
            found[workers] = {"images_a_second": images / seconds, "worker_seconds_an_image": worked / images}
    return {"images": number, "size": [1408, 512], "workers": found}


def went_well(record: dict[str, Any]) -> bool:
    """Whether both were measured."""
    return len(record["workers"]) == 2
