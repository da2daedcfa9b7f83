"""The statistics are those of rliable: small cases by hand, SciPy where it has the same, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import mannwhitneyu, trim_mean

from sodarace_gym.suite.statistics import (
    interquartile_mean,
    interquartile_mean_interval,
    performance_profile,
    performance_profile_interval,
    probability_of_improvement,
    probability_of_improvement_interval,
)

SCORES = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(0, 3))


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    assert interquartile_mean(np.array([[0.0, 1.0], [3.0, 100.0]])) == 2.0
    assert interquartile_mean(np.array([[1.0, 2.0, 9.0]])) == 4.0, "of three a quarter is none"


@given(SCORES)
def test_the_interquartile_mean_is_scipys_trimmed_mean(scores):
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25, axis=None))


@given(SCORES)
def test_intervals_stay_within_the_scores_and_repeat_themselves(scores):
    mean, low, high = interquartile_mean_interval(scores)
    assert mean == interquartile_mean(scores)
    if len(scores) == 1:
        assert np.isnan([low, high]).all(), "one seed carries no interval"
    else:
        assert scores.min() - 1e-9 <= low <= high <= scores.max() + 1e-9
        assert interquartile_mean_interval(scores) == (mean, low, high)


def test_seeds_are_drawn_within_their_terrain():
    # The terrains differ a thousandfold, their seeds not at all: other seeds would have given the same.
    scores = np.tile([1.0, 10.0, 100.0, 1000.0], (5, 1))
    mean, low, high = interquartile_mean_interval(scores)
    assert low == mean == high == 55.0


def test_the_bootstrap_has_the_spread_that_theory_says():
    # The mean of 2 seeds of one terrain, 0 and 1: 0, 1/2 or 1 with odds 1, 2 and 1.
    _, low, high = interquartile_mean_interval(np.array([[0.0], [1.0]]))
    assert (low, high) == (0.0, 1.0)
    # Of 100 terrains with such seeds: a mean of binomials, whose standard deviation is 1/2 / sqrt(200).
    _, low, high = interquartile_mean_interval(np.tile([[0.0], [1.0]], (1, 100)))
    assert low < 0.5 < high
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(4, 25))
    narrow = np.tile(wide, (4, 1))
    spans = [np.diff(interquartile_mean_interval(scores)[1:])[0] for scores in (wide, narrow)]
    assert spans[1] == pytest.approx(spans[0] / 2, rel=0.25), "four times the seeds halve the interval"


def test_a_profile_is_the_share_of_runs_above_each_threshold():
    scores = np.array([[0.0, 0.5], [1.0, 0.5]])
    assert performance_profile(scores, [0.0, 0.4, 0.5, 1.0]).tolist() == [0.75, 0.75, 0.25, 0.0]


@given(SCORES)
def test_profiles_fall_and_lie_within_their_intervals(scores):
    thresholds = [0.0, 0.5, 1.0, 2.0, 3.0]
    profile = performance_profile(scores, thresholds)
    assert (np.diff(profile) <= 0).all()
    low, high = performance_profile_interval(scores, thresholds)
    assert low.shape == high.shape == (5,)
    if len(scores) > 1:
        assert (low <= profile + 1e-9).all()
        assert (profile <= high + 1e-9).all()


def test_the_probability_of_improvement_counts_pairs_and_halves_of_ties():
    first, second = np.array([[1.0], [2.0]]), np.array([[0.0], [2.0], [3.0]])
    # 1 beats 0; 2 beats 0 and equals 2: 2.5 of 6 pairs.
    assert probability_of_improvement(first, second) == pytest.approx(2.5 / 6)
    assert probability_of_improvement(second, first) == pytest.approx(3.5 / 6)
    both = probability_of_improvement(np.tile(first, (1, 2)), np.array([[0.0, 0.0], [0.0, 2.0], [0.0, 3.0]]))
    assert both == pytest.approx((1.0 + 2.5 / 6) / 2), "the mean over the terrains"


@given(SCORES, st.integers(0, 2**32))
def test_the_probability_of_improvement_is_that_of_mann_and_whitney(scores, seed):
    other = np.random.default_rng(seed).integers(0, 3, size=(3, scores.shape[1])).astype(np.float64)
    pairs = len(scores) * 3
    expected = [mannwhitneyu(scores[:, k], other[:, k]).statistic / pairs for k in range(scores.shape[1])]
    assert probability_of_improvement(scores, other) == pytest.approx(np.mean(expected))
    assert probability_of_improvement(scores, scores) == pytest.approx(0.5)
    chance, low, high = probability_of_improvement_interval(scores, other)
    if len(scores) > 1:
        assert 0.0 <= low <= high <= 1.0
        assert low - 0.2 <= chance <= high + 0.2


def test_scores_on_other_terrains_are_not_compared():
    with pytest.raises(ValueError, match="same terrains"):
        probability_of_improvement(np.zeros((2, 3)), np.zeros((2, 4)))
