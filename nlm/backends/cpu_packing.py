"""Weights of a convolution, with the channels of its inputs and outputs in vectors."""

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import simd_width
from nlm.backends.cpu_tiles import aligned_areas


def in_vectors(
    weights: NDArray[np.floating], bias: NDArray[np.floating], vectors: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fill up channels with zeros and divide them among vectors.

    Parameters
    ----------
    weights : ndarray, shape (outputs, inputs, taps, taps)
    bias : ndarray, shape (outputs,)
    vectors : int
        Of outputs that are computed together.

    Returns
    -------
    weights : ndarray, shape (groups, vectors, lanes, input blocks, lanes, taps, taps)
    bias : ndarray, shape (groups, vectors, lanes)
    """
    outputs, inputs, *taps = weights.shape
    lanes = simd_width()
    groups, blocks = -(-outputs // (lanes * vectors)), -(-inputs // lanes)
    full = np.zeros((groups * vectors * lanes, blocks * lanes, *taps), np.float32)
    full[:outputs, :inputs] = weights
    full_bias = aligned_areas([groups * vectors])[0]
    full_bias[:] = 0
    full_bias[:outputs] = bias
    return (
        full.reshape(groups, vectors, lanes, blocks, lanes, *taps),
        full_bias.reshape(groups, vectors, lanes),
    )
