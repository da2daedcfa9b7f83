"""Genetic programming: its children parse, mostly run, and differ where their commit message says."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation.gp import program_tree
from elm_rl.mutation.gp.constants import number_of
from elm_rl.mutation.gp.operator import EDITS, GPMutation
from elm_rl.mutation.gp.program_expressions import JOINT, JOINTS, NUMBER
from elm_rl.mutation.gp.program_tree import (
    MAX_CHARACTERS,
    MAX_LINES,
    ProgramTextError,
    check_program_text,
    normalise_program,
    parse_program,
    write_program,
)
from elm_rl.mutation.gp.program_view import ProgramView
from elm_rl.mutation.operator import COMMIT_MESSAGES, FUNCTION_MESSAGE, PARAMETERS_MESSAGE, SMALL_MESSAGE, parents_of
from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.program import compile_program
from sodarace_gym.walkers.walker import WalkerDesign

HOSTILE = Path(__file__).resolve().parents[3] / "sodarace_gym" / "programs" / "hostile_programs"

# Something for every edit: two lists, a guard, nested and short loops, a lambda, keywords, mathematics.
RICH = """\
import math
def make_rim(wc, x, y, radius, count):
    rim = []
    for k in range(count):
        angle = 2 * math.pi * k / count
        rim.append(wc.add_joint(x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return rim
def make_walker():
    wc = walker_creator()
    rim = make_rim(wc, 5, 6, 4.5, 6)
    row = [wc.add_joint(2 * k, 0) for k in range(4)]
    hub = wc.add_joint(5, 6)
    top = wc.add_joint(5, 12.5)
    bend = lambda v: v * 0.5
    for k in range(3):
        if k % 2 == 0 and k < 5:
            wc.add_muscle(rim[k], row[k], False, 1.5, k * 0.7)
        wc.add_muscle(rim[k], hub, distance_only=False, amplitude=max(k, 1), phase=bend(k))
    wc.add_muscle(hub, top)
    wc.add_muscle(top, rim[1], False, 2.0 if 1 > 0 else 3.0, -1.0)
    wc.add_muscle(rim[2], row[3], False, 1.0, 0.5)
    return wc.get_walker()
"""


def design_of(program: str) -> WalkerDesign | None:
    try:
        return compile_program(program)[0]
    except ProgramError:
        return None


def mask_numbers(program: str) -> str:
    """The program's tree with every number, and the sign of every number, replaced by zero."""

    class Mask(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.expr) and number_of(node) is not None:
                return ast.Constant(0)
            return self.generic_visit(node)

    return ast.dump(Mask().visit(ast.parse(program)))


def test_most_children_are_valid_walkers_that_differ_from_their_parents() -> None:
    operator, rng = GPMutation(), np.random.default_rng(0)
    parents = [load_seed(name) for name in SEED_NAMES for _ in range(30)]
    counts: Counter[str] = Counter()
    for _ in range(3):  # three generations, because mutated programs are harder to keep valid than seeds
        designs = [design_of(parent) for parent in parents]
        children = operator.mutate(parents_of(parents), rng)
        for i, child in enumerate(children):
            assert child.program is not None
            design = design_of(child.program)
            counts["good" if design is not None and design != designs[i] else "bad"] += 1
            if design is not None:
                parents[i] = child.program
    assert counts["good"] / counts.total() > 0.62


def test_children_depend_on_the_generator_alone() -> None:
    parents = [load_seed(name) for name in SEED_NAMES] * 5
    first = GPMutation().mutate(parents_of(parents), np.random.default_rng(3))
    np.random.seed(99)  # noqa: NPY002 - the global state must not matter
    again = GPMutation().mutate(parents_of(parents), np.random.default_rng(3))
    other = GPMutation().mutate(parents_of(parents), np.random.default_rng(4))
    assert first == again
    assert first != other


def test_long_chains_of_mutations_stay_parseable_short_and_in_one_layout() -> None:
    operator, rng = GPMutation(), np.random.default_rng(1)
    programs = [load_seed(name) for name in SEED_NAMES] + [normalise_program(RICH)]
    for _ in range(40):
        children = operator.mutate(parents_of(programs), rng)
        for i, child in enumerate(children):
            if child.program is None:
                assert not child.applied
                continue
            assert child.program != programs[i]
            assert normalise_program(child.program) == child.program
            assert len(child.program) <= MAX_CHARACTERS
            assert child.program.count("\n") <= MAX_LINES
            programs[i] = child.program
    assert len(set(programs)) == len(programs)


def test_messages_have_the_odds_of_the_paper_and_say_what_was_changed() -> None:
    parent = normalise_program(RICH)
    children = GPMutation().mutate(parents_of([parent] * 400), np.random.default_rng(2))
    counts = Counter(child.message for child in children)
    assert set(counts) == {message for message, _ in COMMIT_MESSAGES}
    for message, odds in COMMIT_MESSAGES:
        assert counts[message] / 400 == pytest.approx(odds, abs=0.08)
    by_message = {m: [c.program for c in children if c.message == m and c.program] for m in counts}
    assert all(mask_numbers(program) == mask_numbers(parent) for program in by_message[PARAMETERS_MESSAGE])
    kept = [mask_numbers(program) == mask_numbers(parent) for program in by_message[FUNCTION_MESSAGE]]
    assert sum(kept) / len(kept) < 0.1
    lines = parent.splitlines()
    for program in by_message[SMALL_MESSAGE]:
        changed = [a != b for a, b in zip(lines, program.splitlines(), strict=True)]
        assert sum(changed) == 1  # a small change is one edit of one expression


@pytest.mark.parametrize(("message", "place"), [(m, i) for m in EDITS for i in range(len(EDITS[m]))])
def test_every_edit_changes_a_program_or_says_that_it_did_not(message: str, place: int) -> None:
    edit = EDITS[message][place][0]
    rng = np.random.default_rng(5)
    parent = normalise_program(RICH)
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
    assert children, f"{edit.__name__} never changed a program that has something for every edit"
    assert any(design_of(child) for child in children)


def test_children_of_one_parent_are_many() -> None:
    children = GPMutation().mutate(parents_of([load_seed("radial")] * 200), np.random.default_rng(7))
    assert len({child.program for child in children}) > 150


def test_walkers_grow() -> None:
    """Random drift alone must reach larger walkers: the map is spanned by height, width and mass."""
    operator, rng = GPMutation(), np.random.default_rng(11)
    programs = [load_seed("square")] * 24
    for _ in range(12):
        children = operator.mutate(parents_of(programs), rng)
        programs = [
            child.program if child.program is not None and design_of(child.program) else parent
            for parent, child in zip(programs, children, strict=True)
        ]
    joints = [len(design.joints) for program in programs if (design := design_of(program))]
    assert max(joints) >= 8
    assert len(set(joints)) >= 3


@pytest.mark.parametrize(
    "program",
    [
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 5000 + "1",
        "x = " + "not " * 1400 + "1",
        "x = " + "lambda: " * 700 + "1",
        "x = a" + ".b" * 2500,
        "x = a" + "[0]" * 1800,
        "x = (" + "-\n" * 140 + "1)\n" + "(" * 300,
        "if 0:\n    pass\n" + "elif 0:\n    pass\n" * 400,
        "".join(" " * i + "if 1:\n" for i in range(100)) + " " * 100 + "pass\n",
        "x = 1\n" * 151,
        "x = '" + "a" * 7000 + "'",
        "x = 1;" * 100_000,
    ],
    ids=[
        "brackets",
        "minus",
        "not",
        "lambda",
        "attributes",
        "indexing",
        "continued",
        "elif",
        "indent",
        "lines",
        "string",
        "large",
    ],
)
def test_deep_or_long_programs_are_refused_before_the_parser_sees_them(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parser(*_: object, **__: object) -> ast.Module:
        raise AssertionError("the host's parser saw it")

    monkeypatch.setattr(program_tree.ast, "parse", parser)
    with pytest.raises(ProgramTextError):
        check_program_text(program)
    (child,) = GPMutation().mutate(parents_of([program]), np.random.default_rng(0))
    assert child.program is None
    assert not child.applied


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    quiet = "x = '" + "(" * 100 + "'  # " + "[" * 100 + "\ny = 1\n"
    check_program_text(quiet)
    assert normalise_program(quiet).count("\n") == 2


@pytest.mark.parametrize("program", ["", "\n\n", "def (", "x = 08", "return 1 +", "pass"])
def test_a_parent_without_anything_to_change_gives_a_failed_child(program: str) -> None:
    (child,) = GPMutation().mutate(parents_of([program]), np.random.default_rng(0))
    assert child.program is None
    assert not child.applied


def test_no_program_raises_whatever_it_is() -> None:
    programs = [path.read_bytes().decode("utf-8", "replace") for path in sorted(HOSTILE.glob("*.py"))]
    assert len(programs) > 50
    children = GPMutation().mutate(parents_of(programs), np.random.default_rng(0))
    assert len(children) == len(programs)
    for child in children:
        if child.program is not None:
            ast.parse(child.program)


def test_normalising_shortens_floats_and_drops_what_is_no_code() -> None:
    program = '"""Doc."""\n\ndef make_walker():\n    """Doc."""\n\n    # note\n    return 0.123456 * 12345.6 + 7\n'
    assert normalise_program(program) == "def make_walker():\n    return 0.123 * 12300.0 + 7\n"


def test_the_view_tells_joints_from_numbers() -> None:
    view = ProgramView(parse_program(RICH))
    last = next(s for s in view.statements if isinstance(s.node, ast.Return) and "hub" in s.names)
    assert last.names["rim"] == last.names["row"] == JOINTS
    assert last.names["hub"] == last.names["top"] == JOINT
    assert "k" not in last.names  # a loop's index is not in reach after it
    inner = next(s for s in view.statements if s.loops and "angle" in s.names)
    assert inner.names["angle"] == inner.names["count"] == NUMBER
    assert inner.names["rim"] != JOINTS  # not filled yet, so it must not be indexed
    roles = {ast.unparse(slot.node): slot.role for slot in view.slots}
    assert roles["12.5"] == "y"
    assert roles["6"] in ("count", "y")
    assert view.count_parameters["make_rim"] == {4}


@pytest.mark.parametrize(
    "settings", [{"more_edits": 1.0}, {"more_edits": -0.1}, {"max_edits": 0}, {"long_program": 0}, {"attempts": 0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        GPMutation(**settings)
