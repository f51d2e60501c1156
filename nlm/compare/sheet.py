"""A contact sheet: the same telling crop of every method, and what each took away."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nlm.compare.exhibits import NOISY, Exhibit, Levels

CROP, ZOOM = 128, 2
COLUMNS = 6
GAP, MARGIN, LINE = 12, 24, 20
PAPER, INK, FAINT = "#ffffff", "#1b1f24", "#6a737d"


def draw_sheet(exhibits: Sequence[Exhibit]) -> bytes:
    """A PNG of all exhibits, one below the other.

    Parameters
    ----------
    exhibits : sequence of Exhibit
        Not empty.

    Returns
    -------
    bytes
    """
    strips = [_strip(one.cut(CROP)) for one in exhibits]
    width = max(strip.width for strip in strips)
    height = sum(strip.height for strip in strips)
    sheet = Image.new("RGB", (width, height), PAPER)
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _strip(crop: Exhibit) -> Image.Image:
    """One picture's heading and cells."""
    cells = [_cell(crop, name) for name in crop.pictures]
    rows = -(-len(cells) // COLUMNS)
    columns = -(-len(cells) // rows)
    wide, high = cells[0].width + GAP, cells[0].height + GAP
    strip = Image.new(
        "RGB", (2 * MARGIN + columns * wide - GAP, 2 * MARGIN + 2 * LINE + rows * high - GAP), PAPER
    )
    draw = ImageDraw.Draw(strip)
    draw.text((MARGIN, MARGIN), _printable(crop.name), INK, font=_font(16))
    top, left = (part.start for part in crop.window)
    where = f"{CROP} pixels a side, where methods differ most: at {left}, {top}. "
    where = f"{crop.moment}; {where}" if crop.moment else where
    where += f"Below: what was taken away, {crop.gain} x about gray."
    draw.text((MARGIN, MARGIN + LINE + 2), where, FAINT, font=_font(12))
    for k, cell in enumerate(cells):
        place = (MARGIN + k % columns * wide, MARGIN + 2 * LINE + 8 + k // columns * high)
        strip.paste(cell, place)
    return strip


def _cell(crop: Exhibit, name: str) -> Image.Image:
    picture = _enlarged(crop.pictures[name])
    taken = crop.pictures[NOISY].astype(float) - crop.pictures[name]
    residual = _enlarged(np.clip(128 + crop.gain * taken, 0, 255).astype(np.uint8))
    cell = Image.new("RGB", (picture.width, 2 * picture.height + 4 + LINE), PAPER)
    draw = ImageDraw.Draw(cell)
    draw.text((0, 1), _printable(name), INK, font=_font(13))
    note = _quality(crop, name)
    draw.text((cell.width, 1), note, FAINT, font=_font(13), anchor="ra")
    cell.paste(picture, (0, LINE))
    cell.paste(residual, (0, LINE + picture.height + 4))
    return cell


def _quality(crop: Exhibit, name: str) -> str:
    result = crop.results.get(name)
    level = None if result is None else result.psnr or result.blind_psnr
    return "" if level is None else f"{level:.2f} dB"


def _enlarged(levels: Levels) -> Image.Image:
    image = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).convert("RGB")
    return image.resize(
        (CROP * ZOOM, CROP * ZOOM * image.height // image.width), Image.Resampling.NEAREST
    )


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _printable(text: str) -> str:
    """Text that any font can draw: file names may hold any bytes."""
    return text.encode("ascii", "replace").decode()
