"""In which precision a layer's products are computed."""

import torch
from torch import Tensor


def product_dtype(x: Tensor) -> torch.dtype:
    """As autocast would choose for a convolution of x: its lower precision where it is on, but for fp64, which is for
    checks alone."""
    device = x.device.type
    return (
        torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) and x.dtype != torch.float64 else x.dtype
    )
