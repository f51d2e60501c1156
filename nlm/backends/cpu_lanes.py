"""Numba kernels that bring tiles of a picture into the lanes of vectors, and back.

Numbers that lie side by side in the picture, as many as a vector has lanes, are read from the tile
of each lane at once and transposed.
"""

from collections.abc import Callable

from numba import float32, int64, types, void

from nlm.backends.simd import inlined, simd

inline = inlined(forced=True)


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    return {"fill": fill, "empty": empty}[name](**constants)


def fill(width: int, channels: int) -> tuple[Callable, types.Type]:
    """The kernel that fills the lanes with tiles, one channel after the other.

    `row_of` and `column_of` tell where in the picture a row (times the picture's columns) and a
    column are. `corners` has four numbers for each lane: at which of these its tile begins, and the
    row and column of the picture where its block ends. Numbers are multiplied by `factor`.
    """
    WIDTH, CHANNELS = width, channels
    ops = simd(width)
    load_from, store, splat = ops.load_from, ops.store, ops.splat
    registers, transpose = ops.registers, ops.transpose

    @inline
    def side_by_side(column_of, corners, stride):
        """Columns from which and up to which those of all lanes ascend one by one."""
        begin, end = 0, stride
        for lane in range(WIDTH):
            left = corners[4 * lane + 1]
            x = 1
            while x < stride and column_of[left + x] - column_of[left + x - 1] != 1:
                x += 1
            begin = max(begin, x - 1)
            while x < stride and column_of[left + x] - column_of[left + x - 1] == 1:
                x += 1
            end = min(end, x)
        return begin, max(begin, end)

    @inline
    def one_by_one(image, tiles, y, row, left, column_of, lane, begin, end, plane, stride, factor):
        for x in range(begin, end):
            pixel = (row + column_of[left + x]) * CHANNELS
            for c in range(CHANNELS):
                k = (c * plane + y * stride + x) * WIDTH + lane
                tiles[k] = image[pixel + c] * factor

    def kernel(image, tiles, row_of, column_of, corners, tile_rows, stride, factor):
        plane, numbers = tile_rows * stride, registers(WIDTH)
        begin, end = side_by_side(column_of, corners, stride)
        end = begin + (end - begin) // WIDTH * WIDTH
        factors = splat(factor)
        for y in range(tile_rows):
            for x in range(begin, end, WIDTH):
                for part in range(CHANNELS):
                    for lane in range(WIDTH):
                        row, left = row_of[corners[4 * lane] + y], corners[4 * lane + 1]
                        pixel = row + column_of[left + x]
                        first = pixel * CHANNELS + part * WIDTH
                        numbers[lane] = load_from(image, first) * factors
                    transpose(numbers)
                    for k in range(WIDTH):
                        n = part * WIDTH + k
                        i = n % CHANNELS * plane + y * stride + x + n // CHANNELS
                        store(tiles, i, numbers[k])
            for lane in range(WIDTH):
                row, left = row_of[corners[4 * lane] + y], corners[4 * lane + 1]
                one_by_one(
                    image, tiles, y, row, left, column_of, lane, 0, begin, plane, stride, factor
                )
                one_by_one(
                    image, tiles, y, row, left, column_of, lane, end, stride, plane, stride, factor
                )

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    return kernel, void(*[numbers] * 2, *[indices] * 3, int64, int64, float32)


def empty(width: int, values: int, planes: int) -> tuple[Callable, types.Type]:
    """The kernel that puts the first `values` of a pixel's `planes` into a picture.

    Only pixels of the tile itself are, up to where its block ends, see `cpu_layout.Tiles.jobs`.
    """
    WIDTH, VALUES, PLANES = width, values, planes
    ops = simd(width)
    load, store_from = ops.load, ops.store_from
    registers, transpose = ops.registers, ops.transpose

    def kernel(tiles, picture, corners, picture_width, rows, cols, origin, stride):
        numbers = registers(WIDTH)
        for y in range(rows):
            for x in range(0, cols, WIDTH):
                for part in range(VALUES):
                    for k in range(WIDTH):
                        n = part * WIDTH + k
                        i = origin + y * stride + min(x + n // VALUES, cols - 1)
                        numbers[k] = load(tiles, i * PLANES + n % VALUES)
                    transpose(numbers)
                    for lane in range(WIDTH):
                        top, left = corners[4 * lane] + y, corners[4 * lane + 1]
                        if top < corners[4 * lane + 2]:
                            missing = (min(cols, corners[4 * lane + 3] - left) - x) * VALUES
                            missing = missing - part * WIDTH
                            to = (top * picture_width + left + x) * VALUES + part * WIDTH
                            if missing >= WIDTH:
                                store_from(picture, to, numbers[lane])
                            else:
                                for k in range(missing):
                                    n = part * WIDTH + k
                                    i = origin + y * stride + x + n // VALUES
                                    number = tiles[(i * PLANES + n % VALUES) * WIDTH + lane]
                                    picture[to + k] = number

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    return kernel, void(numbers, numbers, indices, *[int64] * 5)
