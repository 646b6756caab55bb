"""Symmetric matrices brought to a narrow band by an orthogonal transform, so that each penalty costs milliseconds.

A ridge problem asks for (A + alpha I)^-1 with many alphas. Where A = Z B Z' with Z orthogonal, that is
Z (B + alpha I)^-1 Z', whatever alpha is. Eigenvectors make B diagonal, but a band is enough, and the way to it is a
quarter of the work and all of it matrix products: block Householder reflections (the first of the two stages of
Bischof, Lang and Sun, "A framework for symmetric band reduction", ACM TOMS 26, 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_WIDTH = 64
_GROUPED = 4
"""So many reflections are applied to rows as one: products of 256 columns are faster than those of 64."""


@dataclass(frozen=True)
class _Reflection:
    """I - V T V' on the coordinates from `start` on."""

    start: int
    V: np.ndarray
    T: np.ndarray

    def to(self, columns: np.ndarray) -> None:
        part = columns[self.start :]
        part -= self.V @ (self.T @ (self.V.T @ part))

    def transposed_to(self, columns: np.ndarray) -> None:
        part = columns[self.start :]
        part -= self.V @ (self.T.T @ (self.V.T @ part))

    def astype(self, dtype: type) -> _Reflection:
        return _Reflection(self.start, self.V.astype(dtype), self.T.astype(dtype))

    def then(self, other: _Reflection) -> _Reflection:
        """Returns the product of this one and a later one."""
        V = np.zeros((len(self.V), self.V.shape[1] + other.V.shape[1]))
        V[:, : self.V.shape[1]] = self.V
        V[other.start - self.start :, self.V.shape[1] :] = other.V
        above = -self.T @ (self.V[other.start - self.start :].T @ other.V) @ other.T
        T = np.block([[self.T, above], [np.zeros(above.T.shape), other.T]])
        return _Reflection(self.start, V, T)


class Band:
    """A = Z B Z' with Z orthogonal and B of blocks of `width` on and beside its diagonal.

    Args:
        A: (d, d) float64, symmetric.
        width: of a block.
    """

    def __init__(self, A: np.ndarray, width: int = _WIDTH) -> None:
        self.width, self.size = width, len(A)
        self.diagonal: list[np.ndarray] = []
        self.below: list[np.ndarray] = []
        self._reflections: list[_Reflection] = []
        rest, start = np.array(A, order="F"), 0
        while True:
            lower = np.tril(rest[:width, :width])
            self.diagonal.append(lower + np.tril(lower, -1).T)
            if len(rest) <= width:
                break
            panel, rest, start = rest[width:, :width], np.array(rest[width:, width:], order="F"), start + width
            if len(panel) > width:
                panel, rest = self._reflect(panel, rest, start)
            self.below.append(panel)
        self._grouped: dict[Any, list[_Reflection]] = {np.dtype(np.float64): _grouped(self._reflections)}
        self._grouped[np.dtype(np.float32)] = [r.astype(np.float32) for r in self._grouped[np.dtype(np.float64)]]

    def _reflect(self, panel: np.ndarray, rest: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Makes a panel triangular; returns it, and Q' rest Q (its lower half)."""
        from scipy.linalg.blas import dsymm, dsyr2k

        V, T, R = _householder(panel)
        Y = dsymm(1.0, rest, V, lower=1) @ T
        W = np.asfortranarray(Y - V @ (T.T @ (V.T @ Y) / 2))
        self._reflections.append(_Reflection(start, V, T))
        return R, dsyr2k(-1.0, W, V, beta=1.0, c=rest, lower=1, overwrite_c=1)

    def into(self, columns: np.ndarray) -> np.ndarray:
        """Returns Z' columns (d, m) in their own precision, float64 or float32."""
        columns = np.array(columns, order="C")
        for reflection in self._grouped[columns.dtype]:
            reflection.transposed_to(columns)
        return columns

    def out(self, columns: np.ndarray) -> np.ndarray:
        """Returns Z columns (d, m)."""
        columns = np.array(columns, order="C")
        for reflection in reversed(self._grouped[columns.dtype]):
            reflection.to(columns)
        return columns

    def factor(self, weight: float, shift: float) -> BandFactor:
        """Returns the Cholesky factor of weight * B + shift * I.

        Raises:
            numpy.linalg.LinAlgError: that is not positive definite.
        """
        return BandFactor(self, weight, shift)


class BandFactor:
    """L with L L' = weight * B + shift * I, by blocks."""

    def __init__(self, band: Band, weight: float, shift: float) -> None:
        self._inverses: list[np.ndarray] = []
        self._below: list[np.ndarray] = []
        largest = max(float(block.diagonal().max()) for block in band.diagonal)
        least = band.size * np.finfo(np.float64).eps * (weight * largest + shift)
        for position, block in enumerate(band.diagonal):
            inner = weight * block + shift * np.eye(len(block))
            if position:
                below = weight * band.below[position - 1] @ self._inverses[-1].T
                self._below.append(below)
                inner -= below @ below.T
            root = np.linalg.cholesky(inner)
            if root.diagonal().min() ** 2 <= least:
                message = "singular to the last digit"
                raise np.linalg.LinAlgError(message)
            self._inverses.append(_inverse_of_triangle(root, lower=True))
        ends = np.cumsum([len(block) for block in band.diagonal])
        self._parts = [slice(end - len(block), end) for end, block in zip(ends, band.diagonal, strict=True)]

    def half(self, columns: np.ndarray) -> np.ndarray:
        """Returns L^-1 columns in their own precision, float64 or float32."""
        out, dtype = np.empty_like(columns), columns.dtype
        for position, part in enumerate(self._parts):
            right = columns[part]
            if position:
                right = right - self._below[position - 1].astype(dtype, copy=False) @ out[self._parts[position - 1]]
            np.matmul(self._inverses[position].astype(dtype, copy=False), right, out=out[part])
        return out

    def half_transposed(self, columns: np.ndarray) -> np.ndarray:
        """Returns L'^-1 columns."""
        out = np.empty_like(columns)
        for position in reversed(range(len(self._parts))):
            right = columns[self._parts[position]]
            if position + 1 < len(self._parts):
                right = right - self._below[position].T @ out[self._parts[position + 1]]
            np.matmul(self._inverses[position].T, right, out=out[self._parts[position]])
        return out


def _householder(panel: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns V, T and R with panel = (I - V T V') [R; 0]."""
    from scipy.linalg.lapack import dgeqrf

    width = panel.shape[1]
    packed, tau, _, _ = dgeqrf(panel, lwork=64 * width)
    V = np.tril(packed, -1)
    np.fill_diagonal(V, 1)
    V[:, tau == 0] = 0  # nothing to reflect there
    inverse = np.triu(V.T @ V, 1)
    np.fill_diagonal(inverse, 1 / np.where(tau == 0, 1, tau))
    return V, _inverse_of_triangle(inverse, lower=False), np.triu(packed[:width])


def _inverse_of_triangle(matrix: np.ndarray, *, lower: bool) -> np.ndarray:
    from scipy.linalg.lapack import dtrtri

    return np.ascontiguousarray(dtrtri(matrix, lower=lower)[0])


def _grouped(reflections: list[_Reflection]) -> list[_Reflection]:
    grouped = []
    for start in range(0, len(reflections), _GROUPED):
        first, *others = reflections[start : start + _GROUPED]
        for other in others:
            first = first.then(other)
        grouped.append(first)
    return grouped
