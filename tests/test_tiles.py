"""Memory for the kernels' areas."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nlm.backends import cpu_tiles
from nlm.backends.compiled import simd_width
from nlm.backends.cpu_tiles import aligned_areas, kept_areas


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
