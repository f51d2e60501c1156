"""Layers of a network on the GPU in half precision, otherwise as in `gpu_layers.py`.

Convolutions multiply numbers of 11 bits and sum in float32; maps stay float32 in between.
"""

import numpy as np
from numpy.typing import NDArray

from nlm.backends import gpu_device, gpu_layers
from nlm.backends.gpu_layers import AnyLayer, FeatureMap, convolve, shuffle, unshuffle
from nlm.backends.gpu_tensor import TensorConvolution

__all__ = ["Convolution", "FeatureMap", "convolve", "shuffle", "unshuffle"]


class Convolution:
    """Weights as the kernel for this card reads them."""

    @staticmethod
    def of(weights: NDArray[np.floating], bias: NDArray[np.floating], step: int = 1) -> AnyLayer:
        """From weights (outputs, inputs, taps, taps) and biases (outputs,)."""
        if not gpu_device.device().tensor_cores:  # without them, it would be no faster
            return gpu_layers.Convolution.of(weights, bias, step)
        return TensorConvolution.of(weights, bias, step, products=1)
