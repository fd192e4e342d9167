"""Multiple-instance learning: a bad picture holds a bad cell, a good one none; the cells' logits, pooled, decide.

As published (Pinheiro and Collobert 2015, eq. 6): log-sum-exp with r = 5, between the mean and the largest. Not as
published: the narrow network of `sharp`.
"""

from torch import Tensor, nn

from weakspot.network.detector import Parts, narrow
from weakspot.settings import NetworkSettings

SHARPNESS = 5.0  # r: 0 would be the mean, infinity the largest


class LogMeanExp(nn.Module):
    """log mean exp(r z) / r over the cells."""

    def forward(self, features: Tensor, heat: Tensor) -> Tensor:
        """heat logits (B, 1, h, w) → logits (B,)."""
        z = SHARPNESS * heat.flatten(1)
        largest = z.amax(1, keepdim=True)
        return ((z - largest).exp().mean(1).log() + largest.squeeze(1)) / SHARPNESS


def mil_lse(settings: NetworkSettings) -> Parts:
    """The narrow network with log-sum-exp over its heat as the decision."""
    return *narrow(settings), LogMeanExp()
