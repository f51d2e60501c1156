"""Compile Numba kernels once, keep their machine code, and load it without importing Numba.

Importing Numba and its registries costs over half a second in every process; loading an object
file through llvmlite costs a few milliseconds. Kernels take pointers and numbers, raise nothing
and allocate nothing, so their object code stands alone; `compiling.py` makes it.
"""

import ctypes
import hashlib
import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

FORMAT = b"nlm-object-1\n"
SHARED_SOURCES = ("simd.py", "compiling.py")

C_TYPES = {
    "float32*": ctypes.c_void_p,
    "int64*": ctypes.c_void_p,
    "int64": ctypes.c_int64,
    "float32": ctypes.c_float,
}

_lock = threading.RLock()
_engines: list[Any] = []  # they own the machine code: never freed


@cache
def machine() -> tuple[str, str]:
    """The processor's name and features, as LLVM calls them."""
    import llvmlite.binding as llvm

    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot tell on this machine
        features = ""
    return llvm.get_host_cpu_name(), features


@cache
def simd_width() -> int:
    """How many float32 numbers one vector register of this processor holds."""
    features = machine()[1].split(",")
    if "+avx512f" in features:
        return 16
    if "+avx" in features:
        return 8
    return 4


def kernel(module: str, name: str, **constants: int) -> Callable[..., None]:
    """The kernel `name` of ``nlm.backends.<module>``, compiled for these constants and machine.

    The result is called with integers, floats and addresses of arrays (``array.ctypes.data``); it
    releases the GIL. It is compiled at most once per machine where a cache folder can be written.
    """
    return _load(module, name, tuple(sorted(constants.items())))


@cache
def _load(module: str, name: str, constants: tuple[tuple[str, int], ...]) -> Callable[..., None]:
    with _lock:
        file_name = f"{module}-{name}-{_fingerprint(module, name, constants)}.o"
        code = _read_cached(file_name)
        if code is None:
            from nlm.backends.compiling import compile_kernel

            _notice()
            code = compile_kernel(module, name, width=simd_width(), **dict(constants))
            _write_cached(file_name, code)
        return _link(code)


def _fingerprint(module: str, name: str, constants: tuple[tuple[str, int], ...]) -> str:
    import llvmlite

    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in (f"{module}.py", *SHARED_SOURCES):
        digest.update((here / source).read_bytes())
    digest.update(repr((name, constants, machine(), llvmlite.__version__)).encode())
    return digest.hexdigest()[:20]


def _link(code: bytes) -> Callable[..., None]:
    import llvmlite.binding as llvm

    symbol, types, machine_code = code.split(b"\n", 2)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    _engines.append(engine)
    # Numba's calling convention: status f(result*, exception**, arguments...)
    pointer = ctypes.c_void_p
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int32, pointer, pointer, *(C_TYPES[t] for t in types.decode().split(","))
    )
    native = prototype(engine.get_function_address(symbol.decode()))

    def call(*arguments: int | float) -> None:
        unused = ctypes.c_int64()
        native(ctypes.addressof(unused), ctypes.addressof(unused), *arguments)

    return call


def cache_folders() -> Iterator[Path]:
    """Where compiled kernels may lie, best first: NUMBA_CACHE_DIR alone where it is set."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(chosen) / "nlm"
        return
    yield Path(__file__).parent / "__pycache__"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base and not base.startswith("~"):
        yield Path(base) / "nlm"


def cache_folder() -> Path | None:
    """The folder that compiled kernels are written to; None where none can be."""
    for folder in cache_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


def _read_cached(file_name: str) -> bytes | None:
    for folder in cache_folders():
        try:
            content = (folder / file_name).read_bytes()
        except OSError:
            continue
        head, code = content[: len(FORMAT)], content[len(FORMAT) + 4 :]
        checksum = int.from_bytes(content[len(FORMAT) : len(FORMAT) + 4], "little")
        if head == FORMAT and code and zlib.crc32(code) == checksum:
            return code
    return None


def _write_cached(file_name: str, code: bytes) -> None:
    content = FORMAT + zlib.crc32(code).to_bytes(4, "little") + code
    for folder in cache_folders():
        partial = folder / f"{file_name}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            os.replace(partial, folder / file_name)
            return
        except OSError:
            continue


@cache
def _notice() -> None:
    """Said once per process, and only where somebody is watching."""
    if sys.stderr is not None and sys.stderr.isatty():
        print("nlm: compiling kernels for this machine (once) ...", file=sys.stderr, flush=True)
