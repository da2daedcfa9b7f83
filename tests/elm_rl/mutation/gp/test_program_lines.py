"""Programs read line by line: the same trees, texts and children as from programs read as a whole."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import numpy as np
import pytest

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation.gp.operator import EDITS, GPMutation
from elm_rl.mutation.gp.program_lines import ProgramReader
from elm_rl.mutation.gp.program_tree import ProgramTextError, normalise_program, parse_program, write_program
from elm_rl.mutation.gp.program_view import ProgramView
from elm_rl.mutation.operator import Child, parents_of
from sodarace_gym.walkers import load_walker

HOSTILE = Path(__file__).resolve().parents[3] / "sodarace_gym" / "programs" / "hostile_programs"
GOLDEN = "af1e7e1bdcb5122229f6c9444ff639bec2503afedc412e50b90119eded69cc82"
BRANCHES = """\
def make_walker():
    wc = walker_creator()
    joints = []
    for k in range(4):
        if k < 1:
            joints.append(wc.add_joint(k, 0))
        elif k < 2:
            joints.append(wc.add_joint(k, 1))
        elif k < 3:
            joints.append(wc.add_joint(k, 3))
        else:
            if k > 5:
                joints.append(wc.add_joint(k, 4))
            joints.append(wc.add_joint(k, 5))
    else:
        wc.add_muscle(joints[0], joints[1])
    while len(joints) < 4:
        joints.append(wc.add_joint(9, 9))
    wc.add_muscle(joints[0], joints[1])
    wc.add_muscle(joints[0], joints[1])
    wc.add_muscle(joints[1], joints[2], False, 1.5, -0.5)
    return wc.get_walker()
"""
ONE_LINERS = "def make_walker():\n    if 1: x = 2; y = 3\n    return x\n"
OTHER_LAYOUTS = (
    BRANCHES.replace("\n    while", "\n\n    # a comment\n    while"),
    BRANCHES.rstrip("\n"),
    BRANCHES.replace("    ", "  "),
    BRANCHES.replace("    ", "\t"),
    BRANCHES.replace("(k, 5)", "(k,5)"),
    BRANCHES.replace("(k, 5)", "(k, 5.12345)"),
    BRANCHES.replace("(k, 5)", "(\n    k, 5)"),
    BRANCHES.replace("            joints.append(wc.add_joint(k, 5))\n", ""),  # else: if, which is written elif
    BRANCHES.replace("    joints = []\n", "    'a docstring, once wc is gone'\n    joints = []\n"),
    BRANCHES.replace("    joints = []\n", "    joints = []\n    x = f'{(1)}'\n    y = '''a\nb'''\n"),
    BRANCHES.replace("def make_walker", "@decorated\ndef make_walker"),
    "class A:\n    x = 1\nwith a:\n    x = 2\ntry:\n    x = 3\nexcept E:\n    x = 4\n" + BRANCHES,
    ONE_LINERS,
    "x = '#(['\n",
    "",
    "\n",
    "    x = 1\n",
    "if 1:\n",
    "else:\n    x = 1\n",
    "x = 1\nelif 2:\n    y = 1\n",
    "for k in x:\n    y\nelif 2:\n    y = 1\n",
    "if 1:\n    x = 1\nelse:\n",
    "if 1:\n        x = 1\n",
)


def programs() -> list[str]:
    walkers = [load_walker(name) for name in ("biped", "wheel", "worm", *SEED_NAMES)]
    hostile = [path.read_bytes().decode("utf-8", "replace") for path in sorted(HOSTILE.glob("*.py"))]
    return [BRANCHES, *OTHER_LAYOUTS, *walkers, *map(normalise_program, walkers), *hostile]


def outcome(program: str, reader: ProgramReader | None) -> str:
    """The tree and its text, or the error, of a program read line by line or as a whole."""
    try:
        tree = parse_program(program) if reader is None else reader.read(program).tree
        written = write_program(tree) if reader is None else reader.read(program).write()
    except ProgramTextError as error:
        return str(error)
    return ast.dump(tree) + written


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_program_read_by_lines_is_the_program_read_as_a_whole(size: int) -> None:
    reader = ProgramReader(size)
    for _ in range(2):  # the second time from memory
        for program in programs():
            assert outcome(program, reader) == outcome(program, None), program


def test_no_edit_spoils_what_is_remembered() -> None:
    """Every edit, on a tree of shared lines: the line is itself again for the next program, whatever was written."""
    reader, rng = ProgramReader(1000), np.random.default_rng(0)
    texts = [BRANCHES, *(load_seed(name) for name in SEED_NAMES)]
    for text in texts:
        whole = ast.dump(parse_program(text))
        for edit in {edit for family in EDITS.values() for edit, _ in family}:
            for _ in range(6):
                program = reader.read(text)
                for _ in range(2):  # the second edit finds some statements changed
                    edit(ProgramView(program), rng)
                try:
                    written = program.write()
                except ProgramTextError:
                    written = ""
                assert written in ("", write_program(program.tree)), edit.__name__
                program.release()
                assert ast.dump(reader.read(text).tree) == whole, edit.__name__


def chain(operator: GPMutation, parents: list[str], generations: int) -> list[Child]:
    rng, children = np.random.default_rng(2), []
    for _ in range(generations):
        born = operator.mutate(parents_of(parents), rng)
        children += born
        parents = [child.program or parent for child, parent in zip(born, parents, strict=True)]
    return children


@pytest.mark.parametrize("lines", [4, 8192])
def test_children_do_not_depend_on_what_is_remembered(lines: int) -> None:
    parents = programs()
    assert chain(GPMutation(lines=lines), parents, 8) == chain(GPMutation(lines=0), parents, 8)


def test_children_are_those_of_earlier_versions() -> None:
    """600 descendants of the seeds, by their digest, as bred when every program was still parsed and written as a whole."""
    children = chain(GPMutation(), [load_seed(name) for name in SEED_NAMES] * 3, 50)
    text = "".join(f"{child.message}\n{child.program}" for child in children)
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN
