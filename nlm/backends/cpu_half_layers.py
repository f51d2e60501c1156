"""Layers of a network on processors with AMX in half precision, otherwise as in `cpu_layers.py`.

Convolutions multiply numbers of 16 bits (bfloat16, of which 8 are significant) and sum in float32;
maps stay float32 in between. The first and the last, which read and write pictures, and those of
other taps than 3 x 3 are as exact as ever.
"""

import numpy as np
from numpy.typing import NDArray

from nlm.backends import cpu_layers
from nlm.backends.cpu_amx_layer import AmxWeights
from nlm.backends.cpu_layers import FeatureMap, Layer, convolve, shuffle, unshuffle

__all__ = ["Convolution", "FeatureMap", "convolve", "shuffle", "unshuffle"]


class Convolution:
    """Weights as the kernels read them."""

    @staticmethod
    def of(weights: NDArray[np.floating], bias: NDArray[np.floating], step: int = 1) -> Layer:
        """From weights (outputs, inputs, taps, taps) and biases (outputs,)."""
        if AmxWeights.suit(weights, step):
            return AmxWeights.of(weights, bias)
        return cpu_layers.Convolution.of(weights, bias, step)
