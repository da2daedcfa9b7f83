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


def test_a_run_with_rounds_goes_on_for_longer(tmp_path: Path) -> None:
    """In its last part; those that a round has learnt from stay as they are."""
    run_evolve(EvolveConfig(out=tmp_path, iterations=4, rounds=1, **SETTINGS))
    summary = run_evolve(EvolveConfig(out=tmp_path, iterations=8, rounds=1, resume=True, **SETTINGS))
    assert [phase["last_iteration"] for phase in summary["phases"]] == [2, 8]
    assert summary["iterations"] == 8
    with pytest.raises(ElmError, match="one or more for each of 2 parts; rounds were trained after 2"):
        run_evolve(EvolveConfig(out=tmp_path, iterations=2, rounds=1, resume=True, **SETTINGS))


def test_a_budget_in_the_last_iteration_of_a_part_trains_no_round(tmp_path: Path) -> None:
    summary = run_evolve(EvolveConfig(out=tmp_path, iterations=4, rounds=1, max_evaluations=25, **SETTINGS))
    assert (summary["iterations"], len(summary["phases"])) == (2, 1)
    assert not (tmp_path / "rounds").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"round_start": "nowhere"}, "nowhere"),
        ({"rounds": 3, "iterations": 2}, "one or more for each of 4 parts"),
        ({"operators": ("gp", "gp-blind,name=round-1")}, "named round-1"),
        ({"out": Path("runs/a,b")}, "no comma"),
        ({"replay": Path("nowhere")}, "nowhere"),
        ({"seeds": ("hollow.py",)}, "builds no walker"),
    ],
)
def test_what_would_be_found_after_the_first_part_is_found_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hollow.py").write_text("def make_walker():\n    return walker_creator().get_walker()\n", encoding="utf-8")
    settings: dict[str, Any] = {"out": Path("run"), "iterations": 4, "rounds": 1, **SETTINGS, **wrong}
    with pytest.raises(ElmError, match=message):
        run_evolve(EvolveConfig(**settings))
    assert not settings["out"].exists()


def test_shares_are_those_of_the_whole_run(tmp_path: Path) -> None:
    operators = ("gp,share=0.9", "gp-blind,share=0.05")
    summary = run_evolve(EvolveConfig(out=tmp_path, iterations=2, rounds=1, operators=operators, **SETTINGS))
    assert len(summary["phases"]) == 2


def test_a_budget_ends_a_run_in_whatever_round(tmp_path: Path) -> None:
    summary = run_evolve(EvolveConfig(out=tmp_path, iterations=6, rounds=2, max_evaluations=30, **SETTINGS))
    assert summary["stopped"].endswith("(max_evaluations)")
    assert summary["iterations"] < 6


def test_other_rounds_cannot_take_over(tmp_path: Path) -> None:
    run_evolve(EvolveConfig(out=tmp_path, iterations=2, **SETTINGS))
    with pytest.raises(ElmError, match="was started with rounds = 0, not 1"):
        run_evolve(EvolveConfig(out=tmp_path, iterations=4, rounds=1, resume=True, **SETTINGS))
