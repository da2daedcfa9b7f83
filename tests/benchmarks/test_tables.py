from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import tables


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_the_interval_holds_the_mean_and_stays_within_the_values(values):
    mean, low, high = tables.mean_interval(values, resamples=200)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert mean == pytest.approx(float(np.mean(values)))


def test_intervals_narrow_with_more_seeds():
    widths = []
    for repetitions in (1, 25):
        _, low, high = tables.mean_interval([0.0, 1.0, 2.0, 3.0] * repetitions)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_one_value_carries_no_interval():
    mean, low, high = tables.mean_interval([3.0])
    assert mean == 3.0
    assert math.isnan(low)
    assert math.isnan(high)
    assert tables.format_interval([3.0]) == "3.0"


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_intervals_hold_the_share_and_mirror(successes, more):
    trials = successes + more
    low, high = tables.wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials < high <= 1.0
    assert tables.wilson_interval(more, trials) == pytest.approx((1.0 - high, 1.0 - low))
    wider = tables.wilson_interval(successes, trials, z=3.0)
    assert wider[0] <= low
    assert wider[1] >= high


def test_wilson_intervals_are_those_of_the_books():
    assert tables.wilson_interval(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert tables.wilson_interval(0, 100_000) == pytest.approx((0.0, 3.84e-5), abs=1e-7)
    assert tables.wilson_interval(0, 0) == (0.0, 1.0)


def test_a_published_result_stands_beside_its_command_and_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["benchmarks/speed.py", "--repeats", "3"])
    tables.publish("speed", "How fast?", tables.markdown_table(["what", "n"], [["a", 1]]), write=True)
    text = (tmp_path / "speed.md").read_text()
    assert "python -m benchmarks.speed --repeats 3" in text
    assert "Machine: " in text
    assert "| a | 1 |" in text
    assert text in capsys.readouterr().out
