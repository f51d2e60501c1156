"""`nlm info`: what this installation is and where it runs."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from nlm.version import __version__

LIBRARIES = ("numpy", "numba", "llvmlite", "scikit-image", "pillow", "tifffile", "imagecodecs")


@click.command(
    epilog="""\b
Examples:
  nlm info
  nlm info --warm-up      compile everything now, not at the first picture"""
)
@click.option("--warm-up", is_flag=True, help="Compile and cache the kernels ahead.")
def command(warm_up: bool) -> None:
    """Show versions, threads, SIMD width, GPU, cache folder and the networks of nlnet."""
    from nlm.backends import cpu_amx_layer, gpu_device
    from nlm.backends.compiled import cache_folder, machine, simd_width
    from nlm.backends.threads import available_threads

    click.echo(f"nlm           {__version__}")
    click.echo(f"python        {platform.python_version()} ({sys.platform}, {platform.machine()})")
    for name in LIBRARIES:
        try:
            click.echo(f"{name:13} {version(name)}")
        except PackageNotFoundError:
            click.echo(f"{name:13} not installed")
    click.echo(f"processor     {machine()[0]}, {available_threads()} threads")
    amx = ", AMX for --half" if cpu_amx_layer.usable() else ""
    click.echo(f"SIMD          {simd_width()} x float32{amx}")
    click.echo(f"GPU           {gpu_device.describe()}")
    click.echo(
        f"cache         {cache_folder() or 'none can be written: kernels compile every time'}"
    )
    from nlm.learned import weights

    for channels, kind in ((1, "gray"), (3, "colour")):
        for small in (False, True):
            if path := weights.shipped(channels, small):
                size = "small " if small else ""
                click.echo(f"nlnet {size + kind:13} {weights.describe(path)}")
    if warm_up:
        from nlm.arrays import warm_up as compile_all

        click.echo(f"compiled      {', '.join(compile_all())} are ready")
