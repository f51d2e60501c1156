"""Where things begin to be too much, or too little."""

MAX_PIXELS = 2**28
"""Largest number of pixels in a frame that is read unless more is asked for: 16384 x 16384."""
SMALLEST_SIGMA = 1e-6
"""Less noise than this, in fractions of full scale, is none."""
LARGEST_SAMPLE = 1e16
"""Floats beyond it, in full scales, are no samples: sums of their squares overflow float32."""
