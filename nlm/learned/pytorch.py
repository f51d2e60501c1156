"""The network `nlnet` in PyTorch, for training; its twin in NumPy and Numba is `model.NlNet`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from nlm.learned.config import ModelConfig

NHWC = torch.channels_last
MIDDLE = 0.45, 0.15
"""What pixels and noise levels are about, when a network begins to learn."""


class ResBlock(nn.Module):
    """x + conv(leaky ReLU(conv(x))), both 3x3; close to the identity at first."""

    def __init__(self, width: int, leak: float) -> None:
        super().__init__()
        self.leak = leak
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.3)
        for conv in (self.conv1, self.conv2):
            nn.init.zeros_(conv.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.leaky_relu(self.conv1(x), self.leak))
        return out


class NonLocal(nn.Module):
    """The non-local operation of Wang et al. (CVPR 2018) in a sliding square window.

    y_i is the mean of g(x_j), over the positions j at most `radius` rows and columns away and
    inside the picture, weighted by the pairwise function of theta(x_i) and phi(x_j); the result
    is x + w_z(y). `w_z` starts at zero, so a fresh block is the identity; theta and phi start
    equal, so its weights are those of classical non-local means on the features x. Features of a
    trained network differ by tenths: theta starts `GAIN` times as large as an orthogonal
    projection, without which all weights would be alike.

    In a clip the positions j are those of the same windows in all frames at most `reach` away.

    Computed by blocks of 8x8 queries against their (8 + 2 radius)^2 surroundings, of which
    each query sees its own window: the same result as position by position.
    """

    BLOCK = 8
    GAIN = 4.0
    UNSEEN = -1e9
    hidden: Tensor

    def __init__(self, width: int, radius: int, inner: int, pairwise: str) -> None:
        super().__init__()
        self.radius, self.inner, self.pairwise = radius, inner, pairwise
        self.theta = nn.Conv2d(width, inner, 1)
        self.phi = nn.Conv2d(width, inner, 1)
        self.g = nn.Conv2d(width, inner, 1)
        self.w_z = nn.Conv2d(inner, width, 1)
        nn.init.orthogonal_(self.theta.weight, self.GAIN)
        self.phi.load_state_dict(self.theta.state_dict())
        nn.init.zeros_(self.w_z.weight)
        nn.init.zeros_(self.w_z.get_parameter("bias"))
        query = torch.arange(self.BLOCK)[:, None]
        key = torch.arange(self.BLOCK + 2 * radius)[None, :] - radius
        near = (query - key).abs() <= radius  # (BLOCK, K) along one axis
        pairs = near[:, None, :, None] & near[None, :, None, :]  # (BLOCK, BLOCK, K, K)
        hidden = torch.where(pairs.flatten(2).flatten(0, 1), 0.0, self.UNSEEN)
        self.register_buffer("hidden", hidden, persistent=False)  # (BLOCK*BLOCK, K*K)

    def surroundings(self, x: Tensor, frames: int, reach: int) -> Tensor:
        """Return what every block of queries sees, (B, blocks, keys, channels).

        The last channel is each key's bias, the one before what rounding took from it.
        """
        size, step = self.BLOCK + 2 * self.radius, self.BLOCK
        blocks = x.unfold(1, size, step).unfold(2, size, step)  # (B, Y/8, X/8, channels, K, K)
        keys = blocks.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(1, 2)
        if frames == 1 or reach == 0:
            return keys
        clips = keys.reshape(-1, frames, *keys.shape[1:])  # (clips, frames, blocks, K*K, channels)
        seen = [clips]
        for far in range(1, min(reach, frames - 1) + 1):
            outside = clips[:, :far].clone()
            outside[..., -1] = self.UNSEEN  # before the first and behind the last frame
            seen.append(torch.cat((outside, clips[:, :-far]), 1))
            seen.append(torch.cat((clips[:, far:], outside), 1))
        return torch.cat(seen, 3).flatten(0, 1)

    def forward(self, x: Tensor, frames: int = 1, reach: int = 0) -> Tensor:
        b, r, d = self.BLOCK, self.radius, self.inner
        down, right = -x.shape[2] % b, -x.shape[3] % b
        theta, phi, g = (f(x).permute(0, 2, 3, 1) for f in (self.theta, self.phi, self.g))
        bias = torch.zeros_like(phi[..., :1]).float()  # (B, Y, X, 1), added to each key's score
        if self.pairwise == "distance":  # |theta|^2 is the same for all keys and cancels
            theta, bias = 2 * theta, -phi.float().square().sum(-1, keepdim=True)
        theta = F.pad(theta, (0, 0, 0, right, 0, down))  # (B, Y, X, d), Y and X multiples of 8
        batch, rows, columns, _ = theta.shape
        theta = theta.reshape(batch, rows // b, b, columns // b, b, d)
        theta = theta.transpose(2, 3).reshape(batch, -1, b * b, d)  # (B, blocks, 64, d)
        around = (0, 0, r, right + r, r, down + r)
        filled = -d % 8, -(d + 2) % 8  # channels of zeros: kernels want aligned rows
        parts = (F.pad(g, (0, filled[0])), F.pad(phi, (0, filled[1])))
        keys = F.pad(torch.cat(parts, -1), around)
        bias = F.pad(bias, around, value=self.UNSEEN)
        coarse = bias.to(keys.dtype)  # exact in two parts, where features have half precision
        keys = torch.cat((keys, (bias - coarse).to(keys.dtype), coarse), -1)
        y = self.attend(theta, self.surroundings(keys, frames, reach))
        y = y.reshape(batch, rows // b, columns // b, b, b, d).transpose(2, 3)
        y = y.reshape(batch, rows, columns, d)[:, : x.shape[2], : x.shape[3]]
        z: Tensor = x + self.w_z(y.permute(0, 3, 1, 2))
        return z

    def attend(self, query: Tensor, seen: Tensor) -> Tensor:
        """Return the mean of g of each block of queries, (B, blocks, 64, d)."""
        d, split = self.inner, self.inner + -self.inner % 8
        values, keys = seen[..., :split], seen[..., split:]
        query = F.pad(query, (0, keys.shape[-1] - d - 2))
        query = F.pad(query, (0, 2), value=1.0)  # takes each key's bias over unchanged
        copies = keys.shape[2] // self.hidden.shape[1]
        hidden = self.hidden.to(query.dtype).repeat(1, copies).expand(*keys.shape[:2], -1, -1)
        mean = F.scaled_dot_product_attention(query, keys, values, hidden, scale=1.0)
        return mean[..., :d]


class NlNet(nn.Module):
    """A U of residual and non-local blocks that predicts the noise of a picture."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        widths, levels = config.widths, range(len(config.widths) - 1)

        def blocks(level: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(ResBlock(widths[level], config.leak) for _ in range(count)))

        self.stem = nn.Conv2d(config.inputs, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(blocks(i, config.blocks[i]) for i in levels)
        self.down = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, 2) for i in levels)
        self.bottom = blocks(len(levels), config.blocks[-1])
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], 4 * widths[i], 1) for i in levels)
        self.decoder = nn.ModuleList(blocks(i, config.blocks_up[i]) for i in levels)
        self.non_local = nn.ModuleDict(
            {
                str(i): NonLocal(widths[i], radius, config.inner_width(i), config.pairwise)
                for i, radius in enumerate(config.nonlocal_radius)
                if radius
            }
        )
        self.head = nn.Conv2d(widths[0], 4 * config.channels, 3, padding=1)
        with torch.no_grad():  # features without a mean: many channels would be all below zero
            middle = torch.tensor([MIDDLE[0]] * (config.inputs - 1) + [MIDDLE[1]])
            self.stem.get_parameter("bias").copy_(-self.stem.weight.sum((2, 3)) @ middle)
        for layer in (*self.down, *self.up):
            nn.init.zeros_(layer.get_parameter("bias"))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.get_parameter("bias"))
        for p in self.parameters():
            if p.ndim == 4:  # channels last: what PyTorch is fastest with
                p.data = p.data.contiguous(memory_format=NHWC)

    def body(self, h: Tensor, frames: int, reach: int) -> Tensor:
        """Run the U once; each level's way down is added to its way up."""
        kept: list[Tensor] = []
        for encoder, down in zip(self.encoder, self.down, strict=True):
            h = encoder(h)
            kept.append(h)
            h = down(h)  # (B, widths[l + 1], Y/2, X/2)
        h = self.bottom(self.attend(h, len(kept), frames, reach))
        for i in reversed(range(len(kept))):
            h = F.pixel_shuffle(self.up[i](h), 2)  # (B, widths[l], 2Y, 2X)
            h = h.contiguous(memory_format=NHWC) + kept[i]
            h = self.decoder[i](self.attend(h, i, frames, reach))
        return h

    def attend(self, h: Tensor, level: int, frames: int, reach: int) -> Tensor:
        """Pass through the level's non-local block, if it has one."""
        if str(level) not in self.non_local:
            return h
        done: Tensor = self.non_local[str(level)](h, frames, reach)
        return done

    def forward(
        self,
        noisy: Tensor,
        sigma: Tensor,
        estimates: Tensor | None = None,
        frames: int = 1,
        reach: int = 0,
    ) -> Tensor:
        """Denoise pictures whose sides are multiples of `config.multiple`.

        Parameters
        ----------
        noisy : Tensor, (B, C, Y, X)
            Full scale 1.0. Of clips, all frames of the first, then all of the second, ...
        sigma : Tensor, (B, 1, Y, X) or (B, 1, 1, 1)
            Noise level, fraction of full scale.
        estimates : Tensor, (B, C * len(config.estimates), Y, X), optional
            The classical filter's results.
        frames : int
            Frames of each clip; 1 = pictures.
        reach : int
            How many frames before and after its own a non-local block sees.
        """
        pictures = noisy if estimates is None else torch.cat((noisy, estimates), 1)
        sigma = F.avg_pool2d(sigma.expand(-1, 1, *noisy.shape[2:]), 2)
        h = torch.cat((F.pixel_unshuffle(pictures, 2), sigma), 1)  # (B, inputs, Y/2, X/2)
        first = self.stem(h.contiguous(memory_format=NHWC))  # (B, widths[0], Y/2, X/2)
        h = self.body(first, frames, reach)
        for _ in range(self.config.repeats - 1):
            h = self.body(h + first, frames, reach)
        return noisy - F.pixel_shuffle(self.head(h), 2)  # (B, C, Y, X)
