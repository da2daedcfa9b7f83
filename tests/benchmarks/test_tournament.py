"""The comparison of parent selections: resumed, judged once, and robust figures that no luck raises."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.tournament import Found, evolve, robust_qd, rows
from elm_rl.runs.run_directory import read_json


def test_a_run_is_done_once_and_judged_by_its_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "3-1"
    found = evolve(run, "3/0.25", evaluations=300, seed=1, n_jobs=1)
    summary = read_json(run / "summary.json")
    config = read_json(run / "config.json")
    assert (config["tournament"], config["uniform"]) == (3, 0.25)
    assert found.outcomes[-1].curve[-1, 2] == summary["qd_score"]
    assert found.outcomes[0].curve[-1, 0] < found.outcomes[-1].curve[-1, 0]
    assert 0 < found.robust == pytest.approx(robust_qd(run, 1))
    monkeypatch.setattr("benchmarks.tournament.run_evolve", None)
    monkeypatch.setattr("benchmarks.tournament.robust_qd", None)
    again = evolve(run, "3/0.25", evaluations=300, seed=1, n_jobs=1)
    assert again.robust == found.robust
    assert (again.outcomes[-1].curve == found.outcomes[-1].curve).all()


def test_rows_compare_with_uniform_draws(tmp_path: Path) -> None:
    found = evolve(tmp_path / "run", "1", evaluations=100, seed=1, n_jobs=1)
    better = [each._replace(curve=2 * each.curve) for each in found.outcomes]
    uniform, fit = rows({"1": [found], "3": [Found(better, 7.0)]})
    assert uniform[0] == "1"
    assert (uniform[4], fit[4], fit[5]) == ("1.00", "2.00", "7")
    assert rows({"3": [found]})[0][4] == "-"
