"""The rivals' recipes: a plain table of names. Their networks are trained by the loop that trains `sharp`.

Weights are random everywhere, but where a file gives those of `resnet18_cam`. `docs/rivals.md` says what of each is as
published. Iterations are a third of the published ones, which --schedule 3 gives.
"""

from dataclasses import replace

from weakspot.baselines.deeplab import deeplab
from weakspot.baselines.patchcore import patchcore, remember
from weakspot.baselines.pooling import mil_lse
from weakspot.baselines.resnet import resnet18_cam
from weakspot.baselines.segdec import segdec
from weakspot.baselines.unet import unet
from weakspot.settings import NetworkSettings
from weakspot.training.stages import EVERYTHING, HEAT, SHARP, Recipe, Stage

# Tabernik et al. 2019 and their code: 6,600 steps of one picture each in either stage, plain SGD
_SEGMENTATION = Stage(
    name="segmentation", trains=HEAT, losses=(("cells", 1.0),), iterations=1100, learning_rate=0.1
)  # fmt: skip
_DECISION = Stage(
    name="decision", trains=("decision",), losses=(("decide", 1.0),), iterations=1100, learning_rate=0.1
)  # fmt: skip
SEGDEC = Recipe(
    name="segdec_masks", network=NetworkSettings(body="segdec", top_fractions=(0.01,)), parts_of=segdec,
    stages=(_SEGMENTATION, _DECISION), searches=False, needs_masks=True,
)  # fmt: skip
UNET = replace(SEGDEC, name="unet_masks", network=NetworkSettings(body="unet"), parts_of=unet)
DEEPLAB = replace(SEGDEC, name="deeplab_masks", network=NetworkSettings(body="deeplab"), parts_of=deeplab)
# Božič et al. 2021 and their code without masks on KolektorSDD: 50 epochs of 68 pictures, rate 0.01, both losses at
# once with the same weight; a good picture's empty mask is known, a bad one's is not
BOZIC = replace(
    SEGDEC, name="bozic2021", needs_masks=False,
    stages=(Stage(
        name="both", trains=EVERYTHING, losses=(("cells", 1.0), ("decide", 1.0)), iterations=570, learning_rate=0.01
    ),),
)  # fmt: skip
RESNET = Recipe(  # Lin et al. 2018 for the map; momentum and decay of He et al. 2016, at a tenth of their rate
    name="resnet18_cam",
    network=NetworkSettings(body="resnet18", decision="heat", top_fractions=(1.0,)),
    parts_of=resnet18_cam,
    stages=(Stage(
        name="classifier", trains=HEAT, losses=(("decide", 1.0),), iterations=1000, learning_rate=0.01, warm_up=20,
        cosine=True, momentum=0.9, weight_decay=0.0001, mirrored=True, pairs=4,
    ),),
    searches=False,
)  # fmt: skip
MIL = Recipe(  # stage and network of `sharp`, without drawn defects and with the pooled score instead of its losses
    name="mil_lse",
    network=NetworkSettings(body="narrow"),
    parts_of=mil_lse,
    stages=tuple(replace(stage, trains=EVERYTHING, losses=(("decide", 1.0),), synthetic=0) for stage in SHARP.stages),
    fold_schedule=SHARP.fold_schedule,
    fit=SHARP.fit,
    searches=False,
)
SYNTHETIC = replace(SHARP, name="synthetic_only", shows_bad=False)
PATCHCORE = replace(
    SYNTHETIC, name="patchcore", network=NetworkSettings(body="narrow"), parts_of=patchcore, finish=remember
)
RIVALS = {recipe.name: recipe for recipe in (SEGDEC, UNET, DEEPLAB, RESNET, BOZIC, MIL, PATCHCORE, SYNTHETIC)}
