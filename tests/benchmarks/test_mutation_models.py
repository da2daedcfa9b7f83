"""The benchmark of mutation models counts what an operator's children are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.mutation_models import History, main, measure
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.mutation.operator import CUT, Child, MutationOperator, Parent
from elm_rl.runs.run_directory import ADMITTED_FILE, read_jsonl
from sodarace_gym.evaluation import Evaluator


class Scripted(MutationOperator):
    """Gives prepared programs, None for an answer that was cut."""

    name = "scripted"

    def __init__(self, programs: Sequence[str | None]) -> None:
        self._programs = programs

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        assert len(parents) == len(self._programs)
        assert all(parent == parents[0] for parent in parents)
        for program in self._programs:
            yield Child(program, self.name, "m", failure=CUT)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    run_evolve(
        EvolveConfig(out=out, seeds=("square",), iterations=1, batch_size=8, duration=1.0, n_jobs=1, progress=False)
    )
    return out


def test_children_are_counted_as_the_run_would_have(run: Path) -> None:
    history = History(run)
    (parent,) = history.parents(1, seed=0)
    wide = parent.program.replace(
        "wc = walker_creator()\n", "wc = walker_creator()\n    far = wc.add_joint(29, 23)\n", 1
    )
    wide = wide.replace("    return wc.get_walker()", "    wc.add_muscle(far, hub)\n    return wc.get_walker()")
    programs = [parent.program, "def make_walker():\n    return 7\n", None, wide, wide + "\n"]
    with Evaluator(n_jobs=1, duration=history.duration) as evaluator:
        figures, children = measure(Scripted(programs), history, [parent] * 5, evaluator, seed=0)
    assert [child.program for child in children] == programs
    # A copy, a failure, an answer cut, and twice the same new walker in a niche that was empty.
    assert (figures.proposed, figures.applied, figures.valid, figures.new, figures.admitted) == (5, 4, 3, 1, 1)
    assert (figures.copies, figures.cut) == (1, 1)
    assert figures.gain > 0
    assert figures.row()[:3] == ["5", "80.0", "60.0 (23.1 to 88.2)"]
    operator = Scripted(programs)
    operator.tries = 5
    with Evaluator(n_jobs=1, duration=history.duration) as evaluator:
        best, children = measure(operator, history, [parent], evaluator, seed=0)
    assert [child.program for child in children] == [wide]
    assert (best.proposed, best.new, best.admitted, best.gain) == (1, 1, 1, figures.gain)
    figures += figures
    assert figures.row()[:2] == ["10", "80.0"]


def test_operators_of_one_name_stand_side_by_side(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operators = ["--operator", "gp", "--operator", "gp,tries=2", "--operator", "gp-blind"]
    monkeypatch.setattr(sys, "argv", ["mutation_models", "--run", str(run), "--children", "4", *operators])
    main()
    printed = capsys.readouterr().out
    for row in ("| gp | 4 |", "| gp, tries=2 | 4 |", "| gp-blind | 4 |"):
        assert row in printed


def test_the_same_seed_draws_the_same_elites(run: Path) -> None:
    history = History(run)
    assert history.parents(6, seed=1) == history.parents(6, seed=1)
    assert history.parents(40, seed=1) != history.parents(40, seed=2)
    programs = {record["program"] for record in read_jsonl(run / ADMITTED_FILE)}
    assert {parent.program for parent in history.parents(40, seed=1)} <= programs
