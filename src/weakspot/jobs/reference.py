"""The detector of a model file as torch computes it, from its weights: what every runtime is held against."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from weakspot.errors import ModelFileError, shown
from weakspot.inspection.ignore_mask import own_cells
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.runtimes import Answer, Pixels, Precision
from weakspot.jobs.recipes import RECIPES
from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings
from weakspot.training.stages import SHARP


class TorchRuntime:
    """torch in fp32 on the processor, one picture at a time.

    Raises ModelFileError where the weights are not those of the network that the header names.
    """

    name = "torch"
    precision: Precision = "fp32"

    def __init__(self, model: ModelFile, threads: int) -> None:
        torch.set_num_threads(threads)
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in model.manifest.network.items()
        }
        try:
            recipe = RECIPES.get(str(model.manifest.settings.get("recipe")), SHARP)
            network = replace(NetworkSettings(**plain), weights_from=None)  # they are in the file
            self._detector = Detector(network, parts_of=recipe.parts_of)
            cells = own_cells(model)
            self._detector.ignored = None if cells is None else torch.zeros(cells.shape)
            self._detector.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in model.weights.items()})
        except (TypeError, ValueError, RuntimeError) as error:
            reason = shown(str(error).strip().splitlines()[0])
            way_out = "copy the file again from where it was made, or train again"
            raise ModelFileError(
                f"{model.manifest.name}: its weights are not its network's ({reason}); {way_out}"
            ) from None
        self._detector.eval()

    @torch.no_grad()
    def run(self, images: Pixels) -> Answer:
        """(N, C, h, w) raw pixels → Answer."""
        found = [self._detector(torch.from_numpy(image.astype(np.float32))[None]) for image in images]
        raw, heat = ([float(getattr(each, name)) for each in found] for name in ("raw_score", "heat_score"))
        return Answer(np.array(raw), np.array(heat), np.stack([each.heat.sigmoid()[0, 0].numpy() for each in found]))
