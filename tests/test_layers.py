"""Arrows between modules point down only, and everything is packaged."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = [  # each may import from its own row and those below
    {"nlm_cli"},
    {"nlm", "nlm.batch", "nlm.compare"},
    {"nlm.pipeline", "nlm.synthetic"},
    {"nlm.clip_files", "nlm.companions", "nlm.volume_files"},
    {"nlm.settings", "nlm.arrays", "nlm.compat", "nlm.clip", "nlm.planes"},
    {"nlm.inputs"},
    {"nlm.filters"},
    {"nlm.spacetime"},
    {"nlm.registry"},
    {"nlm.learned"},
    {
        "nlm.io",
        "nlm.noise",
        "nlm.groups",
        "nlm.tiling",
        "nlm.framewise",
        "nlm.metrics",
        "nlm.backends",
        "nlm.attention",
        "nlm.resuming",
    },
    {"nlm.scenes", "nlm.overlap", "nlm.sliding"},
    {"nlm.frames", "nlm.params"},
    {"nlm.boxes", "nlm.checks"},
    {"nlm.errors", "nlm.limits", "nlm.version"},
]


def modules():
    for folder, package in (("nlm", "nlm"), ("cli", "nlm_cli")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            yield name, path


def layer_of(name):
    for depth, row in enumerate(LAYERS):
        if any(name == one or (name.startswith(one + ".") and one != "nlm") for one in row):
            return depth
    raise AssertionError(f"{name} has no place in LAYERS")


def imports(path):
    """Modules imported anywhere in a file, for type checking only excepted."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in {"nlm", "nlm_cli"}:
                yield from (f"{node.module}.{one.name}" for one in node.names)
            else:
                yield node.module


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_arrows_point_down(name, path):
    for imported in imports(path):
        if imported.split(".")[0] in {"nlm", "nlm_cli"}:
            assert layer_of(imported) >= layer_of(name), f"{name} imports {imported}"


def test_click_lives_in_the_command_line_only():
    users = [
        name for name, path in modules() if "click" in {one.split(".")[0] for one in imports(path)}
    ]
    assert users
    assert all(name.startswith("nlm_cli") for name in users)


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {name for name, path in modules() if path.name == "__init__.py"}
    assert set(listed) == found


def test_root_holds_what_every_project_has():
    allowed = {"nlm", "cli", "tests", "sample_images", "pyproject.toml", "README.md", "LICENSE"}
    allowed |= {"CHANGELOG.md", "clean.png", "build", "dist", "nlm.egg-info", "runs"}
    here = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert here <= allowed
