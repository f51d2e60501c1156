"""The same networks in PyTorch."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nlm import backends
from nlm.backends.threads import for_each
from nlm.learned.model import NlNet
from tests.bench.gpu.measuring import SIGMA, Bench, photograph
from tests.bench.gpu.networks import networks


def full_precision(torch: Any) -> None:
    """No TF32 in what follows."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def on_torch_stream(run: Callable[[], object]) -> Callable[[], object]:
    """PyTorch uses the default stream, as CuPy does; kept explicit, since both must."""
    import cupy
    import torch

    assert torch.cuda.current_stream().cuda_stream == cupy.cuda.get_current_stream().ptr
    return run


def in_torch(bench: Bench) -> None:
    """The same networks in PyTorch: channels last, as they are and compiled."""
    import torch

    from nlm.learned.pytorch import NlNet as Twin

    full_precision(torch)
    picture = photograph(bench.options.megapixels)
    noisy = torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()).cuda()
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    level = torch.full((1, 1, 1, 1), SIGMA, device="cuda")
    for title, config, arrays in networks(bench):
        twin = Twin(config)
        twin.load_state_dict({name: torch.from_numpy(one) for name, one in arrays.items()})
        twin = twin.eval().cuda().to(memory_format=torch.channels_last)
        estimates = noisy.repeat(1, len(config.estimates), 1, 1) if config.estimates else None
        ours = bench.number(title)
        small = noisy[..., :256, :384].contiguous(memory_format=torch.channels_last)
        network = NlNet(config, arrays, backends.choose("gpu"))
        with torch.inference_mode():
            if estimates is None:
                theirs = twin(small, level)[0].permute(1, 2, 0).cpu().numpy()
                own = network.denoise(picture[:256, :384], SIGMA, for_each)
                bench.add(f"{title}: difference from torch", np.abs(theirs - own).max(), "")
            for how, run in (("as it is", twin), ("compiled", torch.compile(twin))):
                began = time.perf_counter()
                run(noisy, level, estimates)
                torch.cuda.synchronize()
                first = time.perf_counter() - began
                took = bench.milliseconds(on_torch_stream(partial(run, noisy, level, estimates)))
                remark = f"first run {first:.0f} s"
                if ours:
                    remark += f"; ours takes {ours / took:.2f} x its time"
                bench.add(f"{title}, torch, {how}", took, "ms", remark)
        del twin
        torch.cuda.empty_cache()
