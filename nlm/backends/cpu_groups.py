"""Numba kernel of collaborative filtering: patches that are alike are denoised together.

Each lane of a vector works on a picture tile of its own (`simd.py`), so this reads as code for one
tile. For every reference patch of a grid, the `members` patches most like it are taken from a
search window of the pilot picture; stacked, they are a matrix with a row per patch (or per pixel
of a patch) and its Gram matrix G tells how they can predict each other. The denoised group is

    (I - c (G + r I)^-1) Y,

ridge regression of the rows on each other. With rows of pixels, G from the pilot, it is the
Wiener filter of NL-Bayes' second step (Lebrun et al., doi:10.1137/120874989); with rows of
patches, G from the noisy picture and r = 0, it is the first step of NL-Ridge (Herbreteau &
Kervrann, doi:10.1109/TIP.2022.3222918). Every patch of a group returns to its place, and what
several groups say of a pixel is averaged by their certainty, the inverse of the noise they let
through.
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, types, void

from nlm.backends.simd import inlined, simd

BLOCK = 4
"""Rows and columns of a product of matrices that are computed together."""
KEPT = 10.0
"""Rows of patches keep this mean, in units of sigma: large enough that their average passes."""
ROUNDING = 2.0**-17
"""By such a share the diagonal of G is larger: where patches without noise are equal, rounding
would leave G + r I without an inverse."""
HALVINGS = 12
"""Steps in which the distance of the last member is found."""


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    return {"collaborate": collaborate, "gather_tiles": gather_tiles}[name](**constants)


def collaborate(
    width: int, patch: int, channels: int, matched: int, by_pixels: int, from_pilot: int
) -> tuple[Callable, types.Type]:
    """The kernel for pictures with so many channels, of which the first `matched` are compared."""
    WIDTH, PATCH, CHANNELS, MATCHED = width, patch, channels, matched
    BY_PIXELS, FROM_PILOT = bool(by_pixels), bool(from_pilot)
    ops = simd(width)
    load, store, splat, registers = ops.load, ops.store, ops.splat, ops.registers
    minimum, maximum, sqrt, where_at_most = ops.minimum, ops.maximum, ops.sqrt, ops.where_at_most
    ZERO, ONE = np.float32(0), np.float32(1)
    OFFSET = np.float32(KEPT)
    LEAST, NEAR = np.float32(1e-30), np.float32(1e-6)
    ROUNDED = np.float32(1 + ROUNDING)
    SUMS = BLOCK * BLOCK

    inline = inlined()

    @inline
    def fill(array, count, value):
        for i in range(count):
            store(array, i, value)

    @inline
    def pack(image, packed, row_of, column_of, corners, tile_rows, stride):
        for lane in range(WIDTH):
            for y in range(tile_rows):
                row = row_of[corners[2 * lane] + y]
                for x in range(stride):
                    pixel = (row + column_of[corners[2 * lane + 1] + x]) * CHANNELS
                    for c in range(CHANNELS):
                        packed[((c * tile_rows + y) * stride + x) * WIDTH + lane] = image[pixel + c]

    @inline
    def compare(pilot, distances, plane, reference, stride, radius):
        """Squared distances between the reference patch and all patches of the window."""
        o = 0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                other = reference + dy * stride + dx
                d = splat(ZERO)
                for c in range(MATCHED):
                    for y in range(PATCH):
                        k = c * plane + y * stride
                        for x in range(PATCH):
                            e = load(pilot, reference + k + x) - load(pilot, other + k + x)
                            d = e * e + d
                store(distances, o, d)
                o += 1

    @inline
    def farthest(distances, count, members):
        """A distance that barely more than `members` patches keep within."""
        high = splat(LEAST)
        for o in range(count):
            high = maximum(high, load(distances, o))
        low = maximum(high * splat(NEAR), splat(LEAST))
        enough = splat(np.float32(members))
        for _ in range(HALVINGS):
            middle = sqrt(low) * sqrt(high)
            within = splat(ZERO)
            for o in range(count):
                one = where_at_most(load(distances, o), middle, splat(ONE), splat(ZERO))
                within = within + one
            high = where_at_most(enough, within, middle, high)
            low = where_at_most(enough, within, low, middle)
        return high

    @inline
    def choose(distances, limits, places, side, radius, stride, members):
        """Where the members of each lane's group lie, the reference itself first."""
        middle = (side * side) // 2
        for lane in range(WIDTH):
            limit = limits[lane]
            places[lane] = 0
            found = 1
            o = 0
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    places[min(found, members) * WIDTH + lane] = dy * stride + dx
                    found += int(distances[o * WIDTH + lane] <= limit) & int(o != middle)
                    o += 1

    @inline
    def stack(packed, group, places, corner, stride, members, across, along):
        """Copy the patches of a group into a matrix."""
        for m in range(members):
            for lane in range(WIDTH):
                first = (corner + places[m * WIDTH + lane]) * WIDTH + lane
                k = m * across * WIDTH + lane
                for y in range(PATCH):
                    for x in range(PATCH):
                        group[k] = packed[first + (y * stride + x) * WIDTH]
                        k += along * WIDTH

    @inline
    def row_means(group, means, rows, columns):
        share = splat(ONE / np.float32(columns))
        for i in range(rows):
            s = splat(ZERO)
            for b in range(columns):
                s = s + load(group, i * columns + b)
            store(means, i, s * share)

    @inline
    def common_mean(means, rows):
        s = splat(ZERO)
        for i in range(rows):
            s = s + load(means, i)
        s = s * splat(ONE / np.float32(rows)) - splat(OFFSET)
        for i in range(rows):
            store(means, i, s)

    @inline
    def centre(group, means, rows, columns):
        for i in range(rows):
            mean = load(means, i)
            for b in range(columns):
                store(group, i * columns + b, load(group, i * columns + b) - mean)

    @inline
    def gram(group, matrix, padded, columns, share):
        """The products of all rows, lower triangle."""
        for i in range(0, padded, BLOCK):
            for j in range(0, i + 1, BLOCK):
                sums = registers(SUMS)
                for b in range(columns):
                    for s in range(BLOCK):
                        one = load(group, (i + s) * columns + b)
                        for t in range(BLOCK):
                            other = load(group, (j + t) * columns + b)
                            sums[s * BLOCK + t] = sums[s * BLOCK + t] + one * other
                for s in range(BLOCK):
                    for t in range(BLOCK):
                        store(matrix, (i + s) * padded + j + t, sums[s * BLOCK + t] * share)

    @inline
    def invert(matrix, factor, padded):
        """The inverse of a symmetric matrix of which the lower triangle is given."""
        for j in range(padded):
            s = load(matrix, j * padded + j)
            for k in range(j):
                e = load(matrix, j * padded + k)
                s = s - e * e
            root = splat(ONE) / sqrt(maximum(s, splat(LEAST)))
            store(factor, j * padded + j, root)
            for i in range(j + 1, padded):
                s = load(matrix, i * padded + j)
                for k in range(j):
                    s = s - load(matrix, i * padded + k) * load(matrix, j * padded + k)
                store(matrix, i * padded + j, s * root)
        for j in range(padded):  # factor: the inverse of the triangle, transposed
            for i in range(j + 1, padded):
                s = splat(ZERO)
                for k in range(j, i):
                    s = s - load(matrix, i * padded + k) * load(factor, j * padded + k)
                store(factor, j * padded + i, s * load(factor, i * padded + i))
        for i in range(padded):
            for j in range(i + 1):
                s = splat(ZERO)
                for k in range(i, padded):
                    s = s + load(factor, i * padded + k) * load(factor, j * padded + k)
                store(matrix, i * padded + j, s)
                store(matrix, j * padded + i, s)

    @inline
    def complement(matrix, padded, noise):
        """M = I - noise * M"""
        for i in range(padded):
            for j in range(padded):
                unit = splat(ONE if i == j else ZERO)
                store(matrix, i * padded + j, unit - noise * load(matrix, i * padded + j))

    @inline
    def predict(matrix, group, result, padded, columns):
        """Result = matrix group, by blocks."""
        for i in range(0, padded, BLOCK):
            for b in range(0, columns, BLOCK):
                sums = registers(SUMS)
                for k in range(padded):
                    for t in range(BLOCK):
                        y = load(group, k * columns + b + t)
                        for s in range(BLOCK):
                            m = load(matrix, k * padded + i + s)
                            sums[s * BLOCK + t] = sums[s * BLOCK + t] + m * y
                for s in range(BLOCK):
                    for t in range(BLOCK):
                        if b + t < columns:
                            store(result, (i + s) * columns + b + t, sums[s * BLOCK + t])

    @inline
    def certainty(matrix, weights, rows, padded, members, alive):
        """How much the members' estimates count: the inverse of the noise that is left in them."""
        least = splat(ONE / np.float32(members))
        every = splat(ZERO)
        for i in range(rows):
            s = splat(ZERO)
            for j in range(rows):
                e = load(matrix, i * padded + j)
                s = e * e + s
            every = every + s
            if not BY_PIXELS:
                weight = splat(ONE) / minimum(maximum(s, least), splat(ONE))
                store(weights, i, weight * alive)
        if BY_PIXELS:
            weight = alive / (every * splat(ONE / np.float32(rows)) + least)
            fill(weights, members, weight)

    @inline
    def give_back(
        result, means, weights, numerator, mass, places, corner, stride, members,
        across, along,
    ):  # fmt: skip
        """Add the weighted patches of a group where they came from."""
        for m in range(members):
            for lane in range(WIDTH):
                first = (corner + places[m * WIDTH + lane]) * WIDTH + lane
                weight = weights[m * WIDTH + lane]
                mass[first] += weight
                k = m * across * WIDTH + lane
                i = lane if BY_PIXELS else m * WIDTH + lane
                for y in range(PATCH):
                    for x in range(PATCH):
                        value = result[k] + means[i]
                        numerator[first + (y * stride + x) * WIDTH] += weight * value
                        k += along * WIDTH
                        if BY_PIXELS:
                            i += WIDTH

    @inline
    def cover(mass, rows, stride):
        """Spread each patch's weight, kept at its corner, over all its pixels."""
        for y in range(rows - 1, -1, -1):
            for x in range(stride - 1, -1, -1):
                s = splat(ZERO)
                for u in range(min(PATCH, x + 1)):
                    s = s + load(mass, y * stride + x - u)
                store(mass, y * stride + x, s)
        for y in range(rows - 1, -1, -1):
            for x in range(stride):
                s = splat(ZERO)
                for v in range(min(PATCH, y + 1)):
                    s = s + load(mass, (y - v) * stride + x)
                store(mass, y * stride + x, s)

    def kernel(
        noisy_image, pilot_image, row_of, column_of, corners,
        noisy, pilot, numerator, mass, distances, places,
        group, result, means, matrix, factor, weights, limits,
        height, picture_width, rows, cols, radius, step, members, variance,
    ):  # fmt: skip
        margin = radius + PATCH
        tile_rows, stride = rows + 2 * margin, cols + 2 * margin
        plane, side = tile_rows * stride, 2 * radius + 1
        pixels = PATCH * PATCH
        size, columns = (pixels, members) if BY_PIXELS else (members, pixels)
        across, along = (1, members) if BY_PIXELS else (pixels, 1)
        padded = -(-size // BLOCK) * BLOCK
        share = ONE / np.float32(members) if BY_PIXELS else ONE
        noise = variance if BY_PIXELS else variance * np.float32(pixels)
        ridge = noise if FROM_PILOT else noise * np.float32(1e-3)

        pack(noisy_image, noisy, row_of, column_of, corners, tile_rows, stride)
        pack(pilot_image, pilot, row_of, column_of, corners, tile_rows, stride)
        fill(numerator, plane * CHANNELS, splat(ZERO))
        fill(mass, plane * CHANNELS, splat(ZERO))
        fill(group, (padded + BLOCK) * columns, splat(ZERO))
        for y in range(0, rows, step):
            for x in range(0, cols, step):
                corner = (margin + y) * stride + margin + x
                compare(pilot, distances, plane, corner, stride, radius)
                store(limits, 0, farthest(distances, side * side, members))
                choose(distances, limits, places, side, radius, stride, members)
                for lane in range(WIDTH):
                    inside = corners[2 * lane] + y < height
                    inside &= corners[2 * lane + 1] + x < picture_width
                    limits[lane] = ONE if inside else ZERO
                alive = load(limits, 0)
                for c in range(CHANNELS):
                    first = corner + c * plane
                    source = pilot if FROM_PILOT else noisy
                    stack(source, group, places, first, stride, members, across, along)
                    row_means(group, means, size, columns)
                    if not BY_PIXELS:
                        common_mean(means, size)
                    centre(group, means, size, columns)
                    gram(group, matrix, padded, columns, splat(share))
                    for i in range(padded):
                        k = i * padded + i
                        power = load(matrix, k) * splat(ROUNDED)
                        store(matrix, k, power + splat(ridge if i < size else ONE))
                    invert(matrix, factor, padded)
                    complement(matrix, padded, splat(noise))
                    certainty(matrix, weights, size, padded, members, alive)
                    if FROM_PILOT:
                        stack(noisy, group, places, first, stride, members, across, along)
                        row_means(group, means, size, columns)
                        if not BY_PIXELS:
                            common_mean(means, size)
                        centre(group, means, size, columns)
                    predict(matrix, group, result, padded, columns)
                    give_back(
                        result, means, weights, numerator, mass, places, first, stride,
                        members, across, along,
                    )  # fmt: skip
        cover(mass, tile_rows * CHANNELS, stride)

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    arguments = [numbers] * 2 + [indices] * 3 + [numbers] * 5 + [indices] + [numbers] * 7
    return kernel, void(*arguments, *[int64] * 7, float32)


def gather_tiles(width: int, channels: int) -> tuple[Callable, types.Type]:
    """Adds what tiles found, halos too, to sums of the whole picture, as exact integers."""
    WIDTH, CHANNELS = width, channels

    def kernel(
        numerator, mass, sums, weights, corners, tiles,
        height, picture_width, rows, cols, margin, scale,
    ):  # fmt: skip
        tile_rows, stride = rows + 2 * margin, cols + 2 * margin
        for lane in range(tiles):
            top, left = corners[2 * lane] - margin, corners[2 * lane + 1] - margin
            for y in range(max(0, -top), min(tile_rows, height - top)):
                for x in range(max(0, -left), min(stride, picture_width - left)):
                    pixel = ((top + y) * picture_width + left + x) * CHANNELS
                    for c in range(CHANNELS):
                        k = ((c * tile_rows + y) * stride + x) * WIDTH + lane
                        sums[pixel + c] += int64(numerator[k] * scale)
                        weights[pixel + c] += int64(mass[k] * scale)

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    arguments = [numbers] * 2 + [indices] * 3 + [int64] * 6 + [float32]
    return kernel, void(*arguments)
