"""Weights of `nlnet`: where they lie, and what is checked before they are used."""

import hashlib
import io
import json
import math
import os
import reprlib
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.errors import FileError, UsageError
from nlm.learned.config import FORMAT_VERSION, ModelConfig
from nlm.learned.packing import LARGEST, packed, unpacked

Arrays = dict[str, NDArray[np.floating[Any]]]

SLACK = 2**24
"""Bytes that a file may unpack to beside its network's weights."""


def shipped(channels: int, small: bool = False) -> Path | None:
    """The weights that come with nlm for pictures of so many channels, if there are any."""
    name = "colour" if channels == 3 else "gray"
    path = Path(__file__).parent / (f"small_{name}.npz" if small else f"{name}.npz")
    return path if path.exists() else None


def load(path: str | os.PathLike[str]) -> tuple[ModelConfig, Arrays, dict[str, Any]]:
    """Read and check a file of weights.

    Parameters
    ----------
    path : path
        As `save` wrote it.

    Returns
    -------
    config : ModelConfig
    arrays : dict
        Weights by name.
    card : dict
        What the network was trained on, for how long and with which result; its own checksum.

    Raises
    ------
    FileError
        If it is missing, no such file, damaged, from a newer nlm, not of the shapes that its own
        configuration asks for, or holds what no network of use does.
    """
    meta, arrays = _read(path)
    if meta.get("sha256") != digest(arrays):
        raise FileError(f"{path}: does not match its own checksum; get a fresh copy")
    config = _config(path, meta)
    _check_shapes(path, arrays, config)
    _check_numbers(path, arrays)
    return config, arrays, {**meta.get("card", {}), "sha256": meta["sha256"]}


@cache
def config_of(path: Path) -> ModelConfig:
    """What the network is made of whose weights come with nlm: read without them, once."""
    meta, _ = _read(path, arrays=False)
    return _config(path, meta)


def save(
    path: str | os.PathLike[str], config: ModelConfig, arrays: Arrays, card: dict[str, Any]
) -> None:
    """Write a file of weights.

    Kernels, not biases, are rounded to whole numbers of a unit, see `packing`. `meta` is a JSON
    string with `format`, `model`, `card`, `units` of the kernels and `sha256` (see `digest`).

    Parameters
    ----------
    path : path
    config : ModelConfig
    arrays : dict
        float32, by name.
    card : dict
        What the network was trained on.

    Raises
    ------
    FileError
        If there are numbers among them that no network of use has, or the file cannot be written:
        what was there before stays.
    """
    from nlm.io.output import write_bytes  # not needed where weights are only read

    for name, array in arrays.items():
        if not _is_of_use(array):
            raise FileError(
                f"{path}: not written, {name} holds NaN or numbers beyond {LARGEST:g}: training "
                "went astray; begin anew with a lower --lr"
            )
    units, kept = {}, dict(arrays)
    stored: dict[str, NDArray[Any]] = dict(arrays)
    for name, array in arrays.items():
        if array.ndim > 1:
            stored[name], units[name] = packed(array)
            kept[name] = unpacked(stored[name], units[name])
    meta = {
        "format": FORMAT_VERSION,
        "model": config.to_dict(),
        "card": card,
        "units": units,
        "sha256": digest(kept),
    }
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, meta=np.array(json.dumps(meta)), **stored)
    write_bytes(path, file.getbuffer())


def describe(path: str | os.PathLike[str]) -> str:
    """The model card of a file of weights in one line."""
    _, _, card = load(path)
    try:
        levels, values = card["psnr"], [f"{value:.2f}" for value in card["psnr"].values()]
        return (
            f"{card['data']}, {card['pixels'] / 1e9:.2f}e9 pixels, sigma {card['sigma'][0]:g} to "
            f"{card['sigma'][1]:g}, {'/'.join(values)} dB at {'/'.join(levels)} on "
            f"{card['validation']}, {card['date'][:10]}, sha256 {card['sha256'][:12]}"
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return f"of a model card that does not tell all, sha256 {card['sha256'][:12]}"


def number_of(path: str | os.PathLike[str], card: dict[str, Any], name: str) -> float:
    """A number of a model card, 0 where it has none; FileError if it is something else."""
    value = card.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise FileError(
            f"{path}: its model card says {name} {reprlib.repr(value)}, a number of 0 or more is "
            "wanted; get a fresh copy"
        )
    return value


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 of names, types, shapes and values, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _read(path: str | os.PathLike[str], arrays: bool = True) -> tuple[dict[str, Any], Arrays]:
    """The card of a file that this nlm can read, and its arrays if they are wanted."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise FileError(f"{path}: is no regular file; give a file that `nlm train` made")
        with open(path, "rb") as file:
            if file.read(2) != b"PK":
                raise ValueError("it is no .npz file")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            if "meta" not in archive:
                raise ValueError("no model card inside")
            members = {one.filename: one.file_size for one in archive.zip.infolist()}
            if members["meta.npy"] > SLACK:
                raise ValueError("its model card is too long")
            meta = json.loads(str(archive["meta"]))
            if not isinstance(meta, dict) or not isinstance(meta.get("card", {}), dict):
                raise ValueError("its model card is none")
            _check_version(path, meta)
            names = [name for name in archive.files if name != "meta"] if arrays else []
            if arrays:
                _check_room(path, sum(members.values()), _config(path, meta))
            units = meta.get("units", {})  # files of formats 1 and 2 have none
            found = {name: archive[name] for name in names}
            for name, array in found.items():
                if array.dtype == np.uint8:
                    found[name] = unpacked(array, units.get(name))
    except FileNotFoundError:
        raise FileError(f"{path}: does not exist; check the name and the folder") from None
    except FileError:
        raise
    except Exception as error:  # readers of zip, npy and JSON raise whatever they come across
        detail = " ".join(str(error).split()) or type(error).__name__
        raise FileError(
            f"{path}: holds no weights of nlnet or is damaged ({detail}); get a fresh copy, or "
            "make one with `nlm train`"
        ) from error
    return meta, found


def _check_version(path: str | os.PathLike[str], meta: dict[str, Any]) -> None:
    version = meta.get("format")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise FileError(
            f"{path}: has format {reprlib.repr(version)}, this nlm reads up to {FORMAT_VERSION}; "
            "update nlm"
        )


def _check_room(path: str | os.PathLike[str], size: int, config: ModelConfig) -> None:
    needed = sum(map(math.prod, config.shapes().values())) * 8 + SLACK
    if size > needed:
        raise FileError(
            f"{path}: would unpack to {size / 1e6:.0f} MB, its network needs {needed / 1e6:.0f} at "
            "most; get a fresh copy"
        )


def _config(path: str | os.PathLike[str], meta: dict[str, Any]) -> ModelConfig:
    try:
        return ModelConfig.from_dict(meta["model"])
    except (UsageError, KeyError) as error:
        raise FileError(f"{path}: describes no network that this nlm knows ({error})") from error


def _check_shapes(path: str | os.PathLike[str], arrays: Arrays, config: ModelConfig) -> None:
    expected = config.shapes()
    for name, shape in expected.items():
        found = arrays[name].shape if name in arrays else "nothing"
        if found != shape:
            raise FileError(f"{path}: {name} is {found} where the network needs {shape}")
    if unknown := arrays.keys() - expected.keys():
        raise FileError(f"{path}: holds {sorted(unknown)[0]}, which the network has no place for")


def _check_numbers(path: str | os.PathLike[str], arrays: Arrays) -> None:
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise FileError(
                f"{path}: {name} is of type {array.dtype}, not of floats; get a fresh copy"
            )
        if not _is_of_use(array):
            raise FileError(
                f"{path}: {name} holds NaN or numbers beyond {LARGEST:g}; get a fresh copy, or "
                "make one with `nlm train`"
            )


def _is_of_use(array: NDArray[np.floating[Any]]) -> bool:
    return bool(np.all(np.abs(array) <= LARGEST))  # NaN is not
