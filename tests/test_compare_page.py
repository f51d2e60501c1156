"""The report page: what it holds, and how it works in a real browser."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from nlm import compare
from nlm.compare.charts import HEIGHT, WIDTH, Line, Point, curves, scatter
from nlm.compare.comparison import Comparison
from nlm.compare.exhibits import NOISY, exhibit
from nlm.compare.methods import parse_methods
from nlm.compare.page import render
from nlm.compare.trials import Result
from nlm.noise import Plan
from tests.browser import Browser, find_browser
from tests.conftest import checkers, noisy

EVIL = "<img src=x onerror='window.evil=1'>\"&`.png"
SIGMA = 25 / 255


def compared(*names, methods="nlm,nlm@fast,tv,wavelet", shape=(96, 128, 3), sweep=None):
    """A comparison of pictures called so."""
    sweep = compare.parse_sweep(sweep) if sweep else None
    comparison = Comparison(parse_methods(methods), sweep, len(names))
    for seed, name in enumerate(names):
        clean = checkers(*shape)
        told = compare.Picture(name, noisy(clean, SIGMA, seed), Plan(SIGMA), clean)
        results = compare.compare_picture(told, comparison.methods, runs=1)
        comparison.add(told, results)
    return comparison


@pytest.fixture(scope="module")
def page():
    return render(compared("one.png", EVIL).report("nlm compare one.png", None))


class Parts(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


class TestPage:
    def test_nothing_is_fetched(self, page):
        parts = Parts(page)
        sources = [about["src"] for _, about in parts.tags if "src" in about]
        assert sources
        assert all(source.startswith("data:image/webp;base64,") for source in sources)
        assert not any(tag in ("link", "iframe", "object") for tag, _ in parts.tags)
        assert "http://" not in page
        assert "https://" not in page

    def test_names_are_escaped(self, page):
        parts = Parts(page)
        assert not any("onerror" in about for _, about in parts.tags)
        assert any(about.get("alt", "").startswith(EVIL) for _, about in parts.tags)

    def test_every_picture_has_a_text(self, page):
        pictures = [about for tag, about in Parts(page).tags if tag == "img"]
        assert len(pictures) == 2 * (2 + 4)
        assert all(about["alt"] for about in pictures)

    def test_methods_that_failed_are_there(self):
        comparison = compared("a.png", methods="nlm,tv")
        comparison.results.append(
            Result("a.png", "bm3d", "not installed", error="get it with: pip install x")
        )
        comparison.asked = [*comparison.asked, replace(comparison.asked[0], label="bm3d")]
        text = render(comparison.report("", 1))
        assert "not installed: get it with: pip install x" in text

    def test_below_4_megabytes(self):
        """Eight methods of a picture of 512 x 512, each of noise that no coder makes smaller."""
        rng = np.random.default_rng(0)
        pixels = rng.random((512, 512, 1), np.float32)
        told = compare.Picture("a.png", pixels, Plan(0.1), pixels)
        methods = [f"nlm:strength=0.{k}" for k in range(1, 9)]
        results = [
            Result(
                "a.png", name, "ok", 30, 0.9, 1, 25, denoised=rng.random((512, 512, 1), np.float32)
            )
            for name in methods
        ]
        comparison = Comparison(parse_methods(",".join(methods)), None, 1)
        comparison.add(told, results)
        assert comparison.exhibits[0].whole
        assert len(render(comparison.report("nlm", 1))) < 4e6


@pytest.mark.parametrize("kind", ["cielab 8", "cielab 16", "icclab 8", "cielab float"])
def test_lab_is_shown_in_its_colours(tmp_path, kind):
    """As scikit-image says they look; the numbers are those of L*, a* and b*."""
    rgb = np.random.default_rng(0).random((12, 16, 3)) * 0.8 + 0.1
    lab = rgb2lab(rgb)
    photometric, depth = kind.split()
    if depth == "float":
        stored = lab.astype(np.float32)
    else:
        full = 255 if depth == "8" else 65535
        step = 1 if depth == "8" else 257
        stored = np.rint(lab / [100 / full, 1 / step, 1 / step] + [0, 128 * step, 128 * step])
        stored = stored.astype(np.uint8 if depth == "8" else np.uint16)
        if photometric == "cielab":
            stored[..., 1:] ^= stored.dtype.type(1 << 8 * stored.itemsize - 1)
    tifffile.imwrite(tmp_path / "lab.tif", stored, photometric=photometric)
    picture = compare.load(str(tmp_path / "lab.tif"), sigma=0.01)
    shown = exhibit(picture, [], 64).pictures[NOISY]
    wanted = lab2rgb(lab) * 255
    assert np.abs(shown - wanted).mean() < 2
    assert np.abs(shown - wanted).max() < 12
    middle = picture.bounded * 128 / 255
    without = np.float32(picture.noisy * [1, 0, 0] + [0, middle, middle])
    gray = replace(picture, noisy=without)
    assert np.ptp(exhibit(gray, [], 64).pictures[NOISY].astype(int), axis=2).max() <= 1


class TestCharts:
    @pytest.mark.parametrize("count", [1, 2, 12])
    @pytest.mark.parametrize("spread", [0.0, 1.0, 1e4])
    def test_everything_is_inside(self, count, spread):
        rng = np.random.default_rng(count)
        points = [
            Point(0.01 + spread * rng.random(), 30 + spread * rng.random(), f"<{k}>", k)
            for k in range(count)
        ]
        lines = [Line(tuple((p.x, p.y) for p in sorted(points, key=lambda p: p.x)), "<&", 3)]
        for chart in (scatter(points, "s", "dB"), curves(lines, "strength", "dB")):
            circles = re.findall(r'<circle cx="([^"]+)" cy="([^"]+)"', chart)
            assert len(circles) == count
            assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in circles)
            assert "<&" not in chart

    def test_labels_of_neighbours_do_not_overlap(self):
        points = [Point(1 + k / 50, 30 + k / 50, f"method {k}", k) for k in range(6)]
        points.append(Point(9, 33, "far", 0))
        places = re.findall(
            r'<text x="([^"]+)" y="([^"]+)" text-anchor="middle">method', scatter(points, "s", "dB")
        )
        places = [(float(x), float(y)) for x, y in places]
        assert len(places) == 6
        for k, (x, y) in enumerate(places):
            assert all(abs(x - x2) > 50 or abs(y - y2) >= 15 for x2, y2 in places[:k])


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        pytest.skip("no browser is installed")
    with Browser(path) as running:
        yield running


@pytest.fixture
def opened(browser, page, tmp_path):
    """The page, open in a window of 1100 x 900."""
    (tmp_path / "page.html").write_text(page)
    browser.messages.clear()
    browser.requests.clear()
    browser.resize(1100, 900)
    browser.open(tmp_path / "page.html")
    browser.wait_for("document.querySelector('#under canvas').dataset.content !== undefined")
    yield browser
    assert browser.messages == []
    assert all(address.startswith("file:") for address in browser.requests)
    assert len(browser.requests) == 1
    assert browser.evaluate("window.evil") is None


def settled(browser, expression):
    """The value of an expression after the page has drawn itself again."""
    frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    browser.evaluate(frames)
    return browser.evaluate(expression)


def box_of(browser, selector):
    return browser.evaluate(
        f"(({{x, y, width, height}}) => [x, y, width, height])"
        f"(document.querySelector('{selector}').getBoundingClientRect())"
    )


class TestInABrowser:
    def test_slider_follows_the_mouse(self, opened):
        x, y, width, height = box_of(opened, "#stage")
        opened.drag((x + width / 2, y + height / 2), (x + width / 4, y + height / 3))
        clip = settled(opened, "document.querySelector('#over').style.clipPath")
        assert float(re.search(r"([\d.]+)%", clip)[1]) == pytest.approx(25, abs=1)
        assert box_of(opened, "#divider")[0] == pytest.approx(x + width / 4, abs=8)

    def test_slider_obeys_keys(self, opened):
        opened.evaluate("document.querySelector('#split').focus()")
        for _ in range(4):
            opened.press("ArrowRight")
        assert settled(opened, "document.querySelector('#over').style.clipPath").endswith("52%)")

    def test_any_two_methods_face_each_other(self, opened):
        names = opened.evaluate("[...document.querySelector('#left').options].map(o => o.value)")
        assert names == ["noisy", "reference", "nlm", "nlm@fast", "tv", "wavelet"]
        opened.evaluate(
            "for (const [id, name] of [['left', 'tv'], ['right', 'nlm@fast']]) {"
            "const one = document.getElementById(id); one.value = name; one.onchange(); }"
        )
        labels = "[...document.querySelectorAll('#stage canvas')].map(c => c.ariaLabel)"
        assert settled(opened, labels) == ["one.png denoised by tv", "one.png denoised by nlm@fast"]
        opened.press("s")
        assert settled(opened, labels) == ["one.png denoised by nlm@fast", "one.png denoised by tv"]

    @pytest.mark.parametrize("show", ["picture", "residual", "error"])
    def test_pictures_and_residuals_are_exact(self, opened, page, show):
        """What is painted, against the page's own data."""
        found = re.findall(r'<img alt="one.png([^"]*)"[^>]*base64,([^"]+)"', page)
        stored = {
            alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), int)
            for alt, data in found
        }
        mixed, clean = stored[" with noise"], stored[" without noise"]
        taken = stored[" denoised by nlm"]
        gain = int(opened.evaluate("document.querySelector('#gain').value"))
        expected = {
            "picture": taken,
            "residual": np.clip(128 + gain * (mixed - taken), 0, 255),
            "error": np.clip(128 + gain * (taken - clean), 0, 255),
        }[show]
        opened.evaluate("document.querySelector('#right').value = 'nlm'")
        opened.evaluate(f"document.querySelector('[value={show}]').click()")
        shown = settled(
            opened,
            "(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
            "(document.querySelector('#over canvas'))",
        )
        assert np.array_equal(np.reshape(shown, (96, 128, 4))[..., :3], expected)

    def test_all_zoom_in_step(self, opened):
        opened.evaluate("document.querySelector('[value=grid]').click()")
        canvases = "document.querySelectorAll('.pictures:not([hidden]) canvas')"
        places = f"[...{canvases}].map(canvas => canvas.style.transform)"
        before = settled(opened, places)
        assert len(before) == 6
        opened.evaluate("document.querySelector('#zoom-in').click()")
        x, y, width, height = box_of(opened, ".pictures:not([hidden]) .port")
        opened.drag((x + width / 2, y + height / 2), (x + width / 3, y + height / 3))
        after = settled(opened, places)
        assert len(set(before)) == len(set(after)) == 1
        (old,), (new,) = (
            {tuple(map(float, re.findall(r"-?[\d.]+", one))) for one in some}
            for some in (before, after)
        )
        assert new[2] == pytest.approx(1.5 * old[2])
        assert new[0] < 0
        opened.press("0")
        assert settled(opened, places) == before

    def test_zoom_by_the_wheel_holds_what_is_under_the_pointer(self, opened):
        x, y, width, height = box_of(opened, "#stage")
        px, py = x + 0.7 * width, y + 0.6 * height
        under = (
            f"(b => [({px} - b.x) / b.width, ({py} - b.y) / b.height])"
            "(document.querySelector('#under canvas').getBoundingClientRect())"
        )
        before = settled(opened, under)
        for _ in range(4):
            opened.call(
                "Input.dispatchMouseEvent", type="mouseWheel", x=px, y=py, deltaX=0, deltaY=-150,
                modifiers=2,
            )  # fmt: skip
        assert settled(opened, under) == pytest.approx(before, abs=0.01)
        assert (
            float(settled(opened, "parseFloat(document.querySelector('#zoom-value').textContent)"))
            > 1000
        )

    def test_another_picture(self, opened):
        opened.evaluate(
            "(one => { one.value = '1'; one.onchange(); })(document.querySelector('#picture'))"
        )
        opened.wait_for("document.querySelector('#under canvas').dataset.content.startsWith('1|')")
        label = opened.evaluate("document.querySelector('#under canvas').ariaLabel")
        assert label == f"{EVIL} with noise"

    @pytest.mark.parametrize(
        ("column", "order"), [(0, "ascending"), (1, "descending"), (3, "ascending")]
    )
    def test_sorting(self, opened, column, order):
        table = "document.querySelector('#numbers').closest('section').querySelector('table')"
        values = f"[...{table}.tBodies[0].rows].map(r => r.cells[{column}].dataset.value)"
        before = opened.evaluate(values)
        head = f"{table}.tHead.rows[0].cells[{column}]"
        key = (lambda text: text) if column == 0 else float
        for reverse in (order == "descending", order != "descending"):
            opened.evaluate(f"{head}.querySelector('button').click()")
            assert opened.evaluate(values) == sorted(before, key=key, reverse=reverse)
            state = opened.evaluate(f"{head}.getAttribute('aria-sort')")
            assert state == ("descending" if reverse else "ascending")

    @pytest.mark.parametrize("dark", [False, True])
    @pytest.mark.parametrize("width", [360, 1280])
    def test_fits_phones_and_desks_in_light_and_dark(self, opened, width, dark, tmp_path):
        opened.resize(width, 800, dark=dark, phone=width < 500)
        opened.wait_for("document.querySelector('#stage').clientWidth > 0")
        assert settled(opened, "document.scrollingElement.scrollWidth") <= width
        x, _, stage_width, height = box_of(opened, "#stage")
        assert x >= 0
        assert x + stage_width <= width
        assert height > 150
        opened.screenshot(tmp_path / "page.png", whole=False)
        shot = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
        assert (shot[5, 2] < 64) == dark

    def test_everything_is_reached_by_the_keyboard(self, opened):
        reached = set()
        for _ in range(40):
            opened.press("Tab")
            reached.add(opened.evaluate("document.activeElement.id || document.activeElement.name"))
        assert reached >= {
            "picture",
            "view",
            "show",
            "zoom-in",
            "stage",
            "split",
            "left",
            "right",
            "swap",
        }
