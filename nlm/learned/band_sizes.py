"""How high the bands are by which a network runs through a large picture, and what they hold."""

from nlm.backends.threads import available_threads
from nlm.learned.config import SQUARE, ModelConfig

LARGEST_WHOLE = 2**20
"""Pixels of a picture that does not go by bands."""
SHARE, MOST = 2**17, 2**18
"""Pixels of a band for each thread, and at most: with fewer, threads wait for each other."""
SHIFT = SQUARE
"""Rows by which a convolution's band lies above the one that it sees."""

AT_WORK = 4
"""Bands that are there at once."""
REMEMBERED = 7
"""Rows that a layer remembers of its last band, on average."""


def rows_for(shape: tuple[int, ...], config: ModelConfig) -> int | None:
    """Rows of the bands of a picture (Y, X, ...) on the CPU; None = it goes as a whole."""
    rows, columns = shape[:2]
    if rows * columns <= LARGEST_WHOLE:
        return None
    return rows_of(min(SHARE * available_threads(), MOST), columns, config)


def rows_of(pixels: int, columns: int, config: ModelConfig) -> int:
    """Rows of bands of about so many pixels."""
    return config.align * max(1, round(pixels / (config.align * columns)))


def numbers_held(shape: tuple[int, ...], config: ModelConfig, pixels: int = MOST) -> float:
    """Numbers in maps that are held at once, about, where such a picture goes by bands.

    The bands have about so many pixels; left out, the most, whatever processor it will be.
    """
    columns, numbers, late = shape[1], 0.0, 0
    step = min(rows_of(pixels, columns, config), shape[0])
    for level in reversed(range(len(config.widths))):
        rows = step / 2 ** (level + 1)
        blocks, above = blocks_at(config, level), rows_above(config, level)
        kept = (late + rows) * (1 + above / rows) if level < len(config.widths) - 1 else 0
        high = AT_WORK * (rows + above) + REMEMBERED * (2 * blocks + 2) + kept
        numbers += high * config.widths[level] * columns / 2 ** (level + 1)
        late = 2 * (late + 2 * blocks * SHIFT + on_grid(config.nonlocal_radius[level]) + SHIFT)
    return config.repeats * numbers


def rows_above(config: ModelConfig, level: int) -> int:
    """Rows that a band of a level may need above it."""
    return max(2 * SHIFT, 2 * on_grid(config.nonlocal_radius[level]))


def blocks_at(config: ModelConfig, level: int) -> int:
    """Residual blocks of a level, down and up."""
    up = config.blocks_up[level] if level < len(config.blocks_up) else 0
    return config.blocks[level] + up


def on_grid(rows: int) -> int:
    """So many rows or a little more, to be whole squares."""
    return -(-rows // SQUARE) * SQUARE
