from __future__ import annotations

import numpy as np
import pytest

from benchmarks import convergence


def distances(*half_step: float) -> np.ndarray:
    """Walkers that get 10, 11, 12, ... far, and at half the step so many times as far; the rest stays as it is."""
    base = 10.0 + np.arange(len(half_step))
    return np.array([base, base * half_step, base, base])


def test_walkers_that_change_a_lot_are_counted_whichever_way_they_change():
    shares = convergence.large_shares(distances(1.0, 1.05, 0.8, 1.3, 0.4, 2.0, 1.0, 1.0, 1.0, 1.0))
    np.testing.assert_allclose(shares, [40.0, 30.0, 20.0])


def test_a_group_without_walkers_has_a_row_as_long_as_any_other():
    full = convergence.row("full", distances(1.0, 0.5, 1.5))
    assert len(convergence.row("none", np.empty((4, 0)))) == len(full)
    assert full[:2] == ["full", 3]


@pytest.mark.parametrize(("second", "expected"), [([1.0, 2.0, 3.0], 1.0), ([9.0, 4.0, 1.0], -1.0)])
def test_rank_correlation_looks_at_the_order_alone(second, expected):
    assert convergence.rank_correlation(np.array([1.0, 10.0, 100.0]), np.array(second)) == pytest.approx(expected)


def test_chaotic_walkers_are_kept_apart_and_failed_or_small_ones_left_out():
    variants = np.array([[10.0, 10.0, 10.0, 1.0]] * 4)
    variants[1, 2] = np.nan
    perturbed = np.array([[10.1, 12.0, 10.0, 1.0]])
    kinds = convergence.split({"variants": variants, "perturbed": perturbed})
    assert {kind: group.shape[1] for kind, group in kinds.items()} == {"steady": 1, "chaotic": 1}


def test_the_reading_names_the_worst_group():
    calm, wild = distances(1.01, 0.99, 1.0, 1.02), distances(0.5, 0.4, 1.8, 1.0)
    text = convergence.reading({"random, Flat": calm, "bred, Flat": wild})
    assert "The worst group is bred, Flat: 75% of it change by more than 10%" in text
