"""What the README shows works."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.clips import make_video
from tests.conftest import ROOT, checkers, noisy

README = (ROOT / "README.md").read_text()
COMMANDS = [
    command.replace("\\|", "|")
    for line in README.splitlines()
    if line.startswith("|")
    for command in re.findall(r"`((?:cat [^`]*|nlm [a-z]+ [^`]+))`", line)
]


@pytest.fixture
def folder(tmp_path):
    """The files that the README's commands name."""
    pixels = (noisy(checkers(48, 56, 3), 0.1).clip(0, 1) * 255).astype(np.uint8)
    for name in ("photo.jpg", "scan.png", "a.png", "clean.png", "a.tif", "b.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
    for name in ("flash.png", "dark.png", "ct.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "noise.png")
    (tmp_path / "photos" / "trip").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "photos" / "trip" / "one.jpg")
    (tmp_path / "flash" / "trip").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "flash" / "trip" / "one.png")
    make_video(tmp_path / "clip.mp4", audio="aac")
    for number in range(3):
        Image.fromarray(pixels).save(tmp_path / f"frame_{number:04d}.png")
    return tmp_path


def test_the_table_has_commands():
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, folder):
    main = shlex.join([sys.executable, "-c", "from nlm_cli.main import main; main()"])
    script = f'nlm() {{ {main} "$@"; }}\n{command}'
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_python():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    names: dict = {}
    exec(code, names)
    assert names["nlm"].psnr(names["result"], names["clean"]) > 25
