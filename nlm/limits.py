"""Limits that protect people from what a file claims to be."""

MAX_PIXELS = 2**28
"""Largest number of pixels in a frame that is read unless more is asked for: 16384 x 16384."""
