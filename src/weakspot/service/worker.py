"""The process of a task: python -m weakspot.service.worker STEP FOLDER. Ends with whoever holds its standard input.

The first line there says where the service's pictures and its store are.
"""

import json
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from PIL import Image

from weakspot.data.audit import Audit
from weakspot.data.reading import read_image
from weakspot.data.samples import Sample
from weakspot.durable import write_durably
from weakspot.errors import ImageError, OutputError, WeakspotError, shown
from weakspot.evaluation.pictures import as_8_bit, heat_png
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import read_model_file
from weakspot.inspection.runtimes import open_runtime
from weakspot.runs import MARK, Run
from weakspot.service.detectors import with_limits
from weakspot.service.export import Exported
from weakspot.service.learning import judged_folder, reviewed_pictures
from weakspot.service.tasks import LOOKED, ORDER, PROGRESS, RESULT, RUN, SETTINGS, write_end
from weakspot.settings import TrainSettings, read_settings

log = logging.getLogger(__name__)
STOPPED = 130  # exit status of what was asked to stop
SHOWN_PAIRS = 6  # of pictures that are odd
THUMBNAIL = 320  # pixels


def main(step: str, folder: Path) -> int:
    """One step of a task → the exit status. What failed is told in one line in its folder."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an orderly end: what is half written is removed
    where = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    order = json.loads((folder / ORDER).read_bytes())
    try:
        write_end(folder, "done", STEPS[step](folder, order, where))
        return 0
    except KeyboardInterrupt:
        return STOPPED
    except WeakspotError as error:
        if error.exit_status != STOPPED:
            _fail(folder, _without_places(str(error), folder, order, where))
        return error.exit_status
    except ModuleNotFoundError as error:
        way_out = "run there: pip install 'weakspot[train]'"
        _fail(folder, f"{error.name} is not installed where the service runs; {way_out}")
        return 1
    except MemoryError:
        _fail(folder, "not enough memory; take a smaller size, or close other programs")
        return 1
    except Exception:
        log.exception("%s", step)
        _fail(folder, "a mistake of ours; log.txt in the task's folder has more")
        return 1


def _fail(folder: Path, why: str) -> None:
    """Say why a step failed; where the disk takes nothing, the log has it, and the service sees that it ended."""
    try:
        write_end(folder, "failed", why)
    except OutputError as error:
        log.error("%s; %s", why, error)


def _look(folder: Path, order: dict[str, Any], where: dict[str, Any]) -> str:
    from weakspot.jobs.look import look  # it brings torch, which takes seconds

    run = folder / RUN
    judged: dict[str, Any] = {}

    def tell(found: Exported) -> None:
        judged.update(judged=found.words, not_taken=found.left_out)

    data = judged_folder(Path(where["data"]), where["store"], run, False, tell) if _of_verdicts(order) else None
    found, plan = look(data or Path(order["folder"]), _settings(folder), _telling(folder))
    told: dict[str, Any] = {"findings": [asdict(each) for each in found.findings], "counts": found.counts}
    told |= {"plan": plan.words, "minutes": plan.minutes, "odd": _odd_pictures(folder, found)} | judged
    write_durably(folder / LOOKED, json.dumps(told).encode())
    return plan.words


def _train(folder: Path, order: dict[str, Any], where: dict[str, Any]) -> str:
    from weakspot.jobs.train import train  # as above

    run = Run(folder / RUN)
    data = run.judged if _of_verdicts(order) else Path(order["folder"])
    has_begun = (run.folder / MARK).is_file()
    result = train(data, _settings(folder), output=run.folder, resume=has_begun, title=order["title"])
    return result.summary


def _compare(folder: Path, order: dict[str, Any], where: dict[str, Any]) -> str:
    from weakspot.jobs.compare import MOST_HEATS, compare, trained_on

    detectors = _detector(order["models"][0]), _detector(order["models"][1])
    material = reviewed_pictures(Path(where["data"]), where["store"], trained_on(detectors))
    _bound(where["gigabytes"])
    found = compare(detectors, material, _telling(folder))
    for number, pair in enumerate(found.differing[:MOST_HEATS]):
        for side, heat in zip("ab", pair.heats, strict=True):
            if heat is not None:
                write_durably(folder / f"heat-{number}-{side}.png", heat_png(heat))
    write_durably(folder / RESULT, json.dumps(found.as_dict(), allow_nan=False).encode())
    return found.sentences[0]


STEPS: dict[str, Callable[[Path, dict[str, Any], dict[str, Any]], str]] = {
    "look": _look, "train": _train, "compare": _compare,
}  # fmt: skip


def _bound(gigabytes: float) -> None:
    """Let this process take so much more memory and no more: it decodes what clients sent."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _of_verdicts(order: dict[str, Any]) -> bool:
    return order["folder"] is None


def _settings(folder: Path) -> TrainSettings:
    return read_settings(TrainSettings, folder / SETTINGS)


def _detector(asked: dict[str, Any]) -> LoadedDetector:
    """A model of the service at the thresholds that are in force there."""
    model = with_limits(read_model_file(Path(asked["path"])), asked["bad_from"], asked["good_below"])
    return LoadedDetector(model, open_runtime(model))


def _odd_pictures(folder: Path, found: Audit) -> list[dict[str, str]]:
    """Small pictures of what looks like a mistake: copies, those under both labels first → their files and words."""
    pairs = sorted(found.duplicates, key=lambda pair: not pair.across_labels)[:SHOWN_PAIRS]
    told: list[dict[str, str]] = []
    for pair in pairs:
        labels = "called good and bad" if pair.across_labels else "the same twice"
        for sample in (pair.first, pair.second):
            name = f"odd-{len(told)}.png"
            if _save_thumbnail(folder / name, sample, found):
                told.append({"file": name, "what": f"{pair.kind}, {labels}: {shown(sample.id)}"})
    return told


def _save_thumbnail(path: Path, sample: Sample, found: Audit) -> bool:
    try:
        small = Image.fromarray(as_8_bit(read_image(sample.path, found.settings).pixels))
    except ImageError:
        return False
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(path)
    return True


def _telling(folder: Path) -> Callable[[int, int], None]:
    """What notes how many pictures are done, once a second."""
    last = monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal last
        if monotonic() - last >= 1:
            last = monotonic()
            write_durably(folder / PROGRESS, json.dumps({"done": done, "of": of}).encode())

    return tell


def _without_places(text: str, folder: Path, order: dict[str, Any], where: dict[str, Any]) -> str:
    """A message for a client, without the folders of the server."""
    for place in (folder / RUN, folder, where["data"], order.get("folder")):
        for said in {str(place), shown(place)} if place else ():
            text = text.replace(f"{said}/", "").replace(said, "the data")
    return text


def _end_with_the_service() -> None:
    """Ask this process to stop, as a person would, once nobody holds its standard input any more."""
    while os.read(0, 4096):  # not by sys.stdin, whose lock it would hold as the process ends, which aborts it
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s")
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
