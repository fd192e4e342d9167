"""A model file and labelled pictures → metrics.json, scores.csv and the report. Masks are read here, and only here."""

from collections.abc import Callable, Sequence
from pathlib import Path

from weakspot.data.layouts import Sample, read_layout
from weakspot.data.reading import read_image, read_mask
from weakspot.durable import refuse_below, refuse_unwritable
from weakspot.errors import OutputError, amount, shown
from weakspot.evaluation.evaluate import Background, Evaluation, evaluate
from weakspot.evaluation.report import NAMES, check_output, write_report
from weakspot.inspection.inspection import Inspection
from weakspot.inspection.loaded import LoadedDetector
from weakspot.jobs.threshold import held_out_counts


def evaluate_model(
    model: Path,
    data: Path | str,
    output: Path,
    *,
    layout: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    on_image: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judge every labelled picture of `data` by a model file; the report goes into `output`.

    overwrite: whether an earlier evaluation that lies there is replaced.
    One label is enough: what needs both is then not measured.
    """
    check_output(output, overwrite=overwrite)
    _refuse_others(output)
    refuse_below(output, Path(data))
    detector = LoadedDetector.load_exact(model, threads)
    samples = read_layout(Path(data), layout, good_needed=False)
    refuse_unwritable(output)  # before the long part
    about = detector.manifest
    chosen = held_out_counts(about)
    background = Background(
        title=f"{about.name} on {amount(len(samples), 'picture')}",
        trained_on=frozenset(about.training_files),
        threshold_evidence={"counts": chosen.as_dict(), "promised": chosen.promised} if chosen else {},
        settings=about.settings,
        training={name: getattr(about, name) for name in ("seed", "machine", "versions", "commit")},
    )
    return evaluate_samples(detector, samples, output, background, on_image, overwrite=overwrite)


def _refuse_others(output: Path) -> None:
    """Raise OutputError where a run, an inspection or anything else but an earlier evaluation lies."""
    others = sorted(path for path in output.glob("*") if path.name not in NAMES) if output.is_dir() else []
    if others:
        holds = f"holds {shown(others[0].name)} and is no earlier evaluation's"
        raise OutputError(f"{shown(output)}: {holds}; choose another --output, such as a new folder")


def evaluate_samples(
    detector: LoadedDetector, samples: Sequence[Sample], output: Path, background: Background,
    on_image: Callable[[int, int], None] | None = None, *, overwrite: bool = False,
) -> Evaluation:  # fmt: skip
    """Judge these samples and write metrics.json, scores.csv and report.html into `output`."""

    def inspect(sample: Sample) -> Inspection:
        return detector.inspect(sample.path)

    evaluation = evaluate(
        inspect, samples, detector.thresholds, read_mask=read_mask, background=background, on_sample=on_image
    )
    read = detector.manifest.read
    write_report(
        output, evaluation, lambda sample: read_image(sample.path, read).pixels, read_mask, overwrite=overwrite
    )
    return evaluation
