"""The page's pictures, each a figure whose name the script knows."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from nlm.compare.exhibits import NOISY, REFERENCE, Exhibit, Levels

ALT = {NOISY: "{picture} with noise", REFERENCE: "{picture} without noise"}


def pictures(exhibits: Sequence[Exhibit]) -> str:
    """All figures, a box for each picture."""
    return "".join(_box(one) for one in exhibits)


def chooser(exhibits: Sequence[Exhibit]) -> str:
    """A list to choose a picture from; nothing for a single one."""
    if len(exhibits) < 2:
        return ""
    options = "".join(
        f'<option value="{index}">{escape(one.name)}</option>' for index, one in enumerate(exhibits)
    )
    return f'<select id="picture" aria-label="Picture">{options}</select>'


def error_choice(exhibits: Sequence[Exhibit]) -> str:
    """The choice to see errors, where all the clean pictures are known."""
    if not exhibits or any(REFERENCE not in one.pictures for one in exhibits):
        return ""
    return '<label><input type="radio" name="show" value="error"><span>Error</span></label>'


def _box(one: Exhibit) -> str:
    shown = "".join(_figure(one, name, levels) for name, levels in one.pictures.items())
    return f'<div class="pictures">{_about(one)}<div class="grid">{shown}</div></div>'


def _about(one: Exhibit) -> str:
    name = escape(f"{one.name}, {one.moment}" if one.moment else one.name)
    if one.whole:
        return f'<p class="window">{name}</p>'
    (top, bottom), (left, right) = ((part.start, part.stop) for part in one.window)
    return (
        f'<p class="window">{name}: {right - left} x {bottom - top} pixels of '
        f"{one.size[1]} x {one.size[0]}, at {left}, {top}, where methods differ most</p>"
    )


def _figure(one: Exhibit, name: str, levels: Levels) -> str:
    alt = ALT.get(name, "{picture} denoised by {name}").format(picture=one.name, name=name)
    rows, columns = levels.shape[:2]
    return (
        f'<figure data-name="{escape(name)}"><div class="port"><canvas></canvas>'
        f'<img alt="{escape(alt)}" width="{columns}" height="{rows}" src="{_data_uri(levels)}">'
        f"</div><figcaption><b>{escape(name)}</b><span>{quality(one, name)}</span></figcaption>"
        "</figure>"
    )


def quality(one: Exhibit, name: str) -> str:
    """A short word on a picture's quality, as far as it is known."""
    if name == NOISY:
        return "" if one.noisy_psnr is None else f"{one.noisy_psnr:.2f} dB"
    result = one.results.get(name)
    if result is None:
        return ""
    if result.psnr is not None:
        return f"{result.psnr:.2f} dB"
    return "" if result.blind_psnr is None else f"about {result.blind_psnr:.2f} dB"


def _data_uri(levels: Levels) -> str:
    """Lossless WebP: about a tenth smaller than PNG."""
    image = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, quality=70, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
