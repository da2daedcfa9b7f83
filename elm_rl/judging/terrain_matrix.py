"""The terrain x terrain matrix, which alone says whether a policy is conditional.

Its entry ``[i, j]`` is the mean distance on terrain ``j`` of programs that were asked for terrain ``i``, from real rollouts;
the policy is conditional when on every terrain the programs asked for it are the best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLINGS = 1000
"""Bootstrap resamplings that tell whether a diagonal matrix could be the luck of its samples."""
SURE_PERCENT = 95.0
"""Share of the resamplings in which a matrix must be diagonal before its policy is surely conditional, %."""


def is_conditional(matrix: np.ndarray) -> bool:
    """Whether the programs asked for a terrain beat, on that terrain, those asked for any other one.

    Args:
        matrix: Mean distances (terrains, terrains): row asked for, column walked on.
    """
    own = np.diagonal(matrix)
    others = matrix.astype(np.float64, copy=True)
    np.fill_diagonal(others, -np.inf)
    return bool((own > others.max(axis=0)).all())


def diagonal_support(distances: Sequence[NDArray[np.float64]], seed: int = 0) -> float:
    """How sure a terrain x terrain matrix is of its diagonal, %.

    A program keeps its distances on all terrains together when it is drawn, so that programs which are good or bad
    everywhere do not count as conditional.

    Args:
        distances: For each terrain asked for, an array of shape (terrains walked on, programs), walker units.
        seed: Seed of the resampling.

    Returns:
        In how many of `RESAMPLINGS` resamplings of the programs, with replacement, the matrix is diagonal, %.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for row in distances:
        drawn = rng.integers(row.shape[1], size=(RESAMPLINGS, row.shape[1]))
        rows.append(row[:, drawn].mean(axis=2))  # (terrains walked on, resamplings)
    matrices = np.stack(rows).transpose(2, 0, 1)
    return 100.0 * float(np.mean([is_conditional(matrix) for matrix in matrices]))
