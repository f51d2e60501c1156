"""The kernel of non-local means in spacetime against its slow twin, and block matching."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlm.backends.cpu_clip import Clip, Geometry
from nlm.backends.cpu_motion import Pyramid, follow
from tests import naive
from tests.conftest import checkers, noisy

SIGMA = 0.1
TOLERANCE = 0.01 / 255
KINDS = [  # features, values, patch, radius
    (1, 1, 9, 2),
    (3, 3, 9, 2),
    (3, 2, 9, 3),
    (1, 1, 5, 2),
]


def frames_of(rows, cols, channels, count, seed):
    clean = checkers(rows + count, cols + count, channels, period=7)
    moving = [clean[k : k + rows, k : k + cols] for k in range(count)]
    return [noisy(frame, SIGMA, seed + k) for k, frame in enumerate(moving)]


def held(frames, geometry):
    clip = Clip(geometry, [SIGMA] * geometry.features)
    for slot, frame in enumerate(frames):
        clip.put(slot, [frame])
    return clip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, deadline=None)
@given(
    rows=st.integers(2, 60),
    cols=st.integers(2, 100),
    count=st.integers(1, 4),
    strength=st.floats(0.3, 1.2),
    seed=st.integers(0, 99),
)
def test_equals_the_naive_twin(kind, rows, cols, count, strength, seed):
    features, values, patch, radius = kind
    frames = frames_of(rows, cols, features, count, seed)
    geometry = Geometry(rows, cols, features, values, patch, radius, count)
    slots = list(np.random.default_rng(seed).permutation(count))
    still = np.zeros((len(geometry.corners), count, 2), np.int64)
    fast = held(frames, geometry).denoise(slots, still, strength)
    slow = SIGMA * naive.clip(
        [frames[slot] / SIGMA for slot in slots],
        [(0, 0)] * count,
        values,
        strength,
        patch,
        geometry.cell,
        radius,
    )
    assert np.abs(fast - slow).max() < TOLERANCE


def test_every_tile_searches_where_it_has_moved():
    rows, cols = 75, 130
    frames = frames_of(rows, cols, 1, 2, 0)
    geometry = Geometry(rows, cols, 1, 1, 9, 2, 2)
    height, width = geometry.tile
    clip = held(frames, geometry)
    moves = np.zeros((len(geometry.corners), 2, 2), np.int64)
    for (y, x), move in zip(geometry.corners, moves, strict=True):
        move[1] = (4 if y == 0 else -7, -5 if x else 8)
    fast = clip.denoise([0, 1], moves, 0.6)
    assert len(moves) == 4
    for (y, x), move in zip(geometry.corners, moves, strict=True):
        way = [tuple(int(m) for m in one) for one in move]
        slow = SIGMA * naive.clip([frame / SIGMA for frame in frames], way, 1, 0.6, 9, 3, 2)
        tile = (slice(y, y + height), slice(x, x + width))
        assert np.abs(fast[tile] - slow[tile]).max() < TOLERANCE


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_scales_with_the_picture(scale):
    frames = frames_of(40, 50, 1, 2, 3)
    geometry = Geometry(40, 50, 1, 1, 9, 2, 2)
    still = np.zeros((len(geometry.corners), 2, 2), np.int64)
    one = held(frames, geometry).denoise([0, 1], still, 0.5)
    clip = Clip(geometry, [SIGMA * scale])
    for slot, frame in enumerate(frames):
        clip.put(slot, [frame * np.float32(scale)])
    scaled = clip.denoise([0, 1], still, 0.5)
    assert np.abs(scaled / scale - one).max() < TOLERANCE


def texture(rows, cols, seed=0):
    rough = np.random.default_rng(seed).random((rows + 8, cols + 8))
    sums = np.cumsum(np.cumsum(rough, 0), 1)
    smooth = (sums[8:, 8:] - sums[:-8, 8:] - sums[8:, :-8] + sums[:-8, :-8]) / 64
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


class TestMotion:
    BLOCK = (48, 84)
    CORNERS = np.array([(y, x) for y in (0, 48) for x in (0, 84)])

    def follow(self, here, there, sigma):
        return follow(Pyramid.of(here), Pyramid.of(there), self.CORNERS, self.BLOCK, sigma)

    @pytest.mark.parametrize("move", [(0, 0), (6, -10), (-24, 2), (3, 15)])
    def test_finds_where_a_texture_went(self, move):
        world = texture(180, 260)
        here, there = (
            noisy(world[40 + y : 140 + y, 40 + x : 220 + x], 0.05, seed)
            for seed, (y, x) in enumerate([(0, 0), (-move[0], -move[1])])
        )
        found = self.follow(here, there, 0.05)
        inside = (self.CORNERS + move >= 0).all(axis=1) & (
            self.CORNERS + self.BLOCK + move <= here.shape
        ).all(axis=1)
        assert inside.any()
        assert np.abs(found - move)[inside].max() <= 2

    def test_nothing_but_noise_stays(self):
        here, there = (noisy(np.full((100, 180), 0.5), 0.1, seed) for seed in (0, 1))
        assert not self.follow(here, there, 0.1).any()

    def test_blocks_stay_in_the_picture(self):
        here, there = texture(100, 170, 0), texture(100, 170, 1)
        end = np.minimum(self.CORNERS + self.BLOCK, here.shape)
        found = self.follow(here, there, 0.01)
        assert (self.CORNERS + found >= 0).all()
        assert (end + found <= np.array(here.shape) + 2).all()

    def test_small_pictures_are_not_followed(self):
        assert Pyramid.of(np.zeros((100, 31), np.float32)) is None
