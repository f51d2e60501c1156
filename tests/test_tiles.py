"""How pictures are cut for the lanes of a vector, and memory for the kernels' areas."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nlm.backends import cpu_tiles
from nlm.backends.compiled import simd_width
from nlm.backends.cpu_layout import PATCH_SUMS, PATCHWISE, PIXELWISE, Layout, tiles_for
from nlm.backends.cpu_tiles import aligned_areas, kept_areas


@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    radius=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    form=st.sampled_from([PIXELWISE, PATCH_SUMS, PATCHWISE]),
    threads=st.integers(1, 9),
)
def test_every_pixel_is_in_one_tile(size, radius, form, threads):
    layout = Layout(radius, (2, 3), form, 1, 1, False)
    tiles = tiles_for(layout, *size, threads)
    count = np.zeros(size, int)
    corners = {corner for job in tiles.jobs(*size) for corner in job}
    for top, left, bottom, right in corners:
        count[top : min(top + tiles.rows, bottom), left : min(left + tiles.cols, right)] += 1
    assert (count == 1).all()
    assert max(top for top, *_ in corners) + tiles.rows == tiles.covered(*size)[0]
    assert max(left for _, left, *_ in corners) + tiles.cols == tiles.covered(*size)[1]
    if tiles.down > 1:
        assert tiles.rows >= layout.rim[0] >= radius[0]
        assert tiles.rows * tiles.down >= tiles.block[0] + layout.beyond[0]
    if tiles.across > 1:
        assert tiles.cols >= layout.rim[1] >= radius[1]
        assert tiles.cols * tiles.across >= tiles.block[1] + layout.beyond[1]


def test_areas_are_aligned_staggered_and_apart():
    sizes = [5, 1, 700, 3]
    areas = aligned_areas(sizes)
    addresses = [area.ctypes.data for area in areas]
    assert [area.size for area in areas] == [size * simd_width() for size in sizes]
    assert all(address % 64 == 0 for address in addresses)
    assert len({address % 4096 for address in addresses}) == len(sizes)
    for number, area in enumerate(areas):
        area[:] = number
    assert all(np.all(area == number) for number, area in enumerate(areas))


def test_a_thread_uses_its_memory_again():
    def kept(size):
        area = kept_areas([size])[0]
        return area.ctypes.data, area.size

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(kept, 100).result()
        assert pool.submit(kept, 100).result() == first
        assert pool.submit(kept, 10).result()[0] == first[0]
        assert pool.submit(kept, 5000).result()[1] == 5000 * simd_width()
        assert first[0] != kept(100)[0]


def test_a_thread_does_not_keep_much_memory():
    vectors = cpu_tiles.KEPT // (4 * simd_width())
    much = kept_areas([vectors + 1])[0]
    more = kept_areas([vectors + 1])[0]
    assert not np.shares_memory(much, more)
