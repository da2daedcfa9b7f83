"""Stage 1 in rounds: the run's own history trains the operator that takes the place of the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elm_rl.errors import ElmError
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import last_iterations, run_evolve
from elm_rl.runs.children_file import read_children
from elm_rl.runs.run_directory import read_json

SETTINGS: dict[str, Any] = {
    "seeds": ("square",), "batch_size": 12, "duration": 0.5, "n_jobs": 1, "progress": False, "round_steps": 2,
}  # fmt: skip


def children_of(out: Path) -> list[dict[str, Any]]:
    return [{**line, "time": None} for line in read_children(out)]


@pytest.mark.parametrize(
    ("iterations", "rounds", "ends"), [(200, 0, [200]), (200, 3, [50, 100, 150, 200]), (7, 2, [2, 4, 7])]
)
def test_rounds_share_the_iterations(iterations: int, rounds: int, ends: list[int]) -> None:
    assert last_iterations(EvolveConfig(out=Path("never"), iterations=iterations, rounds=rounds)) == ends


def test_each_round_trains_on_all_before_it_and_replaces_the_last(tmp_path: Path) -> None:
    out = tmp_path / "run"
    mixed = {**SETTINGS, "operators": ("gp", "builtin,share=0.3"), "round_share": 0.3}
    summary = run_evolve(EvolveConfig(out=out, iterations=6, rounds=2, **mixed))
    assert summary["iterations"] == 6
    names = [sorted(phase["operators"]) for phase in summary["phases"]]
    assert names == [["builtin", "gp"], ["builtin", "gp", "round-1"], ["builtin", "gp", "round-2"]]
    figures = [read_json(out / "rounds" / str(number) / "training.json")["figures"] for number in (1, 2)]
    assert 0 < figures[0]["examples"] < figures[1]["examples"]
    assert {line["operator"] for line in children_of(out) if line["iteration"] > 4} == {"builtin", "gp", "round-2"}

    again = tmp_path / "again"
    run_evolve(EvolveConfig(out=again, iterations=6, rounds=2, max_evaluations=30, **mixed))
    run_evolve(EvolveConfig(out=again, iterations=6, rounds=2, resume=True, **mixed))
    assert children_of(again) == children_of(out)


def test_a_budget_ends_a_run_in_whatever_round(tmp_path: Path) -> None:
    summary = run_evolve(EvolveConfig(out=tmp_path, iterations=6, rounds=2, max_evaluations=30, **SETTINGS))
    assert summary["stopped"].endswith("(max_evaluations)")
    assert summary["iterations"] < 6


def test_other_rounds_cannot_take_over(tmp_path: Path) -> None:
    run_evolve(EvolveConfig(out=tmp_path, iterations=2, **SETTINGS))
    with pytest.raises(ElmError, match="was started with rounds = 0, not 1"):
        run_evolve(EvolveConfig(out=tmp_path, iterations=4, rounds=1, resume=True, **SETTINGS))
