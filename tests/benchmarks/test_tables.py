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


def test_a_published_result_stands_beside_its_command_and_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["benchmarks/speed.py", "--repeats", "3"])
    tables.publish("speed", "How fast?", tables.markdown_table(["what", "n"], [["a", 1]]), write=True)
    text = (tmp_path / "speed.md").read_text()
    assert "python -m benchmarks.speed --repeats 3" in text
    assert "Machine: " in text
    assert "| a | 1 |" in text
    assert text in capsys.readouterr().out
