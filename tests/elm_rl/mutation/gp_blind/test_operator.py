"""GP that knows nothing of walkers: its children parse, differ, stay within the caps and are about whatever the parent is."""

from __future__ import annotations

import ast
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elm_rl.errors import ConfigError
from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation.background import FEWEST, BackgroundMutation
from elm_rl.mutation.gp import program_tree
from elm_rl.mutation.gp.program_lines import Program
from elm_rl.mutation.gp.program_tree import (
    MAX_CHARACTERS,
    MAX_LINES,
    ProgramTextError,
    normalise_program,
    parse_program,
    write_program,
)
from elm_rl.mutation.gp.program_view import ProgramView
from elm_rl.mutation.gp_blind.expressions import change_constant
from elm_rl.mutation.gp_blind.operator import CROSSOVERS, EDITS, GPBlindMutation, GPBlindOptions
from elm_rl.mutation.operator import (
    FUNCTION_MESSAGE,
    PARAMETERS_MESSAGE,
    SMALL_MESSAGE,
    Parent,
    parents_of,
)
from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.program import compile_program
from sodarace_gym.programs.sandbox import run_program

HOSTILE = Path(__file__).resolve().parents[3] / "sodarace_gym" / "programs" / "hostile_programs"

# No walkers: what an edit may not count on.
MEDIAN = """\
import math
LIMIT = 1000.0
def clip(value, low, high):
    return max(low, min(value, high))
def scale(value, factor):
    return value * factor
def median(numbers):
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    total = 0
    for k in range(3):
        if k % 2 == 0 and middle > -1:
            total += ordered[middle] - k
        total = clip(total, 0, LIMIT)
    if len(ordered) % 2 == 1:
        return ordered[middle]
    return scale(ordered[middle - 1] + ordered[middle], 0.5) + math.floor(total) * 0
"""
MEAN = """\
WEIGHT = 2
def weigh(value, weight):
    return value * weight / WEIGHT
def halves(number, times, least):
    while number > least and times > 0:
        number = weigh(number, 1)
        times -= 1
    return number
def mean(values):
    total = sum(values)
    return halves(total, len(values), 0.125)
"""
PARITY = "def parity(b1, b2):\n    bit_sum = sum([{}, b2])\n    return bit_sum % {}\n"


def children_of(programs: list[str], options: GPBlindOptions | None = None, seed: int = 0) -> list[str]:
    children = GPBlindMutation(options).mutate(parents_of(programs), np.random.default_rng(seed))
    return [child.program for child in children if child.program is not None]


@pytest.mark.parametrize("edit", [edit for edit, _, _ in EDITS], ids=lambda edit: edit.__name__)
def test_every_edit_changes_a_program_that_is_no_walker_or_says_that_it_did_not(edit: Callable[..., bool]) -> None:
    rng = np.random.default_rng(5)
    parent = normalise_program(MEDIAN)
    children = set()
    for _ in range(60):
        tree = parse_program(parent)
        changed = edit(ProgramView(tree), rng)
        child = write_program(tree)
        if changed:
            children.add(child)
        else:
            assert child == parent
    children.discard(parent)
    assert len(children) >= 3
    runs = 0
    for child in children:
        try:
            ((_, y),) = run_program(
                child + "def make_walker():\n    return [(0, median([5.0, 1.0, 3.0]))], []\n"
            ).joints
        except ProgramError:
            continue
        runs += np.isfinite(y)
    assert runs > 0


@pytest.mark.parametrize("cross", CROSSOVERS, ids=lambda cross: cross.__name__)
def test_every_crossover_takes_something_of_the_other_program(cross: Callable[..., bool]) -> None:
    rng = np.random.default_rng(1)
    parent, other = normalise_program(MEDIAN), normalise_program(MEAN)
    theirs = {ast.dump(node) for node in ast.walk(ast.parse(other))} - {
        ast.dump(node) for node in ast.walk(ast.parse(parent))
    }
    children, taken = set(), 0
    for _ in range(60):
        program = Program(parse_program(parent))
        changed = cross(ProgramView(program), ProgramView(parse_program(other)), rng)
        child = write_program(program.tree)
        if not changed:
            assert child == parent
            continue
        children.add(child)
        taken += any(ast.dump(node) in theirs for node in ast.walk(ast.parse(child)))
    assert len(children) >= 3
    assert taken >= 10


def test_a_function_brings_what_it_needs() -> None:
    rng = np.random.default_rng(0)
    receiver = "def f(a, b, c):\n    return a\ndef weigh(v):\n    return 1\n"
    found = set()
    for _ in range(20):
        program = Program(parse_program(receiver))
        CROSSOVERS[0](ProgramView(program), ProgramView(parse_program(MEAN)), rng)
        found.add(write_program(program.tree))
    halves = next(text for text in sorted(found) if text.startswith("def f(number"))
    assert halves.startswith("def f(number, times, least):\n    while number > least"), "it has the replaced one's name"
    assert "def weigh(v):" in halves, "what the receiver has by that name stays"
    receiver = receiver.replace("weigh", "other")
    program = Program(parse_program(receiver))
    while not CROSSOVERS[0](ProgramView(program), ProgramView(parse_program(MEAN)), rng) or "while" not in (
        text := write_program(program.tree)
    ):
        program = Program(parse_program(receiver))
    assert text.startswith("WEIGHT = 2\ndef weigh(value, weight):\n"), "and what that needs, in order"


def test_names_of_the_other_program_are_not_left_dangling() -> None:
    parent, other = "def f(a):\n    return a + 1\n", "def g(b):\n    c = b * b\n    return c - b\n"
    rng = np.random.default_rng(0)
    for _ in range(60):
        program = Program(parse_program(parent))
        CROSSOVERS[2](ProgramView(program), ProgramView(parse_program(other)), rng)
        names = {node.id for node in ast.walk(ast.parse(write_program(program.tree))) if isinstance(node, ast.Name)}
        assert names <= {"a"}


def test_crossed_walkers_walk_on() -> None:
    rng = np.random.default_rng(0)
    seeds = [normalise_program(load_seed(name)) for name in ("radial", "cppn_mutable")]
    parents = [Parent(seeds[i % 2], others=(Parent(seeds[1 - i % 2]),)) for i in range(120)]
    children = GPBlindMutation(GPBlindOptions(crossover=1.0)).mutate(parents, rng)
    valid = 0
    for child in children:
        if child.program is not None:
            try:
                compile_program(child.program)
            except ProgramError:
                continue
            valid += 1
            assert child.program not in seeds
    assert valid > 30


@pytest.mark.parametrize(
    ("buggy", "fixed"),
    [
        (PARITY.format("c1", 2), PARITY.format("b1", 2)),
        (PARITY.format("b1", 3), PARITY.format("b1", 2)),
        ("def f(a, x):\n    return a - x\n", "def f(a, x):\n    return a + x\n"),
        ("def f(a):\n    b = a\n    return a\n    a += 1\n", "def f(a):\n    b = a\n    return a\n    a -= 1\n"),
        ("def f(a):\n    a()\n    return a\n", "def f(a):\n    return a\n"),
        ("def f(v):\n    return max(v) - min(v)\n", "def f(v):\n    return max(v) - max(v)\n"),
    ],
)
def test_bugs_are_fixed_by_chance(buggy: str, fixed: str) -> None:
    fixes = children_of([buggy] * 2000, GPBlindOptions(max_edits=1)).count(fixed)
    assert fixes > 0, "one edit of some kind leads there"


def test_a_number_is_blind_to_what_it_is_for() -> None:
    """Where ours keeps the exponent whole and the count positive, this one does not know them from a length."""
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(200):
        tree = parse_program("def f(x):\n    return [x ** 2 for k in range(1)]\n")
        change_constant(ProgramView(tree), rng)
        found.update(
            line
            for line in write_program(tree).splitlines()
            if "** -" in line or "range(-" in line or "range(0" in line
        )
    assert len(found) >= 2


def test_children_depend_on_the_generator_alone() -> None:
    seeds = [load_seed(name) for name in SEED_NAMES]
    parents = [Parent(a, others=(Parent(b),)) for a in seeds for b in seeds] * 2
    first = GPBlindMutation().mutate(parents, np.random.default_rng(3))
    operator = GPBlindMutation()
    operator.mutate(parents, np.random.default_rng(9))  # lines remembered change nothing
    assert operator.mutate(parents, np.random.default_rng(3)) == first
    assert pickle.loads(pickle.dumps(operator)).mutate(parents, np.random.default_rng(3)) == first
    assert GPBlindMutation().mutate(parents, np.random.default_rng(4)) != first


def test_a_process_of_its_own_makes_the_same_children() -> None:
    seeds = [load_seed(name) for name in SEED_NAMES]
    parents = [Parent(a, others=(Parent(b),)) for a in seeds for b in seeds] * (FEWEST // 16 + 1)
    background = BackgroundMutation(GPBlindMutation())
    try:
        assert (background.name, background.parents_per_child) == ("gp-blind", 2)
        made = background.mutate(parents, np.random.default_rng(0))
    finally:
        background.close()
    assert made == GPBlindMutation().mutate(parents, np.random.default_rng(0))


def test_long_chains_stay_parseable_short_and_in_one_layout() -> None:
    operator, rng = GPBlindMutation(), np.random.default_rng(1)
    programs = [load_seed(name) for name in SEED_NAMES] + [normalise_program(MEDIAN), normalise_program(MEAN)]
    for _ in range(30):
        others = [programs[int(rng.integers(len(programs)))] for _ in programs]
        parents = [Parent(a, others=(Parent(b),)) for a, b in zip(programs, others, strict=True)]
        for i, child in enumerate(operator.mutate(parents, rng)):
            if child.program is None:
                assert not child.applied
                continue
            assert child.program not in (programs[i], others[i])
            assert normalise_program(child.program) == child.program
            assert len(child.program) <= MAX_CHARACTERS
            assert child.program.count("\n") <= MAX_LINES
            programs[i] = child.program


def test_messages_say_what_was_done() -> None:
    parent = normalise_program(MEDIAN)
    children = GPBlindMutation(GPBlindOptions(max_edits=2)).mutate(parents_of([parent] * 300), np.random.default_rng(2))
    counts = Counter(child.message for child in children)
    assert set(counts) == {FUNCTION_MESSAGE, PARAMETERS_MESSAGE, SMALL_MESSAGE}
    assert min(counts.values()) > 30
    for child in children:
        assert child.program is not None
        lines = child.program.splitlines()
        if child.message == SMALL_MESSAGE:
            changed = [a != b for a, b in zip(parent.splitlines(), lines, strict=True)]
            assert sum(changed) == 1
        elif child.message == PARAMETERS_MESSAGE:
            kinds = [
                Counter(
                    type(node) for node in ast.walk(ast.parse(text)) if not isinstance(node, (ast.UnaryOp, ast.USub))
                )
                for text in (parent, child.program)
            ]
            assert kinds[0] == kinds[1]


def test_each_setting_does_what_it_says() -> None:
    seeds = [normalise_program(load_seed(name)) for name in SEED_NAMES]
    parents = [Parent(seeds[0], others=(Parent(seeds[3]),))] * 60
    rng = np.random.default_rng(0)
    taken = []
    for odds in (0.0, 0.5, 1.0):
        operator = GPBlindMutation(GPBlindOptions(crossover=odds))
        assert operator.parents_per_child == (1 if odds == 0.0 else 2)
        programs = [child.program or "" for child in operator.mutate(parents, rng)]
        taken.append(sum(any(name in program for name in ("ygrid", "x1", "phase(")) for program in programs))
    assert taken[0] == 0 < taken[1] < taken[2], "names that only the other program has"
    lengths = []
    for edits in (1, 8):
        options = GPBlindOptions(crossover=0.0, edits=edits, max_edits=edits)
        children = children_of([seeds[3]] * 60, options)
        kept = [len(set(child.splitlines()) & set(seeds[3].splitlines())) for child in children]
        lengths.append(np.mean(kept))
    assert lengths[1] < lengths[0] - 2, "more edits leave fewer lines as they were"
    always = GPBlindOptions(crossover=0.0, max_edits=4, more_edits=1.0)
    fixed = GPBlindOptions(crossover=0.0, edits=4, max_edits=4)
    never = GPBlindOptions(crossover=0.0, max_edits=4, more_edits=0.0)
    assert GPBlindMutation(options=never).mutate(parents[:5], np.random.default_rng(0))
    small = [child.message for child in GPBlindMutation(fixed).mutate(parents, rng)].count(SMALL_MESSAGE)
    assert small == 0
    assert [child.message for child in GPBlindMutation(always).mutate(parents, rng)].count(SMALL_MESSAGE) == 0
    assert [child.message for child in GPBlindMutation(never).mutate(parents, rng)].count(SMALL_MESSAGE) > 5


@pytest.mark.parametrize(
    "settings",
    [
        {"crossover": -0.1},
        {"crossover": 1.1},
        {"more_edits": 1.5},
        {"edits": 0},
        {"edits": 4},
        {"max_edits": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        GPBlindOptions(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "program",
    ["x = " + "(" * 5000 + ")" * 5000, "x = " + "-" * 5000 + "1", "if 0:\n    pass\n" + "elif 0:\n    pass\n" * 400],
)
def test_nothing_deep_is_parsed_be_it_parent_or_other(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def parser(text: str, *_: object, **__: object) -> ast.Module:
        assert text != program, "the host's parser saw it"
        return ast.Module([], [])

    monkeypatch.setattr(program_tree.ast, "parse", parser)
    rng = np.random.default_rng(0)
    operator = GPBlindMutation(GPBlindOptions(crossover=1.0))
    for parent in (Parent(program), Parent("", others=(Parent(program),))):
        assert not operator.mutate([parent], rng)[0].applied
    with pytest.raises(ProgramTextError):
        parse_program(program)


def test_another_elite_that_cannot_be_read_costs_no_child() -> None:
    parent = Parent(load_seed("square"), others=(Parent("def ("),))
    assert GPBlindMutation(GPBlindOptions(crossover=1.0)).mutate([parent], np.random.default_rng(0))[0].applied


def test_no_program_raises_whatever_it_is() -> None:
    programs = [path.read_bytes().decode("utf-8", "replace") for path in sorted(HOSTILE.glob("*.py"))]
    programs += ["", "\n\n", "def (", "pass", "class A:\n    x = 1\n", "x = f'{1:{2}}'\n", "with a as b:\n    b()\n"]
    parents = [Parent(a, others=(Parent(b),)) for a, b in zip(programs, reversed(programs), strict=True)]
    children = GPBlindMutation(GPBlindOptions(crossover=0.5)).mutate(parents * 3, np.random.default_rng(0))
    assert len(children) == 3 * len(programs)
    for child in children:
        if child.program is not None:
            ast.parse(child.program)
