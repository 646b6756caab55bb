"""How a network arranges and pools its tokens, observed: some inputs are changed, and who notices is looked at.

The ways to write a transformer are many (layers, operations, classes of the user), but what becomes of a patch is a
fact that a few small passes show. They use parts of the network that hold no block: from the last map to the first
tokens, and from the last tokens to the pooled vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from featurebank.backbone.taps import CLASS_TOKEN, MEAN_OF_PATCHES, MEAN_OF_TOKENS, NORMALIZED_MEAN

Function = Callable[[np.ndarray], np.ndarray]

_MOST_PREFIX = 32
_SIZE = 30.0
"""Standard deviation of the probes: biases and position embeddings should not drown them."""
_CHANGED = 1e-5
"""Smallest change that counts, relative to the largest output: rounding differs between the places of a batch."""


def prefix_of(embed: Function, grid: tuple[int, int], channels: int) -> int | None:
    """Returns how many tokens precede the patches of a grid.

    Each patch is recognized by the binary digits of its number: for each digit, one probe changes all patches that have
    it, and another all that lack it.

    Args:
        embed: (n, h, w, channels) float32, a map -> (n, T, d), the tokens before the first block.
        grid: h and w.
        channels: the width of the map.

    Returns:
        None unless the tokens are a few that no patch changes and then the patches, row by row.
    """
    number = np.arange(math.prod(grid))
    digits = max(1, int(number[-1]).bit_length())
    masks = np.stack([(number >> digit & 1) == side for digit in range(digits) for side in (0, 1)])
    generator = np.random.default_rng(0)
    plain, other = generator.normal(0, _SIZE, (2, len(number), channels)).astype(np.float32)
    probes = np.concatenate([plain[None], np.where(masks[:, :, None], other, plain)])
    changed = _changed_rows(embed(probes.reshape(-1, *grid, channels))).reshape(digits, 2, -1)
    prefix = changed.shape[-1] - len(number)
    if not 0 <= prefix <= _MOST_PREFIX or changed[..., :prefix].any():
        return None
    if len(number) == 1:
        return prefix if changed[0, 0, prefix:].all() else None
    one_side = (changed[:, 0] != changed[:, 1])[:, prefix:].all()
    found = (changed[:, 1, prefix:] << np.arange(digits)[:, None]).sum(axis=0)
    return prefix if one_side and (found == number).all() else None


def grid_of_image(embed: Function, side: int, rows: int) -> tuple[tuple[int, int], int] | None:
    """Returns the grid of a network that makes tokens of an image at once, and how many tokens precede the patches.

    Args:
        embed: (n, side, side, 3) float32 -> (n, rows, d).
        side: the side of the image in pixels.
        rows: the number of tokens.

    Returns:
        None unless the tokens are a few that no pixel changes and then the patches of a square grid, row by row.
    """
    for prefix in range(min(_MOST_PREFIX, rows)):
        number = math.isqrt(rows - prefix)
        if number**2 != rows - prefix or side % number:
            continue
        grid, patch = (number, number), side // number

        def of_patches(colours: np.ndarray, patch: int = patch) -> np.ndarray:
            return embed(colours.repeat(patch, axis=1).repeat(patch, axis=2))

        if prefix_of(of_patches, grid, 3) == prefix:
            return grid, prefix
    return None


def pooling_of(pool: Function, rows: int, width: int, prefix: int) -> str:
    """Returns how a vector follows from tokens: a word of `featurebank.backbone.taps`, or words alike.

    Args:
        pool: (n, rows, width) float32 -> (n, d) or any other shape for an image.
        rows: the number of tokens.
        width: their width.
        prefix: how many of them precede the patches.

    Returns:
        "" if the vector is neither one token, nor a mean or maximum, nor all tokens.
    """
    generator = np.random.default_rng(0)
    tokens, other = generator.normal(0, 1, (2, rows, width)).astype(np.float32)
    first = np.arange(rows) == 0
    before = np.arange(rows) < prefix
    masks = [first, ~first, before, ~before]
    probes = [np.where(mask[:, None], other, tokens) for mask in masks]
    for among in (~before, np.ones(rows, bool)):
        # The mean of these tokens stays, although each changes.
        moved = tokens.copy()
        moved[among] += other[among] - other[among].mean(axis=0)
        probes.append(moved)
    vectors = pool(np.stack([tokens, *probes])).reshape(len(probes) + 1, -1)
    uses_first, uses_rest, uses_prefix, uses_patches, beyond_patches, beyond_tokens = _changed_rows(vectors[:, None])[
        :, 0
    ]
    if uses_first and not uses_rest:
        return CLASS_TOKEN
    if not uses_prefix and uses_patches and not beyond_patches:
        return MEAN_OF_PATCHES if _same(vectors[0], tokens[prefix:].mean(axis=0)) else NORMALIZED_MEAN
    if uses_prefix and uses_patches and not beyond_tokens:
        exact = _same(vectors[0], tokens.mean(axis=0))
        return MEAN_OF_TOKENS if exact else f"normalised {MEAN_OF_TOKENS}"
    if uses_first and not beyond_patches:
        return f"{CLASS_TOKEN} and {MEAN_OF_PATCHES}"
    for words, vector in (
        ("maximum of patches", tokens[prefix:].max(axis=0)),
        ("maximum of tokens", tokens.max(axis=0)),
        ("all tokens", tokens.ravel()),
    ):
        if _same(vectors[0], vector):
            return words
    return ""


def _changed_rows(outputs: np.ndarray) -> np.ndarray:
    """Returns which rows of the outputs after the first one differ from it: (n, T, d) -> (n - 1, T) bool."""
    difference = np.abs(outputs[1:] - outputs[:1]).max(axis=-1)
    return np.asarray(difference > _CHANGED * max(float(np.abs(outputs).max()), 1e-30))


def _same(vector: np.ndarray, other: np.ndarray) -> bool:
    return vector.shape == other.shape and np.allclose(vector, other, rtol=1e-4, atol=1e-4 * float(np.abs(other).max()))
