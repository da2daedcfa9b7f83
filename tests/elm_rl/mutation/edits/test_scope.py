"""Lines that do not fit their program are told from those that do, as the sandbox would."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from elm_rl.mutation.edits.line_edits import split_lines
from elm_rl.mutation.edits.scope import Scope, names_everywhere, one_statement_a_line, read_line
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import Parent
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.library import WALKER_NAMES, load_walker

UNFIT = {"unknown_name", "no_make_walker", "wrong_result"}
WORKING = ("square", "radial", "cppn_fixed", "cppn_mutable")


def verdicts(programs: list[str]) -> list[tuple[str | None, str]]:
    with Evaluator(n_jobs=1, duration=0.1) as evaluator:
        scores = evaluator.evaluate(programs, make_terrain("Flat"))
    return [(score.error.kind, score.error.message) if score.error else (None, "") for score in scores]


@pytest.mark.parametrize("name", WALKER_NAMES)
def test_lines_of_a_program_fit_it(name: str) -> None:
    lines = split_lines(load_walker(name))
    if one_statement_a_line(lines):
        assert Scope(lines).first_unfit(lines) is None


def test_lines_of_working_children_fit_them() -> None:
    rng = np.random.default_rng(0)
    programs = [load_walker(name) for name in WORKING] * 8
    for _ in range(4):
        children = GPMutation().mutate([Parent(program) for program in programs], rng)
        programs = [child.program or program for child, program in zip(children, programs, strict=True)]
    found = verdicts(programs)
    assert sum(error is None for error, _ in found) > len(programs) // 2
    for program, (error, _) in zip(programs, found, strict=True):
        lines = split_lines(program)
        assert error is not None or Scope(lines).first_unfit(lines) is None


def test_without_one_of_its_lines_a_program_is_judged_as_the_sandbox_judges_it() -> None:
    cases = []
    for name in WORKING:
        lines = split_lines(load_walker(name))
        for number, line in enumerate(lines):
            if line.strip():
                cases.append((lines, number, [*lines[:number], *lines[number + 1 :]]))
    seen: Counter[str | None] = Counter()
    found = verdicts(["\n".join(left) for _, _, left in cases])
    for (lines, number, left), (error, message) in zip(cases, found, strict=True):
        scope = Scope(lines)
        scope.everywhere = names_everywhere(left)
        fits = scope.first_unfit(left) is None
        seen[error] += 1
        if error in UNFIT or "ndent" in message:
            assert not fits, (lines[number], message)
        elif error is None and not read_line(lines[number]).returns:
            assert fits, lines[number]
    assert seen["unknown_name"] > 5
    assert seen["syntax_error"] > 5
    assert seen[None] > 5


@pytest.mark.parametrize(
    ("line", "binds", "uses"),
    [
        ("    a, (b, c) = f(d, key=e)", {"a", "b", "c"}, {"f", "d", "e"}),
        ("x = y = z.width", {"x", "y"}, {"z"}),
        ("    total += 3 if a == b else 4e5", set(), {"total", "a", "b"}),
        ("for i in range(n):", {"i"}, {"range", "n"}),
        ("    q = [k * w for k in rim if k]", {"q"}, {"w", "rim"}),
        ("    f = lambda u, v: u * v + w", {"f"}, {"w"}),
        ("import math, numpy as np", {"math", "np"}, set()),
        ("from a.b import c as d, e", {"d", "e"}, set()),
        ("def g(u, v=h, *rest):", {"g"}, {"h"}),
        ("    if (m := n) > 1:  # not a name", {"m"}, {"n"}),
        ("    w.a[i] = 'text' + s", set(), {"w", "i", "s"}),
    ],
)
def test_names_of_a_line(line: str, binds: set[str], uses: set[str]) -> None:
    facts = read_line(line)
    assert facts.binds == binds
    assert facts.uses == uses


def test_places_of_a_line() -> None:
    lines = split_lines(load_walker("square"))
    scope = Scope(lines)
    assert scope.fits("def other():")
    assert not scope.fits("    a = 1")
    scope.add("def other(u):")
    assert not scope.fits("return u")
    assert not scope.complete()
    assert scope.fits("    if u:")
    scope.add("    if u:")
    scope.add("        k = u")
    assert scope.fits("    return k")
    assert not scope.fits("      return k")
    assert not scope.fits("def third():")  # the functions of the seed end by returning a value
    scope.add("    return k")
    assert scope.fits("def third():")
    scope.add("def third():")
    assert not scope.fits("    return k")  # the name of another function
    assert scope.fits("    return other(make_square)")
