"""Compile a kernel with Numba to object code that stands alone.

A kernel module (`cpu_nlm.py`, ...) offers ``build(name, width=..., **constants)``, which returns a
plain Python function that closes over its compile-time constants, and its signature.

This module imports Numba; it is loaded only when a kernel is in no cache.
"""

from importlib import import_module

from numba.core import compiler
from numba.core.registry import cpu_target


def compile_kernel(module: str, name: str, **constants: int) -> bytes:
    """A header of two lines, symbol and argument types, then object code."""
    function, signature = import_module(f"nlm.backends.{module}").build(name, **constants)
    flags = compiler.Flags()
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.nrt = False
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    compiled = compiler.compile_extra(
        cpu_target.typing_context,
        cpu_target.target_context,
        function,
        signature.args,
        signature.return_type,
        flags,
        {},
    )
    library = compiled.library
    code: bytes = library.codegen._tm.emit_object(library._final_module)
    arguments = ",".join(map(str, signature.args))
    return f"{compiled.fndesc.llvm_func_name}\n{arguments}\n".encode() + code
