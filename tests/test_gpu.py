"""The GPU path: its kernels on the CPU (`cuda/host.cpp`), its seam, and parity where a card is."""

import ctypes
import logging
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile

import nlm
from nlm import arrays, backends, registry
from nlm.backends import cpu, cpu_amx_layer, gpu, gpu_device, gpu_layers, gpu_window_layer
from nlm.backends.threads import for_each
from nlm.learned import spacetime
from nlm.learned.config import ModelConfig
from nlm.learned.model import NlNet
from nlm.noise import Plan
from nlm.settings import Settings
from tests import compiled_ahead, naive
from tests.conftest import checkers, noisy
from tests.cuda.host import HostDevice
from tests.networks import random_weights

SIGMA = 20 / 255
TOLERANCE = 1e-5
"""Of the stand-in, whose exp2 is exact; 1e-4 is promised of a card."""

needs_fibres = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None,
    reason="running kernels on the CPU needs Linux and g++",
)


@pytest.fixture(params=[False, True], ids=["ascending", "descending"])
def card(request, monkeypatch):
    """A stand-in for a card, in both orders of threads; in the second, without tensor cores."""
    device = HostDevice(reverse=request.param, tensor_cores=not request.param)
    monkeypatch.setattr(gpu_device, "device", lambda: device)
    monkeypatch.setattr(gpu_device, "missing", lambda: None)
    return device


@needs_fibres
class TestClassicalKernel:
    @pytest.mark.parametrize(
        ("rows", "cols", "channels", "patch", "radius", "aggregate"),
        [
            (40, 70, 1, (3, 3), (3, 2), False),
            (33, 61, 3, (7, 7), (2, 3), False),
            (30, 57, 1, (5, 5), (3, 3), True),
            (27, 55, 3, (7, 7), (1, 2), True),
            (1, 90, 1, (1, 5), (0, 4), True),
            (4, 3, 2, (5, 5), (6, 6), True),
            (1, 1, 1, (3, 3), (2, 2), False),
        ],
    )
    def test_equals_the_naive_twin(self, card, rows, cols, channels, patch, radius, aggregate):
        image = noisy(checkers(rows, cols, channels), SIGMA)
        options = {"patch": patch, "radius": radius, "aggregate": aggregate}
        if min(rows, cols) > 1:
            slow = naive.nlm(image, image, SIGMA, 0.6, **options)
        else:
            slow = cpu.nlm(image, image, SIGMA, 0.6, **options)
        fast = gpu.nlm(image, image, SIGMA, 0.6, **options)
        assert np.abs(fast - slow).max() < 4 * TOLERANCE
        assert card.launched

    @pytest.mark.parametrize("channels", [1, 5])
    def test_guide_gives_weights_and_values_come_from_the_picture(self, card, channels):
        guide = noisy(checkers(30, 64, 3), SIGMA)
        values = noisy(checkers(30, 64, channels), 0.1, seed=5)
        options = {"patch": (3, 3), "radius": (2, 2), "aggregate": True}
        fast = gpu.nlm(guide, values, SIGMA, 0.6, **options)
        slow = naive.nlm(guide, values, SIGMA, 0.6, **options)
        assert np.abs(fast - slow).max() < 4 * TOLERANCE

    @pytest.mark.parametrize("aggregate", [False, True])
    def test_little_noise_beside_edges_of_full_range(self, card, aggregate):
        board = (checkers(40, 70, period=13) > 0.5).astype(np.float32)
        image = noisy(board, 1 / 255)
        options = {"patch": (5, 5), "radius": (3, 3), "aggregate": aggregate}
        fast = gpu.nlm(image, image, 1 / 255, 0.5, **options)
        slow = naive.nlm(image, image, 1 / 255, 0.5, **options)
        assert np.abs(fast - slow).max() < 4 * TOLERANCE

    @pytest.mark.parametrize("kilobytes", [150, 110, 80, 42])
    def test_layouts_for_little_shared_memory(self, card, kilobytes):
        """Smaller blocks, and narrower windows at a time, give the same."""
        card.shared_per_block = card.shared_per_processor = kilobytes * 1024
        image = noisy(checkers(35, 66, 3), SIGMA)
        options = {"patch": (3, 3), "radius": (2, 8), "aggregate": True}
        fast = gpu.nlm(image, image, SIGMA, 0.6, **options)
        assert np.abs(fast - cpu.nlm(image, image, SIGMA, 0.6, **options)).max() < 4 * TOLERANCE
        assert card.launched

    @pytest.mark.parametrize("layout", gpu.LAYOUTS)
    def test_every_layout(self, card, monkeypatch, layout):
        monkeypatch.setattr(gpu, "LAYOUTS", (layout,))
        image = noisy(checkers(35, 66, 3), SIGMA)
        options = {"patch": (3, 3), "radius": (2, 2), "aggregate": True}
        fast = gpu.nlm(image, image, SIGMA, 0.6, **options)
        assert np.abs(fast - cpu.nlm(image, image, SIGMA, 0.6, **options)).max() < 4 * TOLERANCE
        found = {(one[1]["COLUMNS"], one[1]["GROUP"]) for one in card.launched}
        assert found == {layout}

    def test_what_does_not_fit_a_card_runs_on_the_cpu(self, card, caplog):
        card.shared_per_block = 16 * 1024
        image = noisy(checkers(20, 30, 3), SIGMA)
        options = {"patch": (5, 5), "radius": (2, 2), "aggregate": True}
        with caplog.at_level(logging.INFO, "nlm"):
            result = gpu.nlm(image, image, SIGMA, 0.6, **options)
        assert np.array_equal(result, cpu.nlm(image, image, SIGMA, 0.6, **options))
        assert not card.launched
        assert "runs on the CPU" in caplog.text


def feature_map(picture):
    return gpu_layers.FeatureMap(picture)


@needs_fibres
class TestLayers:
    @pytest.mark.parametrize(
        ("inputs", "outputs", "taps", "step", "slope", "add"),
        [
            (5, 20, 3, 1, 0.0, False),
            (9, 70, 1, 1, 1.0, True),
            (3, 9, 2, 2, 0.1, False),
            (17, 8, 3, 1, 0.1, True),
        ],
    )
    def test_convolution_equals_its_naive_twin(self, card, inputs, outputs, taps, step, slope, add):
        card.tensor_cores = False  # with them: test_gpu_tensor.py
        rng = np.random.default_rng(inputs)
        rows, columns = 11, 37
        picture = rng.normal(size=(inputs, rows * step, columns * step)).astype(np.float32)
        kernels = rng.normal(size=(outputs, inputs, taps, taps)).astype(np.float32)
        bias = rng.normal(size=outputs).astype(np.float32)
        residual = rng.normal(size=(outputs, rows, columns)).astype(np.float32)
        expected = naive.convolve(picture, kernels, bias, step)
        expected = np.maximum(expected, slope * expected)
        expected = expected + residual if add else expected
        result = gpu_layers.convolve(
            feature_map(picture),
            gpu_layers.Convolution.of(kernels, bias, step),
            for_each,
            slope=slope,
            residual=feature_map(residual) if add else None,
        )
        assert np.abs(result.data - expected).max() < TOLERANCE * np.sqrt(inputs * taps**2)

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("radius", [0, 2])
    def test_network_equals_the_cpus(self, card, channels, radius):
        config = ModelConfig(
            channels=channels, widths=(8, 16), blocks=(1, 1), blocks_up=(1,),
            nonlocal_radius=(0, radius), repeats=2,
        )  # fmt: skip
        arrays = random_weights(config, seed=1, gain=0.3)
        picture = noisy(checkers(30, 37, channels), SIGMA)
        one, other = (
            NlNet(config, arrays).on(backends.choose(name)).denoise(picture, SIGMA, for_each)
            for name in ("cpu", "gpu")
        )
        assert np.abs(one - other).max() < TOLERANCE

    @pytest.mark.parametrize("fits", [True, False])
    def test_network_in_time_equals_the_cpus(self, card, monkeypatch, fits):
        """Also with the generic operation, where shared memory is too small for a block."""
        if not fits:
            monkeypatch.setattr(gpu_window_layer, "shared_bytes", lambda depth: 2**30)
        config = ModelConfig(
            widths=(8, 16), blocks=(0, 0), blocks_up=(0,), nonlocal_radius=(2, 0), nonlocal_width=5
        )
        arrays = random_weights(config, seed=1, gain=0.6)
        frames = [noisy(checkers(30, 37), SIGMA, k) for k in range(4)]
        one, other, alone = (
            np.stack(
                list(
                    spacetime.denoise(
                        frames, SIGMA, NlNet(config, arrays).on(backends.choose(name)), reach,
                        for_each,
                    )
                )
            )
            for name, reach in (("cpu", 1), ("gpu", 1), ("gpu", 0))
        )  # fmt: skip
        assert np.abs(one - other).max() < TOLERANCE
        assert np.abs(other - alone).max() > 100 * TOLERANCE


@needs_fibres
class TestHalfPrecision:
    def test_network_differs_little(self, card):
        card.tensor_cores = True
        config = ModelConfig(widths=(8,), blocks=(1,), blocks_up=(), nonlocal_radius=(0,))
        network = NlNet(config, random_weights(config, seed=1, gain=0.3))
        picture = noisy(checkers(30, 37), SIGMA)
        gpu = backends.choose("gpu")
        exact, half = (
            network.on(place).denoise(picture, SIGMA, for_each)
            for place in (gpu, replace(gpu, half=True))
        )
        assert 10 * TOLERANCE < np.abs(exact - half).max() < 3e-3
        assert {one[1].get("PRODUCTS") for one in card.launched} >= {1, 3}

    def test_parameter(self, card, monkeypatch):
        monkeypatch.setattr(cpu_amx_layer, "usable", lambda: False)
        image = noisy(checkers(20, 20), SIGMA)[..., 0]
        place, params = backends.choose("gpu"), registry.parameters("nlnet", None, {"half": True})
        assert backends.in_precision(place, params).half
        assert not backends.in_precision(place, registry.parameters("nlnet", None, {})).half
        with pytest.raises(nlm.UsageError, match="half precision needs a GPU"):
            nlm.denoise(image, SIGMA, "nlnet", half=True, backend="cpu")


@pytest.mark.skipif(cpu_amx_layer.usable(), reason="this processor can")
def test_half_precision_without_a_gpu_is_wrong_usage(run_nlm):
    asked = ("--method", "nlnet", "--half", "--backend", "cpu")
    done = run_nlm("denoise", "missing.png", *asked, check=2)
    assert done.stderr.decode().count("\n") == 1
    assert "--half" in done.stderr.decode()


@pytest.mark.parametrize("what", ["volumes", "groups of patches (refine)"])
def test_what_is_not_written_for_the_gpu_runs_on_the_cpu_and_says_so_once(card, what, caplog):
    backends.tell_not_written.cache_clear()
    chosen, volume = registry.get("nlm"), what == "volumes"
    frames = noisy(checkers(30, 30), SIGMA).reshape(1, 30, 30, 1).repeat(4, 0)
    params = registry.parameters("nlm", "fast" if volume else "best", {}, volume=volume)
    with caplog.at_level(logging.INFO, "nlm"):
        ours, theirs, again = (
            arrays.apply(chosen, params, frames, Plan(SIGMA), backends.Backend(name), volume=volume)
            for name in ("gpu", "cpu", "gpu")
        )
    assert np.array_equal(ours, theirs)
    assert np.array_equal(ours, again)
    assert caplog.text.count(f"not written for the GPU, on the CPU: {what}") == 1


@needs_fibres
class TestNonLocalOperation:
    @pytest.mark.parametrize("pairwise", ["gaussian", "distance", "dot_product", "concatenation"])
    @pytest.mark.parametrize(
        ("shape", "window", "subsample"),
        [((150,), None, 1), ((9, 17), (2, 3), 1), ((2, 9, 8), (1, 2, 3), 2)],
    )
    def test_equals_the_naive_twin(self, card, pairwise, shape, window, subsample):
        rng = np.random.default_rng(2)
        x = rng.normal(size=(*shape, 3)).astype(np.float32)
        w_f = rng.normal(size=6) if pairwise == "concatenation" else None
        how = {"pairwise": pairwise, "w_f": w_f, "scale": 0.7}
        how |= {"window": window, "subsample": subsample}
        assert np.abs(nlm.non_local(x, **how, backend="gpu") - naive.non_local(x, **how)).max() < (
            10 * TOLERANCE
        )

    def test_many_channels_and_scores_of_any_size(self, card):
        rng = np.random.default_rng(3)
        x, g = rng.normal(size=(140, 20)) * 30, rng.normal(size=(20, 70))
        ours = nlm.non_local(x, g=g, backend="gpu")
        assert np.abs(ours - naive.non_local(x, g=g)).max() < 1e-3

    def test_block(self, card):
        block = nlm.NonLocalBlock(6, ndim=1)
        block.weights["w_z"] += 0.1
        x = np.random.default_rng(4).normal(size=(40, 6))
        assert np.abs(block(x, backend="gpu") - block(x, backend="cpu")).max() < TOLERANCE

    def test_without_memory_it_runs_on_the_cpu(self, card, caplog):
        card.memory = 100
        x = np.random.default_rng(5).normal(size=(50, 4))
        with caplog.at_level(logging.INFO, "nlm"):
            ours = nlm.non_local(x, backend="gpu")
        assert np.array_equal(ours, nlm.non_local(x, backend="cpu"))
        assert "go to the CPU" in caplog.text


@needs_fibres
class TestFrontDoor:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_denoise(self, card, dtype):
        image = np.clip(noisy(checkers(40, 50, 3), SIGMA), 0, 1)
        full = 1 if dtype is np.float32 else np.iinfo(dtype).max
        image = (image * full).astype(dtype)
        how = {"sigma": SIGMA, "channel_axis": -1, "preset": "fast", "search_radius": 2}
        ours, theirs = (nlm.denoise(image, backend=name, **how) for name in ("auto", "cpu"))
        assert ours.dtype == dtype
        step = 0 if dtype is np.float32 else 1
        assert np.abs(ours.astype(float) - theirs).max() <= max(step, 1e-4 * full)
        assert card.launched

    def test_little_memory_means_smaller_tiles(self, card, caplog):
        image = noisy(checkers(200, 250), SIGMA)[..., 0]
        how = {"sigma": SIGMA, "search_radius": 1, "patch_size": 3, "strength": 0.6}
        card.memory = 8 * 180 * 180
        with caplog.at_level(logging.INFO, "nlm"):
            ours = nlm.denoise(image, backend="gpu", **how)
        assert np.abs(ours - nlm.denoise(image, backend="cpu", **how)).max() < 4 * TOLERANCE
        assert "tiles of 125 pixels" in caplog.text

    def test_too_little_memory_is_an_error_of_one_line(self, card):
        card.memory = 1000
        with pytest.raises(nlm.FileError, match=r"too small for .* --backend cpu") as caught:
            nlm.denoise(np.zeros((100, 100), np.float32), SIGMA, backend="gpu")
        assert "\n" not in str(caught.value)

    def test_progress_is_told(self, card):
        told = []
        place = backends.choose("gpu", progress=told.append)
        chosen, params = registry.get("nlm"), registry.parameters("nlm", "fast", {})
        chosen.apply(np.zeros((1, 9, 9, 1), np.float32), SIGMA, params, place)
        assert told == [1]


@needs_fibres
def test_a_missing_barrier_is_found(tmp_path):
    source = tmp_path / "neighbour.cu"
    source.write_text(
        "extern __shared__ float shared[];\n"
        'extern "C" __global__ void next(float* out) {\n'
        "    shared[threadIdx.x] = threadIdx.x;\n"
        "    BARRIER\n"
        "    out[threadIdx.x] = threadIdx.x > 0 ? shared[threadIdx.x - 1] : 0;\n"
        "}\n"
    )
    expected = np.append(0, np.arange(31))

    def right(barrier, reverse):
        out = np.zeros(32, np.float32)
        constants = (("BARRIER", barrier),)
        HostDevice(reverse=reverse).launch(str(source), "next", constants, (1,), 32, [out], 128)
        return np.array_equal(out, expected)

    assert [right("__syncthreads();", reverse) for reverse in (False, True)] == [True, True]
    assert [right(";", reverse) for reverse in (False, True)] == [True, False]


@needs_fibres
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("shared[40] = 1;", "overrun"),
        ("if (threadIdx.x > 3) __syncthreads();", "same barriers"),
    ],
)
def test_other_faults_are_found(tmp_path, body, problem):
    source = tmp_path / "faulty.cu"
    source.write_text(
        f'extern __shared__ float shared[];\nextern "C" __global__ void f() {{ {body} }}\n'
    )
    with pytest.raises(AssertionError, match=problem):
        HostDevice().launch(str(source), "f", (), (1,), 32, [], 128)


class Driver:
    """What `ctypes` would load where there is a driver."""

    def __init__(self, cards=1, cuda=13000, initialised=0):
        self.cards, self.cuda, self.initialised = cards, cuda, initialised

    def cuInit(self, flags):  # noqa: N802
        return self.initialised

    def cuDeviceGetCount(self, count):  # noqa: N802
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = self.cards
        return 0

    def cuDriverGetVersion(self, version):  # noqa: N802
        ctypes.cast(version, ctypes.POINTER(ctypes.c_int))[0] = self.cuda
        return 0


class TestWithoutACard:
    @pytest.fixture
    def machine(self, monkeypatch):
        """A machine with such a driver and CuPy, or without; `probe` is what trying it raises."""

        def make(driver, cupy=True, probe=None):
            def try_it():
                if probe is not None:
                    raise probe

            monkeypatch.setattr(gpu_device, "load_driver", lambda: driver)
            monkeypatch.setattr(gpu_device, "find_spec", lambda name: object() if cupy else None)
            monkeypatch.setattr(gpu_device, "_probe", try_it)
            gpu_device.missing.cache_clear()

        yield make
        gpu_device.missing.cache_clear()

    @pytest.mark.parametrize(
        ("driver", "cupy", "probe", "message"),
        [
            (None, True, None, "no NVIDIA driver was found"),
            (None, False, None, r"no NVIDIA driver.* then: pip install 'nlm\[gpu13\]'"),
            (Driver(cards=0), True, None, "finds no card"),
            (Driver(initialised=100), True, None, "finds no card"),
            (Driver(cuda=11040), True, None, "CUDA 11.4; update"),
            (Driver(cuda=12080), False, None, r"CuPy is not installed.*'nlm\[gpu12\]'"),
            (Driver(cuda=13020), False, None, r"CuPy is not installed.*'nlm\[gpu13\]'"),
            (Driver(), True, RuntimeError("no NVRTC\nat all"), r"card \(no NVRTC\).*gpu13"),
        ],
    )
    def test_what_is_missing_is_said_in_one_line(self, machine, driver, cupy, probe, message):
        machine(driver, cupy, probe)
        with pytest.raises(nlm.UsageError, match=message) as caught:
            backends.choose("gpu")
        assert "\n" not in str(caught.value)
        assert "--backend cpu" in str(caught.value)
        assert backends.choose("auto").name == "cpu"
        assert gpu_device.describe().startswith("none: ")

    def test_a_card_is_found(self, machine):
        machine(Driver())
        assert backends.choose("auto").name == backends.choose("gpu").name == "gpu"
        assert backends.choose("cpu").name == "cpu"

    @pytest.mark.parametrize(
        "settings",
        [Settings(method="tv"), Settings(preset="best"), Settings(stack="volume")],
        ids=["reference", "groups", "volume"],
    )
    def test_what_runs_on_the_cpu_is_said_to(self, machine, tmp_path, settings):
        machine(Driver())
        tifffile.imwrite(
            tmp_path / "a.tif", np.full((4, 20, 20), 900, np.uint16), photometric="minisblack"
        )
        result = nlm.denoise_file(
            tmp_path / "a.tif", tmp_path / "b.tif", replace(settings, sigma=0.1)
        )
        assert (result.status, result.backend) == ("ok", "cpu")

    def test_why_there_is_none_is_told_once_with_v(self, machine, caplog):
        machine(None)
        with caplog.at_level(logging.INFO, "nlm"):
            backends.choose("auto")
            backends.choose("auto")
        assert caplog.text.count("no GPU is used") == 1

    def test_command_line(self, run_nlm):
        if gpu_device.missing() is None:
            pytest.skip("there is a card")
        done = run_nlm("denoise", "--backend", "gpu", "missing.png", check=2)
        assert done.stderr.decode().count("\n") == 1
        assert "GPU           none: " in run_nlm("info", check=0).stdout.decode()

    def test_cupy_is_not_imported(self, run_nlm, tmp_path):
        (tmp_path / "cupy.py").write_text("raise SystemExit('CuPy was imported')")
        if gpu_device.missing() is None:
            pytest.skip("there is a card")
        run_nlm("info", env={"PYTHONPATH": str(tmp_path)}, check=0)


PARITY = 1e-4
"""What is promised, of full scale."""


@pytest.fixture(scope="module")
def compiled_references():
    """The CPU's kernels; compiled by all processors, they take seconds and not minutes."""
    jobs = [
        {"method": "nlm", "preset": preset, "channels": channels}
        for preset in ("fast", "best")
        for channels in (3, 1, 4)
    ]
    jobs += [
        {"method": "nlnet", "preset": preset, "channels": channels}
        for preset in ("fast", "balanced")
        for channels in (1, 3)
    ]
    jobs += [{"preset": None, "aggregate": False, "channels": channels} for channels in (1, 3, 6)]
    jobs += [{"preset": None, "channels": 6}]
    for future in compiled_ahead.start(jobs):
        future.result()


def check_parity(ours, theirs):
    """Say where and by how much they differ, if they do."""
    assert ours.shape == theirs.shape
    difference = np.abs(ours - theirs)
    full = max(1.0, float(np.abs(theirs).max()))
    if difference.max() < PARITY * full:
        return
    worst = np.unravel_index(np.nanargmax(difference), difference.shape)
    beyond = np.mean(~(difference < PARITY * full))
    pytest.fail(
        f"differ by {difference.max() / full:.2g} of full scale, {beyond:.2%} of {ours.shape} by "
        f"more than {PARITY:g}, most at {tuple(map(int, worst))}: GPU {ours[worst]:.6g}, "
        f"CPU {theirs[worst]:.6g}, {np.isnan(ours).sum()} NaN",
        pytrace=False,
    )


@pytest.mark.gpu
@pytest.mark.skipif(gpu_device.missing() is not None, reason=str(gpu_device.missing()))
@pytest.mark.usefixtures("compiled_references")
class TestParity:
    """CPU and GPU agree within 1e-4 of full scale."""

    @pytest.mark.parametrize("method", ["nlm", "nlnet"])
    @pytest.mark.parametrize("preset", registry.PRESETS)
    @pytest.mark.parametrize("shape", [(1, 1), (3, 200), (97, 131), (513, 700)])
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_filters(self, method, preset, shape, channels):
        image = noisy(checkers(*shape, channels), SIGMA)
        how = {"sigma": SIGMA, "method": method, "preset": preset, "channel_axis": -1}
        check_parity(*(nlm.denoise(image, backend=name, **how) for name in ("gpu", "cpu")))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
    def test_depths(self, dtype):
        image = np.clip(noisy(checkers(90, 110, 3), SIGMA), 0, 1)
        full = 1 if dtype is np.float64 else np.iinfo(dtype).max
        image = (image * full).astype(dtype)
        how = {"sigma": SIGMA, "channel_axis": -1, "preset": "fast"}
        ours, theirs = (nlm.denoise(image, backend=name, **how) for name in ("gpu", "cpu"))
        assert ours.dtype == theirs.dtype == dtype
        rounding = 0 if dtype is np.float64 else 1
        assert np.abs(ours.astype(float) - theirs).max() <= max(rounding, PARITY * full)

    @pytest.mark.parametrize("patch", [1, 3, 7, 15, 31])
    @pytest.mark.parametrize("aggregate", [False, True])
    @pytest.mark.parametrize("channels", [1, 3, 6])
    @pytest.mark.parametrize(("sigma", "strength"), [(1 / 255, 0.5), (0.2, 0.5), (0.2, 0.3)])
    def test_patches(self, patch, aggregate, channels, sigma, strength):
        image = noisy((checkers(140, 150, channels) > 0.5).astype(np.float32), sigma)
        how = {"patch": (patch, patch), "radius": (10, 10), "aggregate": aggregate}
        check_parity(*(place.nlm(image, image, sigma, strength, **how) for place in (gpu, cpu)))

    @pytest.mark.parametrize("widths", [(24, 40, 72), (64, 128, 256)])
    @pytest.mark.parametrize("pairwise", ["distance", "embedded_gaussian"])
    def test_networks_of_any_width(self, widths, pairwise):
        config = ModelConfig(
            channels=3, widths=widths, blocks=(1, 1, 1), blocks_up=(1, 1),
            nonlocal_radius=(0, 8, 3), pairwise=pairwise, estimates=(0.6,),
        )  # fmt: skip
        picture = noisy(checkers(150, 190, 3), SIGMA)
        network = NlNet(config, random_weights(config, seed=1, gain=0.3))
        check_parity(
            *(
                network.on(backends.choose(name)).denoise(picture, SIGMA, for_each)
                for name in ("gpu", "cpu")
            )
        )

    @pytest.mark.parametrize("pairwise", ["gaussian", "distance", "dot_product", "concatenation"])
    @pytest.mark.parametrize("window", [None, 5])
    @pytest.mark.parametrize("shape", [(700,), (60, 70), (5, 30, 20)])
    def test_non_local_operation(self, pairwise, window, shape):
        x = np.random.default_rng(0).normal(size=(*shape, 24)) / 4
        w_f = np.linspace(-1, 1, 48) if pairwise == "concatenation" else None
        how = {"pairwise": pairwise, "window": window, "w_f": w_f}
        check_parity(*(nlm.non_local(x, backend=name, **how) for name in ("gpu", "cpu")))
