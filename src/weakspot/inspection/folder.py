"""Many pictures in one go: each is read while the one before it is judged; one that cannot be read is told of, and the
others go on."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from weakspot.errors import ImageError
from weakspot.inspection.inspection import ImageInfo, Inspection, NotInspected
from weakspot.inspection.loaded import LoadedDetector, Prepared
from weakspot.inspection.output import Writer, check_output, staged
from weakspot.inspection.sources import find_images

log = logging.getLogger(__name__)
OnImage = Callable[[int, int, Inspection | NotInspected], None]  # how many are done, of how many, and the newest


@dataclass(frozen=True)
class Summary:
    """What came of many pictures. read + refused = total; a refused picture is in no decision's count."""

    total: int
    read: int
    refused: int
    decisions: dict[str, int]  # good, review, bad
    refusals: tuple[NotInspected, ...]
    output: Path
    seconds: float
    exit_status: int  # 3 when a bad part was found and that was asked for, else 1 when a picture was refused, else 0
    passed_over: str = ""  # what lay beside the pictures and was not looked at, in words


def inspect_folder(
    detector: LoadedDetector,
    paths: Sequence[Path | str],
    output: Path,
    *,
    overlays: bool = False,
    heat_maps: bool = False,
    overwrite: bool = False,
    fail_on_bad: bool = False,
    on_image: OnImage | None = None,
) -> Summary:
    """Inspect files, folders and patterns; write inspections.jsonl and inspections.csv to `output`, with overlays/ and
    heat_maps/ on request.

    They appear whole, at the end. Raises DataError when there are no pictures, OutputError when `output` holds
    something else, or an earlier inspection without `overwrite`, or cannot be written; what was there is then still
    there.
    """
    start = perf_counter()
    check_output(output, overwrite)
    sources = find_images(paths, leave_out=output)
    images = sources.images
    if sources.passed_over:
        log.warning("passed over: %s", sources.passed_over)
    decisions: Counter[str] = Counter(good=0, review=0, bad=0)
    refusals: list[NotInspected] = []
    with staged(output) as staging, Writer(staging, output, overlays, heat_maps) as writer:
        for number, (path, prepared) in enumerate(_read_ahead(detector, images), start=1):
            entry = _judged(detector, path, prepared)
            if isinstance(entry, Inspection) and isinstance(prepared, Prepared):
                decisions[entry.decision] += 1
                writer.inspected(number, entry, prepared.pixels)
            elif isinstance(entry, NotInspected):
                refusals.append(entry)
                writer.refused(entry)
            if on_image:
                on_image(number, len(images), entry)
    status = 3 if fail_on_bad and decisions["bad"] else 1 if refusals else 0
    read = len(images) - len(refusals)
    seconds = perf_counter() - start
    return Summary(
        len(images), read, len(refusals), dict(decisions), tuple(refusals), output, seconds, status, sources.passed_over
    )


def _read_ahead(detector: LoadedDetector, images: list[Path]) -> Iterator[tuple[Path, Prepared | ImageError]]:
    """Each picture, read while the one before it is judged. One ahead, so that memory holds two at most."""
    with ThreadPoolExecutor(1, "read") as reader:
        coming = reader.submit(detector.prepare, images[0])
        for path, following in zip(images, [*images[1:], None]):
            try:
                prepared: Prepared | ImageError = coming.result()
            except ImageError as error:
                prepared = error
            if following is not None:
                coming = reader.submit(detector.prepare, following)
            yield path, prepared


def _judged(detector: LoadedDetector, path: Path, prepared: Prepared | ImageError) -> Inspection | NotInspected:
    try:
        if isinstance(prepared, ImageError):
            raise prepared
        return detector.judge(prepared)
    except ImageError as error:
        return NotInspected(ImageInfo(str(path)), detector.info, str(error))
