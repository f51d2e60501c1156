"""Draw the noise level over brightness."""

import os

from PIL import Image, ImageDraw

from nlm.errors import FileError
from nlm.noise import NoiseEstimate

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 480, 60, 50, 40, 20
INK, GRID, DOTS, LINE = "#222222", "#dddddd", "#1f77b4", "#d62728"


def draw_curve(found: NoiseEstimate, path: str | os.PathLike[str]) -> None:
    """Write a PNG with the measured levels and the model's line, in 8-bit grey levels.

    Raises
    ------
    FileError
        If it cannot be written.
    """
    measured = [(x * 255, level * 255) for x, level in found.curve]
    top = 1.25 * max([level for _, level in measured] + [found.sigma * 255, 1.0])
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)

    def at(x: float, level: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / 255
        return across, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * level / top

    for k in range(6):
        x, level = 51.0 * k, top * k / 5
        draw.line([at(x, 0), at(x, top)], GRID)
        draw.line([at(0, level), at(255, level)], GRID)
        draw.text((at(x, 0)[0], HEIGHT - BOTTOM + 8), f"{x:.0f}", INK, anchor="ma")
        draw.text((LEFT - 8, at(0, level)[1]), f"{level:.1f}", INK, anchor="rm")
    draw.text((WIDTH / 2, HEIGHT - 14), "brightness (8-bit grey levels)", INK, anchor="mm")
    title = f"noise level (8-bit grey levels): {found.model}, sigma {found.sigma * 255:.2f}"
    draw.text((WIDTH / 2, 18), title, INK, anchor="mm")
    model = [at(x, model_level(found, x / 255) * 255) for x in range(0, 256, 3)]
    draw.line(model, LINE, 2)
    for x, level in measured:
        across, down = at(x, level)
        draw.ellipse((across - 4, down - 4, across + 4, down + 4), DOTS)
    try:
        image.save(path, "PNG")
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from error


def model_level(found: NoiseEstimate, x: float) -> float:
    """The level that the model gives at intensity `x`."""
    if found.model == "gaussian":
        return found.sigma
    return float((found.gain * x + found.offset**2) ** 0.5)
