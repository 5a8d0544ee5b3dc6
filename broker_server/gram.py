"""The Gram matrix of a cohort: every inner product, in one pass over its chunks.

Norms and distances of updates, and of any weighted sums of them, are functions of it,
so that a rule that is made of distances needs no more memory than a chunk of every
update. This module is pure.

>>> matrix = np.array([[4.0, 0.0], [0.0, 1.0]])
>>> distances(matrix, np.array([0.5, 0.5])).round(3).tolist()
[1.118, 1.118]
"""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from broker_server.aggregators import Cohort
from wire_protocol.params import Vector

Matrix: TypeAlias = NDArray[np.float64]


def gram(cohort: Cohort) -> Matrix:
    """Return the inner products of all pairs of updates, float64 ``[n, n]``.

    Products are added up by numpy's own summation, whose order is fixed, and not by a
    BLAS, whose order may depend on threads: the same updates give the same bits.

    Raises:
        DecodeError: An update is not what its codec writes.
    """
    count = cohort.count
    matrix = np.zeros((count, count))
    for where, rows in cohort.chunks([1.0] * count):
        length = where.stop - where.start
        held = stacked(rows, count=count, length=length)
        product = np.empty(length)
        for i in range(count):
            for j in range(i, count):
                np.multiply(held[i], held[j], out=product, dtype=np.float64)
                matrix[i, j] += product.sum()
    upper = np.triu(matrix, 1)
    return matrix + upper.T


def stacked(rows: Iterable[Vector], *, count: int, length: int) -> Vector:
    """Return one chunk of every update as float32 ``[count, length]``."""
    held = np.empty((count, length), np.float32)
    for index, row in enumerate(rows):
        held[index] = row
    return held


def distances(matrix: Matrix, weights: Matrix) -> Matrix:
    """Return how far each update is from their sum with ``weights[n]``: ``[n]``."""
    reach = (matrix * weights).sum(1)
    square = np.diagonal(matrix) - 2.0 * reach + (weights * reach).sum()
    away: Matrix = np.sqrt(np.maximum(square, 0.0))
    return away
