"""Other programs' parameters as ours."""

NO_NOISE = 1e-3
"""Of h: a noise level that makes no difference."""


def noise_and_strength(sigma: float, h: float) -> tuple[float, float]:
    """Our sigma and strength for w = exp(-max(d2 - 2 sigma^2, 0) / h^2), sigma may be 0.

    Parameters
    ----------
    sigma, h : float
        In units of the samples, h above 0.
    """
    sigma = max(sigma, NO_NOISE * h)
    return sigma, h / sigma
