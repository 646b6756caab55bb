"""Components: groups that share a content, directly or through others, stand on one side of every split and fold."""

from __future__ import annotations

import numpy as np

from featurebank.dataset.splits import SPLITS, UNDECIDED
from featurebank.system import digest

GROUPS = "groups"
"""The key of the rule of the groups in what a bank records of its dataset."""
GROUP = "group"
"""Name of a bank's metadata column with the group of each image, if the dataset has groups."""


def components(groups: np.ndarray, digests: np.ndarray) -> np.ndarray:
    """Joins groups that have a content in common.

    Args:
        groups: (n,) the name of each image's group.
        digests: (n,) content digests of dtype "S32"; b"" (unreadable) is no content, so that it joins nothing.

    Returns:
        The component of each image: (n,) int64, numbered from 0 in the order of the first images.

    Example:
        >>> components(np.array(["a", "b", "c", "a"]), np.array([b"1", b"2", b"2", b"3"], "S32"))
        array([0, 1, 1, 0])
    """
    names, codes = np.unique(groups, return_inverse=True)
    one, other = _shared_contents(codes, digests)
    if not len(one):
        return in_order_of_appearance(codes)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(names)
    edges = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(size, size))
    joined = connected_components(edges, directed=False)[1]
    return in_order_of_appearance(joined[codes])


def component_keys(groups: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Returns what decides the split of each image: the smallest digest of a group's name in its component.

    It depends neither on the contents of the images nor on their number: more images in a group change nothing.

    Args:
        groups: (n,) the name of each image's group.
        parts: (n,) the component of each image.

    Returns:
        (n,) "S32".
    """
    names, first = np.unique(groups, return_index=True)
    digests = np.array(
        [digest.of_bytes(name.encode(errors="surrogatepass")).encode() for name in names.tolist()], "S32"
    )
    order = np.argsort(digests, kind="stable")[::-1]
    keys = np.empty(int(parts.max(initial=-1)) + 1, "S32")
    keys[parts[first[order]]] = digests[order]  # of several groups of one component, the smallest is written last
    return np.asarray(keys[parts])


def spread_splits(predefined: np.ndarray, groups: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Gives undecided images the given split of their group, or else of their component.

    If a component has several given splits, because images with the same content have, the first of them counts.

    Args:
        predefined: (n,) int8 codes of `SPLITS`, -1 for undecided.
        groups: (n,) the name of each image's group; the images of one group have at most one given split.
        parts: (n,) the component of each image.

    Returns:
        (n,) int8.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    for own in (codes, parts):
        decided = (predefined > UNDECIDED) & (predefined < len(SPLITS))
        first = np.full(int(own.max(initial=-1)) + 1, len(SPLITS), np.int8)
        np.minimum.at(first, own[decided], predefined[decided])
        follows = (predefined == UNDECIDED) & (first[own] < len(SPLITS))
        predefined = np.where(follows, first[own], predefined).astype(np.int8)
    return predefined


def torn_groups(groups: np.ndarray, splits: np.ndarray) -> dict[str, list[str]]:
    """Returns the groups whose images stand in several splits, with the names of these splits.

    Args:
        groups: (n,) the name of each image's group.
        splits: (n,) codes of `SPLITS`; all other codes are of no split.
    """
    placed = (splits >= 0) & (splits < len(SPLITS))
    names, codes = np.unique(groups[placed], return_inverse=True)
    present = np.zeros((len(names), len(SPLITS)), bool)
    present[codes, splits[placed].astype(np.int64)] = True
    torn = np.flatnonzero(present.sum(axis=1) > 1)
    return {str(names[row]): [SPLITS[code] for code in np.flatnonzero(present[row])] for row in torn.tolist()}


def in_order_of_appearance(codes: np.ndarray) -> np.ndarray:
    """Numbers the distinct values of (n,) codes from 0 in the order in which they first appear: (n,) int64."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return np.asarray(number[inverse])


def _shared_contents(codes: np.ndarray, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of groups that have a content in common, (m,) each, enough to connect all such groups."""
    readable = np.flatnonzero(digests != b"")
    order = readable[np.lexsort((codes[readable], digests[readable]))]
    same = (digests[order][1:] == digests[order][:-1]) & (codes[order][1:] != codes[order][:-1])
    return codes[order][:-1][same], codes[order][1:][same]
