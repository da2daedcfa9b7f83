"""When a terrain x terrain matrix counts as diagonal, and how sure it is of that."""

from __future__ import annotations

import numpy as np

from elm_rl.judging.terrain_matrix import diagonal_support, is_conditional


def test_conditionality_is_judged_within_a_column():
    assert is_conditional(np.array([[46, 10, 3.5], [34, 60, 1.6], [16, 1.6, 10]]))
    assert not is_conditional(np.array([[46, 10, 3.5], [34, 60, 11], [16, 1.6, 10]]))
    assert not is_conditional(np.full((2, 2), 3.0)), "one walker for all terrains"


def test_a_diagonal_by_luck_has_little_support():
    rng = np.random.default_rng(1)
    noise = [rng.normal(10.0, 3.0, size=(2, 50)) for _ in range(2)]
    noise[0][0] += noise[1][0].mean() - noise[0][0].mean() + 0.01  # diagonal by a hair
    noise[1][1] += noise[0][1].mean() - noise[1][1].mean() + 0.01
    right = [row + 10.0 * (np.arange(2) == own)[:, None] for own, row in enumerate(noise)]
    wrong = [row - 10.0 * (np.arange(2) == own)[:, None] for own, row in enumerate(noise)]
    assert 10.0 < diagonal_support(noise) < 60.0
    assert diagonal_support(right) == 100.0
    assert diagonal_support(wrong) == 0.0
