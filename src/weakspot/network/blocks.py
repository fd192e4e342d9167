"""The layers that the network is made of: convolution blocks, and chains of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weakspot.network.fused import NormReluMirror
from weakspot.network.strips import convolve
from weakspot.spectral.layer import LargeKernelConv
from weakspot.spectral.tiles import SMALLEST_KERNEL


class ConvBlock(nn.Sequential):
    """Convolution over a mirrored border, batch norm, ReLU: the paper's layer, with stride 1 and no bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        large = kernel >= SMALLEST_KERNEL
        convolution = (
            LargeKernelConv(inputs, outputs, kernel) if large else nn.Conv2d(inputs, outputs, kernel, bias=False)
        )
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
        self.border = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(mirror(x, self.border))  # type: ignore[no-any-return, no-untyped-call]

    def learn(self, padded: Tensor, pooled: bool, border: int) -> Tensor:
        """The block in training mode on a map that has its border, then pooling or none, then the next block's border.

        padded (N, in, h + 2 · own border, w + …) → (N, out, h' + 2 border, w' + …), h' = ⌈h/2⌉ if pooled else h.
        """
        convolution, norm, _ = self
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)  # as the layer itself would
        maps = convolution(padded) if isinstance(convolution, LargeKernelConv) else convolve(padded, convolution.weight)
        answer: Tensor = NormReluMirror.apply(maps, norm, norm.weight, norm.bias, pooled, border)  # type: ignore[no-untyped-call]
        return answer


class Chain(nn.Sequential):
    """Convolution blocks, poolings and other layers one after the other: what `nn.Sequential` gives, sooner.

    While it learns on a processor, each block hands on a map that has the next one's mirrored border already.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled() and x.device.type == "cpu" and self._fits(x)):
            return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]
        layers = list(self)
        x = mirror(x, _border(layers))
        while layers:
            layer = layers.pop(0)
            if isinstance(layer, ConvBlock):
                pooled = bool(layers) and isinstance(layers[0], nn.MaxPool2d)
                layers = layers[pooled:]
                x = layer.learn(x, pooled, _border(layers))
            else:
                x = layer(x)
        return x

    def _fits(self, x: Tensor) -> bool:
        """Whether every map stays larger than the border that is mirrored around it."""
        pools = sum(isinstance(layer, nn.MaxPool2d) for layer in self)
        borders = [layer.border for layer in self if isinstance(layer, ConvBlock)]
        return isinstance(self[0], ConvBlock) and min(x.shape[-2:]) >> pools > max(borders)


def _border(layers: list[nn.Module]) -> int:
    """The border that the first of these layers needs around its map."""
    return layers[0].border if layers and isinstance(layers[0], ConvBlock) else 0


def mirror(x: Tensor, border: int) -> Tensor:
    """Mirror padding, since zeros would make the border look anomalous.

    A map no larger than its border is extended by its edge first, and cut again.
    """
    if not border:
        return x
    (height, width), wanted = x.shape[-2:], 2 * border
    if min(height, width) > border:
        with torch.autocast(x.device.type, enabled=False):  # autocast would pad in fp32, and copy twice to do so
            return F.pad(x, (border,) * 4, mode="reflect")
    more_h, more_w = max(0, border + 1 - height), max(0, border + 1 - width)
    top, left = more_h // 2, more_w // 2
    extended = F.pad(x, (left, more_w - left, top, more_h - top), mode="replicate")
    mirrored = F.pad(extended, (border,) * 4, mode="reflect")
    return mirrored[..., top : top + height + wanted, left : left + width + wanted]
