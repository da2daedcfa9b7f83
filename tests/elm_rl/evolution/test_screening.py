"""Of several children of a parent one is evaluated: a new walker, in the niche that has the most room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elm_rl.errors import ConfigError
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.screening import Birth, Screening
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.evolution.state import EvolutionState
from elm_rl.mutation.operator import Child, Parent
from elm_rl.mutation.specs import make_operators, read_specs
from elm_rl.runs.run_directory import read_jsonl
from sodarace_gym.evaluation import Evaluation
from sodarace_gym.programs.program import compile_program


def triangle(height: float, width: float) -> str:
    return (
        "def make_walker():\n    wc = walker_creator()\n    a = wc.add_joint(0, 0)\n"
        f"    b = wc.add_joint({width}, 0)\n    c = wc.add_joint({width / 2}, {height})\n"
        "    wc.add_muscle(a, b)\n    wc.add_muscle(b, c)\n    wc.add_muscle(c, a)\n    return wc.get_walker()\n"
    )


BAD = "def make_walker():\n    return 3\n"
SPECS = {
    "grid": ArchiveSpec(),
    "cvt": ArchiveSpec(kind="cvt", cells=40),
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[EvolutionState]:
    with EvolutionState(tmp_path, ArchiveSpec(), {"square": "Flat"}) as made:
        yield made


def admit(state: EvolutionState, program: str, fitness: float) -> None:
    design = compile_program(program)[0]
    evaluation = Evaluation(
        fitness=fitness, displacement=fitness, height=design.height, width=design.width, mass=design.mass, design=design
    )
    state.is_new(design, "Flat")
    state.admit("square", program, evaluation, fitness=fitness, parents=(), operator="seed", message="", diff=None)


def chosen(state: EvolutionState, groups: Sequence[Sequence[str | None]], fitness: float = 10.0) -> list[str | None]:
    parent = Parent("parent", fitness=fitness, archive="square")
    births = (Birth(parent, Child(program, "toy", "why")) for group in groups for program in group)
    screening = Screening(state)
    try:
        screening.begin()
        found = [birth.child.program for birth in screening.choose(births, len(groups[0]))]
        assert screening.passed_over == len(groups) * (len(groups[0]) - 1)
        return found
    finally:
        screening.close()


@pytest.mark.parametrize("kind", SPECS)
def test_the_niche_with_the_most_room_is_chosen(tmp_path: Path, kind: str) -> None:
    full, fuller, empty = triangle(3, 4), triangle(9, 4), triangle(3, 20)
    with EvolutionState(tmp_path, SPECS[kind], {"square": "Flat"}) as state:
        admit(state, triangle(3.1, 4), 5.0)
        admit(state, triangle(9.1, 4), 8.0)
        assert chosen(state, [[full, fuller, empty]]) == chosen(state, [[empty, fuller, full]]) == [empty]
        if kind == "grid":  # where they are of different niches
            assert chosen(state, [[full, fuller]]) == chosen(state, [[fuller, full]]) == [full]


def test_what_is_no_walker_or_known_is_passed_over(state: EvolutionState) -> None:
    known, new = triangle(3, 4), triangle(9, 20)
    admit(state, known, 1.0)
    assert chosen(state, [[BAD, None, known, new]]) == [new]
    assert chosen(state, [[known, BAD, None]]) == [known]
    assert chosen(state, [[None, BAD, known]]) == [None]


def test_a_walker_is_chosen_once_an_iteration(state: EvolutionState) -> None:
    first, second = triangle(3, 4), triangle(9, 20)
    assert chosen(state, [[first, first], [first, second], [second, BAD]]) == [first, second, second]


def run_of(out: Path, **changes: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {
        "out": out, "seeds": ("square",), "operators": ("gp,tries=3",), "iterations": 6, "batch_size": 24, "duration": 2.0,
        "n_jobs": 1, "progress": False,
    }  # fmt: skip
    run_evolve(EvolveConfig(**settings | changes))
    return [{**line, "timing": None} for line in read_jsonl(out / "metrics.jsonl")]


def test_a_run_repeats_and_a_resumed_one_ends_alike(tmp_path: Path) -> None:
    whole = run_of(tmp_path / "whole")
    assert run_of(tmp_path / "again", n_jobs=2) == whole
    run_of(tmp_path / "parts", iterations=3)
    assert run_of(tmp_path / "parts", resume=True) == whole
    assert [line["passed_over"] for line in whole[1:]] == [48] * 6


def test_tries_leave_fewer_children_that_fail_or_are_known(tmp_path: Path) -> None:
    def wasted(out: Path, operator: str) -> int:
        lines = run_of(out, operators=(operator,), iterations=8)[1:]
        return sum(line["operators"]["gp"]["proposed"] - line["operators"]["gp"]["new"] for line in lines)

    assert wasted(tmp_path / "four", "gp,tries=4") < 0.6 * wasted(tmp_path / "one", "gp")


def test_tries_are_a_setting_of_every_operator_but_servers() -> None:
    (operator,) = make_operators(["gp,tries=4"])
    assert operator.tries == 4
    (operator,) = make_operators(["gp-blind"], background=False)
    assert operator.tries == 1
    for wrong in ("gp,tries=0", "gp,tries=many", "gp,tries=1.5"):
        with pytest.raises(ConfigError, match="expected tries to be a whole number of 1 or more"):
            read_specs([wrong])
    with pytest.raises(ConfigError, match="a server is asked for one child of a parent"):
        read_specs(["api:model@http://localhost:1/v1,tries=2"])


def test_children_of_operators_that_work_ahead_are_screened_too(tmp_path: Path) -> None:
    lines = run_of(tmp_path, operators=("builtin,tries=2",), iterations=3, batch_size=8)
    assert [line["passed_over"] for line in lines[1:]] == [8] * 3
    assert all(np.isfinite(line["qd_score"]) for line in lines)
