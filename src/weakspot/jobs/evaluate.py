"""A model file and labelled pictures → metrics.json, scores.csv and the report. Masks are read here, for evaluation
alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

from weakspot.data.layouts import Sample, read_layout
from weakspot.data.reading import read_image, read_mask
from weakspot.durable import refuse_unwritable
from weakspot.evaluation.evaluate import Background, Evaluation, evaluate
from weakspot.evaluation.report import check_output, write_report
from weakspot.inspection.inspection import Inspection
from weakspot.inspection.loaded import LoadedDetector


def evaluate_model(
    model: Path,
    data: Path | str,
    output: Path,
    *,
    layout: str = "auto",
    on_image: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judge every labelled picture of `data` by a model file and write the report into `output`, a new folder or an
    earlier evaluation's."""
    check_output(output, overwrite=True)
    detector = LoadedDetector.load_exact(model)
    samples = read_layout(Path(data), layout)
    refuse_unwritable(output)  # before the long part
    background = Background(
        title=f"{detector.manifest.name} on {len(samples)} pictures",
        settings=detector.manifest.settings,
        training={
            "seed": detector.manifest.seed,
            "machine": detector.manifest.machine,
            "versions": detector.manifest.versions,
            "commit": detector.manifest.commit,
        },
    )
    return evaluate_samples(detector, samples, output, background, on_image, overwrite=True)


def evaluate_samples(
    detector: LoadedDetector, samples: Sequence[Sample], output: Path | None, background: Background,
    on_image: Callable[[int, int], None] | None = None, *, overwrite: bool = False,
) -> Evaluation:  # fmt: skip
    """Judge these samples; with `output`, write metrics.json, scores.csv and report.html there."""

    def inspect(sample: Sample) -> Inspection:
        return detector.inspect(sample.path)

    found = evaluate(
        inspect, samples, detector.thresholds, read_mask=read_mask, background=background, on_sample=on_image
    )
    if output is not None:
        read = detector.manifest.read
        write_report(output, found, lambda sample: read_image(sample.path, read).pixels, read_mask, overwrite=overwrite)
    return found
