"""How repetitions on many terrains are summed up.

The definitions are those of Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice",
https://arxiv.org/abs/2108.13264, and of their package rliable, which itself asks for a release of ``arch`` without a wheel for
today's Python.

Scores are arrays of shape (seeds, terrains). Intervals are percentiles of a stratified bootstrap: the seeds of each terrain are
drawn anew by themselves, the terrains stay. They tell what other seeds would have given, not what other terrains would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

RESAMPLES = 2_000
"""Bootstrap samples."""
_BOOTSTRAP_SEED = 0
_AT_ONCE = 2_000_000  # numbers that are drawn at a time


def interquartile_mean(scores: Scores) -> float:
    """The mean of the middle half of all scores: a quarter of them, rounded down, is left out at either end.

    Args:
        scores: Any shape, at least one.
    """
    return float(_middle(np.asarray(scores, dtype=np.float64).reshape(1, -1))[0])


def interquartile_mean_interval(scores: Scores, confidence: float = 0.95) -> tuple[float, float, float]:
    """The interquartile mean and its interval.

    Args:
        scores: Shape (seeds, terrains).
        confidence: Coverage of the interval.

    Returns:
        (mean, low, high); low and high are NaN with a single seed, which carries no interval.
    """
    low, high = _interval([scores], lambda drawn: _middle(drawn[0].reshape(len(drawn[0]), -1)), confidence)
    return interquartile_mean(scores), float(low), float(high)


def performance_profile(scores: Scores, thresholds: Sequence[float]) -> Scores:
    """The share of runs whose score is above each threshold, mean over the terrains.

    Args:
        scores: Shape (seeds, terrains).
        thresholds: Shape (thresholds,).

    Returns:
        Shares in [0, 1], shape (thresholds,).
    """
    above: Scores = np.mean(np.asarray(scores)[..., None] > np.asarray(thresholds), axis=(0, 1))
    return above


def performance_profile_interval(
    scores: Scores, thresholds: Sequence[float], confidence: float = 0.95
) -> tuple[Scores, Scores]:
    """The pointwise interval of a performance profile: (low, high), each of shape (thresholds,)."""

    def profiles(drawn: list[Scores]) -> Scores:
        # One threshold at a time: all at once would take a hundred times the memory.
        return np.stack([np.mean(drawn[0] > threshold, axis=(1, 2)) for threshold in thresholds], axis=1)

    return _interval([scores], profiles, confidence)


def probability_of_improvement(first: Scores, second: Scores) -> float:
    """How likely a run of the first is better than one of the second on the same terrain, mean over the terrains.

    Equal scores count half: this is Mann and Whitney's U, divided by the number of pairs.

    Args:
        first: Shape (seeds, terrains).
        second: Shape (other seeds, terrains).

    Raises:
        ValueError: The numbers of terrains differ.
    """
    if np.shape(first)[1] != np.shape(second)[1]:
        raise ValueError(f"expected the same terrains, got {np.shape(first)[1]} and {np.shape(second)[1]}.")
    return float(_improvement([np.asarray(first)[None], np.asarray(second)[None]])[0])


def probability_of_improvement_interval(
    first: Scores, second: Scores, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The probability of improvement and its interval, for which both are drawn anew: (probability, low, high)."""
    low, high = _interval([first, second], _improvement, confidence)
    return probability_of_improvement(first, second), float(low), float(high)


def _middle(rows: Scores) -> Scores:
    """The interquartile mean of each row."""
    count = rows.shape[1]
    cut = count // 4
    middle: Scores = np.sort(rows, axis=1)[:, cut : count - cut].mean(axis=1)
    return middle


def _improvement(drawn: list[Scores]) -> Scores:
    """Of each resample: arrays of shape (resamples, seeds, terrains) in, (resamples,) out."""
    first, second = drawn[0][:, :, None, :], drawn[1][:, None, :, :]
    return np.mean((first > second) + 0.5 * (first == second), axis=(1, 2, 3))


def _interval(
    scores: Sequence[Scores], statistic: Callable[[list[Scores]], Scores], confidence: float
) -> tuple[Scores, Scores]:
    """Percentiles of a statistic over stratified resamples."""
    arrays = [np.asarray(each, dtype=np.float64) for each in scores]
    if min(len(each) for each in arrays) < 2:
        nothing = np.full_like(statistic([each[None] for each in arrays])[0], np.nan)
        return nothing, nothing
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    pairs = int(np.prod([len(each) for each in arrays])) * arrays[0].shape[1]
    batch = max(1, _AT_ONCE // pairs)
    found = []
    for begin in range(0, RESAMPLES, batch):
        count = min(batch, RESAMPLES - begin)
        drawn = []
        for each in arrays:
            picks = rng.integers(len(each), size=(count, *each.shape))
            drawn.append(np.take_along_axis(each[None], picks, axis=1))
        found.append(statistic(drawn))
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(np.concatenate(found), [tail, 100.0 - tail], axis=0)
    return low, high
