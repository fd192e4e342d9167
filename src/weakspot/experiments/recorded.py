"""What a record says of a run: settings, data, versions, figures, as plain values. Writes nothing."""

from typing import Any

import numpy as np

from weakspot.errors import SettingsError
from weakspot.evaluation.evaluate import Evaluation
from weakspot.evaluation.metrics import average_precision
from weakspot.experiments.experiment import Combination, Experiment
from weakspot.inspection.model_file import read_model_file
from weakspot.jobs.train import TrainResult
from weakspot.runs import Run
from weakspot.settings import TrainSettings


def plain_record(
    experiment: Experiment, run: Combination, settings: TrainSettings, result: TrainResult
) -> dict[str, Any]:
    """The record of a run that is done. Raises SettingsError where nothing was kept apart to test it."""
    if result.evaluation is None:
        raise SettingsError(
            f"{run.name}: nothing was kept apart, so there is nothing to record; give a hold_out above 0"
        )
    manifest, state = read_model_file(result.model).manifest, Run(result.run).state()
    split = {"train": len(result.split.train), "test": len(result.split.test)}
    return {
        "experiment": experiment.data.rstrip("/").rsplit("/", 1)[-1],
        "run": manifest.name,
        "recipe": settings.recipe,
        "variant": run.variant.name if run.variant else None,
        "scale": experiment.scale,
        "split": {"name": experiment.splits, "run": result.split.name, **split},
        "positives": sum(sample.label for sample in result.split.train),
        "seed": run.seed,
        "weights_seed": run.weights_seed,
        "size": list(result.size),
        "settings": manifest.settings,
        "data_fingerprint": manifest.data_fingerprint,
        "versions": manifest.versions,
        "machine": manifest.machine,
        "seconds": round(state["seconds"], 1),
        "commit": manifest.commit,
        "learned": state["learned"],
        "promises": result.evaluation.promises,
        "metrics": result.evaluation.metrics | _by_mean_heat(result.evaluation),
        "intervals": {name: list(bounds) for name, bounds in result.evaluation.intervals.items()},
    }


def _by_mean_heat(evaluation: Evaluation) -> dict[str, float]:
    """AP by the mean heat of each picture, as printed (Xu et al. 2020, Q of eq. 3); heat_score has the mean logit."""
    labels = [row.sample.label for row in evaluation.rows]
    if len(set(labels)) < 2:
        return {}
    means = np.array([float(np.mean(row.inspection.heat_map, dtype=np.float64)) for row in evaluation.rows])
    return {"mean_heat_average_precision": average_precision(np.array(labels), means)}
