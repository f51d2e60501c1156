"""The bench of the GPU path runs: here on the stand-in, whose times mean nothing."""

import json
import sys
import time
from types import SimpleNamespace

import pytest

from nlm.backends import gpu_device
from tests.bench.gpu import __main__ as bench
from tests.bench.gpu.classical import averages
from tests.bench.gpu.measuring import launches_timed, photograph
from tests.cuda.host import HostDevice
from tests.test_gpu import needs_fibres


class Event:
    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        pass


@pytest.fixture
def _card(monkeypatch):
    device = HostDevice()
    monkeypatch.setattr(gpu_device, "device", lambda: device)
    monkeypatch.setattr(gpu_device, "missing", lambda: None)
    monkeypatch.setattr(gpu_device, "describe", lambda: "a stand-in")
    cuda = SimpleNamespace(
        Event=Event,
        get_elapsed_time=lambda began, ended: 1e3 * (ended.at - began.at),
        get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
    )
    pool = SimpleNamespace(free_all_blocks=lambda: None)
    cupy = SimpleNamespace(cuda=cuda, get_default_memory_pool=lambda: pool)
    monkeypatch.setitem(sys.modules, "cupy", cupy)


def pixelwise(bench):
    """Gray."""
    for name, run in averages(bench, photograph(bench.options.megapixels, 1)).items():
        bench.add(name, bench.milliseconds(run), "ms")
        bench.add(f"{name}, wall", bench.seconds(run), "s")


def broken(bench):
    """Not to be measured."""
    raise RuntimeError("no such card")


@needs_fibres
@pytest.mark.usefixtures("_card")
def test_parts_are_measured_and_one_that_fails_does_not_stop_the_others(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(bench, "PARTS", {"broken": broken, "pixelwise": pixelwise})
    path = tmp_path / "found.json"
    with pytest.raises(SystemExit) as left:
        bench.main(["--only", "broken,pixelwise", "--megapixels", "0.0008", "--json", str(path)])
    assert left.value.code == 1
    assert "FAILED: RuntimeError: no such card" in capsys.readouterr().out
    found = {row["what"]: row["number"] for row in json.loads(path.read_text())["rows"]}
    assert set(found) == {"pixelwise 21/7", "pixelwise 21/7, wall"}
    assert min(found.values()) > 0


@pytest.mark.usefixtures("_card")
def test_launches_are_timed():
    class Card:
        launched = 0

        def launch(self, *given):
            self.launched += 1

    card, usual = Card(), gpu_device.device
    gpu_device.device = lambda: card
    try:
        with launches_timed() as found:
            gpu_device.device().launch("nlm.cu", "average", (("FORM", 1),), (1,), 32, ())
        assert gpu_device.device() is card
    finally:
        gpu_device.device = usual
    assert card.launched == 1
    assert found[0][0] == "average FORM=1"


def test_without_a_card_that_is_said(monkeypatch):
    monkeypatch.setattr(gpu_device, "missing", lambda: "there is none")
    with pytest.raises(SystemExit, match="no GPU to measure: there is none"):
        bench.main([])
