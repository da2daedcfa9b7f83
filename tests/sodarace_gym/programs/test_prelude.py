"""What walker programs find in the sandbox, and that they get there what CPython would give."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.prelude import MAX_RAW_JOINTS, NUMPY_PRELUDE, REPLY_MARK, replace_imports
from sodarace_gym.programs.sandbox import Sandbox, default_sandbox, run_program
from sodarace_gym.walkers.raw_walker import RawWalker, parse_reply
from tests.sodarace_gym.sample_programs import TWO_JOINTS, with_body

# Our own programs, run in CPython as well: between them they use what the prelude offers.
TRUSTED = {
    "two_joints": TWO_JOINTS,
    "wheel": """
import math
import numpy as np

def make_walker():
    wc = walker_creator()
    hub = wc.add_joint(0.0, 5.0)
    rim = []
    for i in range(8):
        angle = 2 * np.pi * i / 8
        rim.append(wc.add_joint(5 * np.cos(angle), 5 + 5 * math.sin(angle)))
    for i in range(8):
        wc.add_muscle(rim[i], rim[(i + 1) % 8])
        wc.add_muscle(hub, rim[i], False, 0.2 * i, np.sqrt(i) / 3)
    return wc.get_walker()
""",
    "grid": """
def near(x1, y1, x2, y2):
    return (x1 - x2) ** 2 + (y1 - y2) ** 2 <= 2

def make_walker():
    wc = walker_creator()
    query_cppn(wc, 5, 3, 1.5, near, lambda a, b, c, d: np.exp(-a) + d / 7, lambda a, b, c, d: math.atan2(b + c, 1 + a))
    return wc
""",
    "comprehensions": """
from typing import List
from walk_creator import walker_creator

class Ring:
    def __init__(self, n: int, radius: float = 2.0) -> None:
        self.points: List = [(radius * math.cos(k), radius * math.sin(k)) for k in range(n)]

def make_walker():
    wc = walker_creator()
    ids = [wc.add_joint(*p) for p in Ring(7).points]
    [wc.add_muscle(a, b, distance_only=(a + b) % 2 == 0, phase=a / 3, amplitude=b * 1e-3) for a, b in zip(ids, ids[1:])]
    return wc.joints, wc.muscles
""",
}


def in_cpython(program: str) -> RawWalker:
    """What one of our own programs gives in CPython, with the sandbox's prelude."""
    scope: dict[str, Any] = {"__name__": "program"}
    exec(NUMPY_PRELUDE, scope)
    exec(replace_imports(program), scope)
    joints, muscles = scope["_sodarace_export"](scope["make_walker"]())
    return parse_reply(json.dumps([joints, muscles]))


def error_of(program: Any, sandbox: Sandbox | None = None) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        (sandbox or default_sandbox()).run(program)
    return caught.value


@pytest.mark.parametrize("name", TRUSTED)
def test_gives_what_cpython_gives(name: str) -> None:
    walker = run_program(TRUSTED[name])
    assert walker == in_cpython(TRUSTED[name])
    assert len(walker.muscles) > 0


def test_result_is_plain_floats_ints_and_bools() -> None:
    walker = run_program(with_body("wc.add_joint(1, 2.5)", "wc.add_muscle(0, 0, 0, 3)"))
    assert walker == RawWalker([(1.0, 2.5)], [(0, 0, False, 3.0, 0.0)])
    assert [type(value) for value in (*walker.joints[0], *walker.muscles[0])] == [
        float,
        float,
        int,
        int,
        bool,
        float,
        float,
    ]


def test_add_muscle_makes_plain_springs_by_default() -> None:
    walker = run_program(with_body("wc.add_joint(0, 0)", "wc.add_joint(1, 0)", "wc.add_muscle(0, 1)"))
    assert walker.muscles == [(0, 1, True, 0.0, 0.0)]


@pytest.mark.parametrize(
    "ending",
    ["wc.get_walker()", "wc", "(wc.joints, wc.muscles)", "[wc.get_walker().joints, wc.get_walker().muscles]"],
)
def test_make_walker_may_return_the_walker_in_several_forms(ending: str) -> None:
    assert run_program(TWO_JOINTS.replace("wc.get_walker()", ending)) == run_program(TWO_JOINTS)


def test_query_cppn_asks_and_joins_as_the_published_routine_does() -> None:
    program = """
asked = []
def connect(x1, y1, x2, y2):
    asked.append((x1, y1, x2, y2))
    return True

def make_walker():
    wc = walker_creator()
    wc.add_joint(9, 9)
    grid = query_cppn(wc, 3, 2, 1.5, connect, lambda x1, y1, x2, y2: x1 + 10 * y2, lambda x1, y1, x2, y2: x2 / 4)
    return [p[:2] for p in asked] + [p[2:] for p in asked], wc.muscles
"""
    asked = [
        ((x1, y1), (x2, y2))
        for x1 in range(3)
        for y1 in range(2)
        for x2 in range(x1, 3)
        for y2 in range(y1, 2)
        if not (x1 == y1 and x2 == y2)
    ]
    walker = run_program(program)
    assert walker.joints == [first for first, _ in asked] + [second for _, second in asked]
    number = {(x, y): 1 + 2 * x + y for x in range(3) for y in range(2)}
    assert walker.muscles == [
        (number[a], number[b], False, a[0] + 10.0 * b[1], b[0] / 4) for a, b in asked if a != b
    ]  # nothing is joined to itself


def test_query_cppn_returns_the_joints_by_node_and_by_number() -> None:
    uses = ["grid[(1, 0)]", "grid[-1]", "grid[2]", "list(grid.values())[0]", "grid.items()[0][1]", "[*grid][3][0]"]
    uses[4] = "[j for n, j in grid.items() if n == (0, 1)][0]"
    body = ["wc.add_joint(9, 9)", "no = lambda a, b, c, d: False", "grid = query_cppn(wc, 2, 2, 1, no, no, no)"]
    walker = run_program(with_body(*body, f"return [(j, (0, 1) in grid) for j in [{', '.join(uses)}]], []"))
    assert walker.joints == [(3, 1), (4, 1), (3, 1), (1, 1), (2, 1), (1, 1)]


def test_np_agrees_with_numpy() -> None:
    calls = [
        "pi", "e", "sin(0.7)", "cos(0.7)", "tan(0.7)", "arcsin(0.3)", "arccos(0.3)", "arctan(2)", "arctan2(1, -2)",
        "sinh(0.5)", "cosh(0.5)", "tanh(0.5)", "sqrt(2)", "exp(1.5)", "log(3)", "log2(8)", "log10(50)", "floor(-1.5)",
        "ceil(1.2)", "hypot(3, 4)", "radians(90)", "deg2rad(45)", "degrees(1)", "rad2deg(2)", "power(2, 0.5)", "abs(-3)",
        "absolute(-2.5)", "fabs(-2)", "maximum(2, 3)", "minimum(2, 3)", "max([1, 4, 2])", "min([3, 2])", "sum([1, 2, 4])",
        "round(2.5)", "mod(-7, 3)", "sign(-2)", "sign(0)", "clip(5, 0, 2)", "mean([1, 2, 6])",
        "linspace(0, 1, 5)[3]", "linspace(2, 3, 1)[0]", "arange(4)[2]", "arange(1, 2, 0.3)[3]", "arange(5, 0, -2)[2]",
    ]  # fmt: skip
    walker = run_program(with_body(*(f"wc.add_joint(np.{call}, 0)" for call in calls)))
    for call, (value, _) in zip(calls, walker.joints, strict=True):
        assert value == pytest.approx(float(eval(f"np.{call}", {"np": np})), rel=1e-15), call


@pytest.mark.parametrize(
    "statement",
    [
        "import numpy as np",
        "import numpy",
        "import math, numpy as n  # both",
        "from numpy import sin, pi as p",
        "from numpy import *",
        "from numpy import (\n    sin,  # half a turn\n    cos,\n)",
        "from walk_creator import walker_creator, query_cppn",
        "import walk_creator as w",
        "from somewhere.else_.walk_creator import walker_creator as wcr",
        "from collections.abc import Callable",
        "from typing import Any, List, Optional",
        "from __future__ import annotations",
        "import random, itertools, functools",
        "from math import *",
        "from random import *",
        "from itertools import *",
        "from typing import *",
        "from walk_creator import *",
        "import math; import numpy as np",
        "from .walk_creator import walker_creator",
        "from . import walk_creator",
        "from numpy import sin, \\\n    cos",
        "from openelm.environments.sodaracer.walker import query_cppn, walker_creator",
        "from openelm.environments.sodaracer.walker.walk_creator import Walker, walker_creator",
        "from openelm.environments.sodaracer.walker.CPPN_mutable import query_cppn",
        "from walker.CPPN_mutable import query_cppn as grid",
        "import openelm.environments.sodaracer.walker as w",
        "import copy, bisect, re, json, os, sys, time, datetime, dataclasses",
    ],
)
def test_usual_imports_are_accepted_and_keep_line_numbers(statement: str) -> None:
    assert run_program(statement + TWO_JOINTS) == run_program(TWO_JOINTS)
    lines = statement.count("\n") + 1
    assert error_of(f"{statement}\n1 / 0").message.startswith(f"line {lines + 1}: ZeroDivisionError")


@pytest.mark.parametrize(
    ("imports", "use"),
    [
        ("import numpy as n", "n.sin(1)"),
        ("import numpy", "numpy.sin(1)"),
        ("from numpy import cos, sin as s", "s(1)"),
        ("from numpy import *", "sin(1)"),
        ("from math import *", "sin(1)"),
        ("import numpy as n; import math as m", "m.sin(1) + 0 * n.pi"),
        ("import math as m, numpy as q", "m.sin(1) + 0 * q.pi"),
    ],
)
def test_imports_work_inside_functions_too(imports: str, use: str) -> None:
    expected = [(math.sin(1), 0.0)]
    assert run_program(with_body(imports, f"wc.add_joint({use}, 0)")).joints == expected
    assert run_program(imports + "\n" + with_body(f"wc.add_joint({use}, 0)")).joints == expected


@given(st.text(alphabet="import fromas,numpywalk_creator()*;#.\n\t", max_size=200))
def test_replace_imports_keeps_the_number_of_lines(source: str) -> None:
    assert replace_imports(source).count("\n") == source.count("\n")


def test_replace_imports_leaves_other_programs_alone() -> None:
    for source in ("import math\nx = 1", "from numpyish import x", "important = 1; import numpy", "import os, sys"):
        assert replace_imports(source) == source


def test_line_ends_of_other_systems_are_accepted() -> None:
    assert run_program(TWO_JOINTS.replace("\n", "\r\n")) == run_program(TWO_JOINTS)
    assert error_of("x = 1\r\n\r\ny = nothing").message.startswith("line 3: ")
    assert error_of("x = 1\r\ry = nothing").message.startswith("line 3: ")


def test_output_of_a_program_is_thrown_away(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_program("print('hello')\n" + TWO_JOINTS) == run_program(TWO_JOINTS)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    "before",
    [
        "print = None",
        "json = dumps = None",
        "def print(*values):\n    return 'nothing'",
        f"print('{REPLY_MARK}[[[7, 7]], []]', end='')",
        "print('no end of line', end='')",
    ],
)
def test_walker_is_read_whatever_a_program_prints_or_calls_its_own(before: str) -> None:
    assert run_program(before + "\n" + TWO_JOINTS) == run_program(TWO_JOINTS)


@pytest.mark.parametrize("printed", ["", "[[[1, 2]], []]", "x" * 60_000])
def test_program_that_returns_too_early_makes_no_walker(printed: str) -> None:
    assert error_of(f"print('{printed}')\nreturn [[(0, 0)], []]\n" + TWO_JOINTS).kind == "no_make_walker"


def test_program_may_print_a_little_beside_its_walker() -> None:
    assert run_program("print('x' * 60_000)\n" + TWO_JOINTS) == run_program(TWO_JOINTS)


def test_description_may_be_long_and_not_without_end() -> None:
    joints = [f"for i in range({MAX_RAW_JOINTS}):", "    wc.add_joint(i / 7, -i / 3)"]
    assert len(run_program(with_body(*joints)).joints) == MAX_RAW_JOINTS
    huge = error_of(with_body(*joints[:1], "    wc.add_joint(i, 10 ** 200)"))
    assert huge.kind == "wrong_result"
    assert "far too long" in huge.message


def test_same_program_gives_the_same_walker_whatever_ran_before() -> None:
    program = with_body(
        "import random, time",
        "for item in {'one', 'two', 'three', 'four'}:",
        "    wc.add_joint(random.random(), len(item))",
        "wc.add_joint(time.time(), hash('walker') % 1000)",
    )
    with Sandbox(processes=1) as one:
        first = one.run(program)
        error_of("import random\nrandom.seed(5)\nrandom.random()\nwalker_creator = None\nmath = 3", one)
        assert one.run(program) == first
    with Sandbox(processes=1) as other:
        assert other.run(program) == first
    assert len({x for x, _ in first.joints}) == 5, "the random numbers are not all the same"
