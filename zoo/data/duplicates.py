"""Finds near duplicates: copies of a picture that were compressed again, resized, trimmed, brightened or made gray.

Pictures are compared by what small gray thumbnails hold beside their mean: the lower spatial frequencies, weighted so
that fine ones count as much as the coarse ones that all photographs share. Nothing here knows of files.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Thumbnails = NDArray[np.uint8]
Floats = NDArray[np.float32]
Pairs = NDArray[np.int64]

_FREQUENCIES = 8  # of each direction; those above suffer from compression and scaling
_NOISE = 4.0  # a frequency below this (in gray levels times the root of the pixels) may be rounding and compression
_LEAST_EVIDENCE = 45.0  # bits; two slopes of brightness in one direction reach 39
_LEAST_LIKENESS, _MOST_LIKENESS = 0.93, 0.98
_HIGH = 0.99
_COPIES = 6  # the nearest of a picture may be its copies, and say nothing of how alike different pictures are
_SKETCH_BITS, _WINDOW, _SAMPLE = 512, 16, 1000
_CHUNK = 200_000


def near_duplicates(thumbnails: Thumbnails) -> NDArray[np.int64]:
    """Returns the number of each picture's cluster of near duplicates, or -1 where it has none.

    A cluster is numbered by its first row. All its pictures are like one of them, so that chains of pictures, each
    a little like the next, do not grow together. Two pictures are near duplicates where their frequencies correlate
    (0.93; up to 0.98 for a picture that resembles many others of the data, as a page of text does) and agree in more
    detail than chance explains; so flat and very dark pictures and plain slopes, which have no detail, never are.

    Measured on generated pictures, other ones than the limits were chosen by (but for `_COPIES`): 60 copies of each
    sort (JPEG of quality 40, half and double size, 2 % trimmed, gray, 10 % brighter or darker, half or trimmed and
    compressed) among 300 of a kind. Found are 98 to 100 % for textures, flat shapes, scanned digits and pieces of two
    photographs, 88 to 100 % for products on white, 80 to 92 % for line drawings, 73 to 100 % for pages of text, 3 % for
    pictures below an eighth of the brightness, 2 % for slopes, none for flat pictures. In data of all kinds at once,
    compressed or trimmed pages of text fall to 18 to 48 %, and among only ten pages to 50 %; the others stay.
    Without copies none of the 300 is joined to another, but: pieces of photographs that overlap by nine tenths, the
    same digit drawn twice (of 1,797 different ones 48 are joined), and products of two smooth shapes, of which half
    find one that looks the same at this size. 100,000 pictures take 6 seconds of one core, 12 where all are alike, and
    0.7 GB.

    Args:
        thumbnails: uint8 [n, height, width], gray, all made in the same way; about 16x17.
    """
    found = np.full(len(thumbnails), -1, np.int64)
    flat = thumbnails.reshape(len(thumbnails), math.prod(thumbnails.shape[1:]))
    # Sorted, so that the order of the pictures does not matter; equal ones are compared once.
    rows = np.ascontiguousarray(flat).view(f"V{flat.shape[1]}")[:, 0]
    _, kept, back = np.unique(rows, return_index=True, return_inverse=True)
    frequencies = _frequencies(thumbnails[kept])
    telling = np.flatnonzero(_detail(frequencies) >= _LEAST_EVIDENCE)
    clusters = np.full(len(kept), -1, np.int64)
    clusters[telling] = telling
    if len(telling) > 1:
        pictures = _Pictures(frequencies[telling])
        clusters[telling] = telling[_stars(pictures, _linked(pictures))]
    number = clusters[back]
    inside = np.flatnonzero(number >= 0)
    _, first, inverse, counts = np.unique(number[inside], return_index=True, return_inverse=True, return_counts=True)
    several = counts[inverse] > 1
    found[inside[several]] = inside[first[inverse[several]]]
    return found


class _Pictures:
    """Frequencies of pictures [n, k], and how like each other two must be."""

    def __init__(self, frequencies: Floats) -> None:
        self.frequencies = frequencies
        weighted = frequencies * _weights()
        self.directions: Floats = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
        self.sizes: Floats = np.linalg.norm(frequencies, axis=1)
        self.likeness = self._least_likeness()
        self.loosest = float(self.likeness.min())

    def __len__(self) -> int:
        return len(self.sizes)

    def _least_likeness(self) -> Floats:
        """Returns for each picture a correlation that hardly any different one of so many reaches with it.

        Fisher's transformation makes correlations about normal; of n of them the largest lies about sqrt(2 ln(n^2 / 2))
        deviations above the mean where each of n pictures is asked. A page of text is thus compared more strictly than
        a photograph, whatever else is in the data.
        """
        sample = np.random.default_rng(0).choice(len(self), min(_SAMPLE, len(self)), replace=False)
        deviations = math.sqrt(2 * math.log(max(2.0, len(self) ** 2 / 2)))
        parts = [self._likeness(rows, sample, deviations) for rows in _chunks(len(self), 10_000)]
        likeness = np.clip(np.round(np.concatenate(parts), 2), _LEAST_LIKENESS, _MOST_LIKENESS)
        return likeness.astype(np.float32)

    def _likeness(self, rows: slice, sample: NDArray[np.int64], deviations: float) -> Floats:
        correlations = self.directions[rows] @ self.directions[sample].T
        correlations[sample == np.arange(len(self))[rows, np.newaxis]] = 0  # with itself
        middle, top = len(sample) // 2, min(int(_HIGH * len(sample)), len(sample) - 1 - _COPIES)
        if top <= middle:  # too few to tell
            return np.full(len(correlations), _LEAST_LIKENESS, np.float32)
        ranks, reach = [middle, top], NormalDist().inv_cdf((top + 0.5) / len(sample))
        usual, high = np.arctanh(np.clip(np.partition(correlations, ranks, axis=1)[:, ranks], -0.9999, 0.9999)).T
        result: Floats = np.tanh(usual + (high - usual) / reach * deviations)
        return result

    def _correlations(self, pairs: Pairs) -> Floats:
        result: Floats = np.einsum("ij,ij->i", self.directions[pairs[0]], self.directions[pairs[1]])
        return result

    def are_alike(self, pairs: Pairs, slack: float = 1.0) -> NDArray[np.bool_]:
        """Returns which pairs [2, m] of pictures are near duplicates; with a `slack` above 1, or nearly so."""
        parts = [self._are_alike(pairs[:, at : at + _CHUNK], slack) for at in range(0, pairs.shape[1], _CHUNK)]
        return np.concatenate([np.zeros(0, bool), *parts])

    def _are_alike(self, pairs: Pairs, slack: float) -> NDArray[np.bool_]:
        strict = np.maximum(self.likeness[pairs[0]], self.likeness[pairs[1]])
        alike: NDArray[np.bool_] = self._correlations(pairs) >= 1 - slack * (1 - strict)
        one, other = pairs[:, alike]
        gain = np.clip(self.sizes[one] / self.sizes[other], 0.7, 1.4)[:, np.newaxis]
        a, b = self.frequencies[one], self.frequencies[other] * gain
        alike[alike] = _evidence(a, b) >= _LEAST_EVIDENCE / slack
        return alike


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(begin, begin + size) for begin in range(0, count, size)]


def _frequencies(thumbnails: Thumbnails) -> Floats:
    """Returns the lower frequencies (cosine transform) of each thumbnail without its mean: [n, k]."""
    rows, columns = (_cosines(size) for size in thumbnails.shape[1:])
    parts = [
        np.einsum("ui,nij,vj->nuv", rows, thumbnails[at : at + _CHUNK].astype(np.float32), columns, optimize=True)
        for at in range(0, len(thumbnails), _CHUNK)
    ]
    whole = np.concatenate([np.zeros((0, len(rows), len(columns)), np.float32), *parts])
    return whole.reshape(len(whole), math.prod(whole.shape[1:]))[:, 1:]


def _cosines(size: int) -> Floats:
    """Returns the lower rows of the orthonormal cosine transform (DCT-II) of vectors of `size`."""
    count = np.arange(min(_FREQUENCIES, size))[:, np.newaxis]
    waves = np.cos(np.pi * count * (2 * np.arange(size) + 1) / (2 * size)) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves.astype(np.float32)


def _weights() -> Floats:
    """Returns the weight of each frequency: photographs have amplitudes about as its inverse (Field 1987)."""
    u, v = np.mgrid[:_FREQUENCIES, :_FREQUENCIES]
    weights: Floats = np.hypot(u, v).reshape(-1)[1:].astype(np.float32)
    return weights


def _detail(a: Floats) -> Floats:
    """Returns how many bits above the noise each picture holds."""
    result: Floats = np.log2(np.maximum(np.abs(a), _NOISE) / _NOISE).sum(axis=1)
    return result


def _evidence(a: Floats, b: Floats) -> Floats:
    """Returns in how many bits above the noise two pictures agree; what only one of them has counts for nothing."""
    larger, apart = np.maximum(np.abs(a), np.abs(b)), np.abs(a - b)
    ratio = np.maximum(larger, _NOISE) / np.maximum(apart, _NOISE)
    result: Floats = np.log2(np.maximum(ratio, 1)).sum(axis=1)
    return result


def _linked(pictures: _Pictures) -> Pairs:
    """Returns pairs [2, m] of near duplicates, found among neighbours in several orders.

    Each picture is sketched by signs of random projections, which differ for a share of angle / pi of them (Charikar
    2002). Sorted by one 64-bit word of the sketch after the other, near duplicates come to lie close together.
    """
    random = np.random.default_rng(1).normal(size=(pictures.directions.shape[1], _SKETCH_BITS)).astype(np.float32)
    chunks = _chunks(len(pictures), 10_000)
    signs = np.concatenate([np.packbits(pictures.directions[rows] @ random > 0, axis=1) for rows in chunks])
    words = signs.view(np.uint64)
    share = math.acos(pictures.loosest) / math.pi
    most = _SKETCH_BITS * share + 3.5 * math.sqrt(_SKETCH_BITS * share * (1 - share))
    links = np.zeros((2, 0), np.int64)
    for order in _orders(signs):
        links = np.concatenate(
            [links, _close_by(pictures, words, order, most, connected(len(pictures), links))], axis=1
        )
    return links


def _orders(signs: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Returns orders of the pictures, each by other bits of the sketch."""
    step = 4
    return [
        np.argsort(np.ascontiguousarray(signs[:, at : at + 8]).view(">u8")[:, 0], kind="stable")
        for at in range(0, signs.shape[1] - 7, step)
    ]


def _close_by(
    pictures: _Pictures, words: NDArray[Any], order: NDArray[np.int64], most: float, component: NDArray[np.int64]
) -> Pairs:
    """Returns the near duplicates [2, m] among those within a window of the order that are of different components."""
    sorted_words, sorted_component = words[order], component[order]
    found = [np.zeros((2, 0), np.int64)]
    for apart in range(1, min(_WINDOW, len(order) - 1) + 1):
        at = np.flatnonzero(sorted_component[:-apart] != sorted_component[apart:])
        differing = np.bitwise_count(sorted_words[at] ^ sorted_words[at + apart]).sum(axis=1, dtype=np.int32)
        at = at[differing <= most]
        found.append(np.stack([order[at], order[at + apart]]))
    pairs = np.concatenate(found, axis=1)
    return pairs[:, pictures.are_alike(pairs)]


def _stars(pictures: _Pictures, links: Pairs) -> NDArray[np.int64]:
    """Returns a cluster number for each picture, so that all pictures of a cluster are like one among them.

    Of each connected component the picture next to its mean becomes a star; those that are not like it are asked again
    without it.
    """
    cluster = np.arange(len(pictures))
    component = connected(len(pictures), links)
    left = np.arange(len(pictures))
    while True:
        _, component, counts = np.unique(component, return_inverse=True, return_counts=True)
        several = counts[component] > 1
        left, component = left[several], component[several]
        if not len(left):
            return cluster
        star = _nearest_to_mean(pictures.directions[left], component)
        joined = (star == np.arange(len(left))) | pictures.are_alike(np.stack([left[star], left]), slack=1.5)
        cluster[left[joined]] = left[star[joined]]
        left, component = left[~joined], component[~joined]


def _nearest_to_mean(directions: Floats, component: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns for each row the row that lies nearest to the mean of its component."""
    order = np.argsort(component, kind="stable")
    _, begins, inverse = np.unique(component[order], return_index=True, return_inverse=True)
    sums = np.add.reduceat(directions[order], begins, axis=0)
    nearness = np.empty(len(component))
    nearness[order] = np.einsum("ij,ij->i", directions[order], sums[inverse])
    best = np.lexsort((-nearness, component))[begins]
    found = np.empty(len(component), np.int64)
    found[order] = best[inverse]
    return found


def connected(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Returns the number of the connected component of each of `count` nodes; `pairs` [2, m] are the links."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), shape=(count, count))
    numbers: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return numbers
