"""Programs that fail: each failure has a name, a line where there is one, and a sentence that helps."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from sodarace_gym.errors import ERROR_KINDS, ProgramError
from sodarace_gym.programs.prelude import MAX_RAW_JOINTS
from sodarace_gym.programs.program import compile_program
from sodarace_gym.programs.sandbox import MAX_SOURCE_BYTES, default_sandbox, run_program
from sodarace_gym.walkers.raw_walker import parse_reply
from sodarace_gym.walkers.walker import MAX_JOINTS, MAX_MUSCLES, Muscle, WalkerDesign
from tests.sodarace_gym.sample_programs import TWO_JOINTS, with_body


def error_of(program: Any) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        default_sandbox().run(program)
    return caught.value


@pytest.mark.parametrize(
    ("program", "kind", "fragment"),
    [
        ("x = (1,\n", "syntax_error", "ends in the middle"),
        ("def make_walker(:\n  pass", "syntax_error", "line 1: "),
        (f"```python{TWO_JOINTS}```\n", "syntax_error", "line 1: a code fence"),
        (f"Here is a walker:\n\n```python{TWO_JOINTS}```\n", "syntax_error", "line 3: a code fence (``` or ~~~) is no Python"),
        (f"{TWO_JOINTS}```\n\nIt walks.", "syntax_error", "send the program alone, without its fences"),
        ('def make_walker():\n  """Like so:\n  ```\n  x\n  ```\n  """\n  x = (', "syntax_error", "ends in the middle"),
        ("x = 1\nclass A(dict):\n  pass" + TWO_JOINTS, "syntax_error", "line 2: the sandbox does not support class inher"),
        ("x = 1\ndef f():\n  yield 1" + TWO_JOINTS, "syntax_error", "line 3: the sandbox does not support yield"),
        ("x = 1\ny = foo", "unknown_name", "line 2: the name 'foo'"),
        ("x = 'é'\nfoo(x)", "unknown_name", "line 2: the name 'foo'"),
        ("def make_walker():\n  return helper()", "unknown_name", "line 2: the name 'helper'"),
        ("import socket", "unknown_name", "line 1: 'import socket'"),
        ("import pandas as pd\nfrom scipy import stats\nimport math, torch\n", "unknown_name",
         "line 1: 'import pandas as pd' is not available to walker programs, nor is scipy, torch; use math, np"),
        ("\n\nopen('x')", "unknown_name", "line 3: \"open('x')\""),
        ("from math import nothing", "unknown_name", "line 1: cannot import name 'nothing'"),
        (with_body("wc.add_joint(1 / 0, 0)"), "runtime_error", "line 3: ZeroDivisionError: division by zero"),
        (with_body("wc.add_joint(1)"), "runtime_error", "add_joint() missing 1 required positional argument: 'y'"),
        (with_body("np.sin('a')"), "runtime_error", "line 3: TypeError: must be real number, not str"),
        (with_body("np.nothing"), "unknown_name", "line 3: np has no 'nothing'; use lists, math and what np has: pi, e, "),
        ("def f():\n  return [][0]\n\ndef make_walker():\n  f()", "runtime_error", "line 2: IndexError"),
        (with_body("query_cppn(wc, 2, 2, 1, lambda: 1, 0, 0)"), "runtime_error", "TypeError: <lambda>()"),
        ("raise TimeoutError('mine')", "runtime_error", "line 1: TimeoutError: mine"),
        ("while True: pass", "time_limit", "loops"),
        ("x = [0]\nwhile True:\n  x = x + x", "memory_limit", "line 3: "),
        ("print('x' * 1_000_000)", "memory_limit", "print"),
        ("def f(n):\n  return f(n)\nf(0)", "recursion_limit", "line 2: "),
        ("", "no_make_walker", "def make_walker():"),
        ("x = 1\n", "no_make_walker", "def make_walker():"),
        ("make_walker = 3", "no_make_walker", "'int' object is not callable"),
        ("def make_walker(size):\n  pass", "no_make_walker", "missing 1 required positional argument: 'size'"),
        ("return 1" + TWO_JOINTS, "no_make_walker", "remove 'return' outside functions"),
        ("def make_walker():\n  pass", "wrong_result", "returned None; end it with 'return wc.get_walker()'"),
        ("def make_walker():\n  return 7", "wrong_result", "of type int"),
        ("def make_walker():\n  return [1, 2, 3]", "wrong_result", "of type list"),
        ("def make_walker():\n  return [1, 2], []", "wrong_result", "joint 0 is not a pair"),
        ("def make_walker():\n  return {'joints': []}", "wrong_result", "a dict without the lists 'joints' and 'muscles'"),
        ("def make_walker():\n  return [], [(1,)]", "wrong_result", "muscle 0 is not (a, b, distance_only"),
        ("def make_walker():\n  return [], [(0, 1, {'type': 'rope'})]", "wrong_result", "muscle 0 is not (a, b, distance_only"),
        (with_body("wc.add_joint(0, 'up')"), "wrong_result", "joint 0: y is the str 'up'"),
        (with_body("wc.add_joint(0, [1])"), "wrong_result", "joint 0: y is a list"),
        (with_body("wc.add_joint(0, abs)"), "wrong_result", "not JSON serializable"),
        (with_body("wc.add_joint(10**400, 0)"), "coordinate_out_of_range", "joint 0: x is a whole number too large"),
        (with_body("wc.add_muscle(0, None)"), "wrong_result", "muscle 0: its joints are the int 0 and None"),
        (with_body("wc.add_muscle(0.0, 1)"), "wrong_result", "the float 0.0 and the int 1"),
        (with_body("wc.add_muscle(0, True)"), "wrong_result", "the int 0 and True"),
        (with_body("wc.add_muscle(0, 1, 2, 1, 0)"), "wrong_result", "distance_only is the int 2; pass True or False"),
        (with_body("wc.add_muscle(0, 1, 'no')"), "wrong_result", "distance_only is the str 'no'; pass True or False"),
        (with_body("wc.add_muscle(0, 1, 1, 2)"), "wrong_result", "the int 1 after its joints may be a flag or an amplitude"),
        (with_body("wc.add_muscle(0, 1, 3.0, 2)", "wc.add_muscle(0, 1, True)", "wc.add_muscle(0, 1, 0.0, 2)"),
         "wrong_result", "muscle 2: the float 0.0 after its joints may be a flag or an amplitude; write add_muscle("),
        (with_body("wc.add_muscle(0, 1, False, 1, '')"), "wrong_result", "phase is the str ''"),
        (with_body("wc.add_muscle(0, 1, False, 10**400)"), "bad_muscle", "amplitude is a whole number too large"),
        (with_body(f"for i in range({MAX_RAW_JOINTS + 1}): wc.add_joint(i, 0)"), "too_many_joints", "loops"),
        (with_body("for i in range(9000): wc.add_muscle(0, 1)"), "too_many_muscles", "9000 muscles"),
        (with_body("wc.add_joint('x' * 10**6, 0)"), "wrong_result", "far too long"),
        ("x = '\0'", "not_text", "NUL"),
        ("x = '\udcff'", "not_text", "UTF-8"),
        (b"x = 1", "not_text", "of type bytes"),
        (None, "not_text", "of type NoneType"),
        ("#" * (MAX_SOURCE_BYTES + 1), "source_too_long", f"at most {MAX_SOURCE_BYTES} bytes"),
        ("#" + "é" * (MAX_SOURCE_BYTES // 2), "source_too_long", f"{MAX_SOURCE_BYTES + 1} bytes"),
    ],
)  # fmt: skip
def test_failing_program_is_named_and_explained(program: Any, kind: str, fragment: str) -> None:
    error = error_of(program)
    assert (error.kind, fragment in error.message) == (kind, True), str(error)


def test_numbers_no_walker_may_have_pass_as_floats_for_the_design_to_judge() -> None:
    walker = run_program(with_body("wc.add_joint(np.nan, -np.inf)", "wc.add_muscle(-5, 10**9, True, np.inf)"))
    assert math.isnan(walker.joints[0][0])
    assert walker.joints[0][1] == -math.inf
    assert walker.muscles == [(-5, 10**9, True, math.inf, 0.0)]
    with pytest.raises(ProgramError) as caught:
        compile_program(with_body("wc.add_joint(np.nan, 0)", "wc.add_joint(1, 0)", "wc.add_muscle(0, 1)"))
    assert caught.value.kind == "non_finite_coordinate"


@pytest.mark.parametrize(
    "reply",
    ["", "nonsense", "3", "null", "[]", "[[], {}]", "[[], [], []]", '"joints"', "{}", '{"joints": true, "muscles": 0}',
     '{"type": [[]]}', "[" * 100_000, "[[[" + "9" * 5000 + ", 0]], []]", '[[[{"a": 1}, 0]], []]', "[[[null, 0]], []]",
     "[[[0, 0, 0]], []]", "[[], [[0]]]", "[[], [{}]]", '[[], [["0", 1, false, 0.0, 0.0]]]',
     "[[], [[0, 1, null, null, []]]]", "[[], [[0, 1, 1.5, 1.0, 0.0]]]", "[[], [[0, 1, [], 0.0, 0.0]]]",
     '[[], [[0, 1, {"type": []}]]]', '[[], [[0, 1, {"type": "muscle", "phase": "0"}]]]'],
)  # fmt: skip
def test_forged_reply_is_refused(reply: str) -> None:
    with pytest.raises(ProgramError) as caught:
        parse_reply(reply)
    assert caught.value.kind == "wrong_result"


def test_source_of_exactly_the_limit_is_accepted() -> None:
    program = TWO_JOINTS + "#" * (MAX_SOURCE_BYTES - len(TWO_JOINTS))
    assert run_program(program) == run_program(TWO_JOINTS)


def test_largest_walker_written_out_is_accepted() -> None:
    third = 1 / 3
    joints = tuple((x + third, y + third) for x in range(8) for y in range(8))
    pairs = [(a, b) for a in range(MAX_JOINTS) for b in range(a + 1, a + 9) if b < MAX_JOINTS]
    muscles = tuple(Muscle(a, b, False, third / 7, -third * 10) for a, b in pairs)
    assert 0.9 * MAX_MUSCLES < len(muscles) <= MAX_MUSCLES
    design = WalkerDesign(joints, muscles)
    assert compile_program(design.to_program()) == (design, {})


def test_program_error_survives_pickling_and_has_only_known_kinds() -> None:
    error = ProgramError("no_joints", "the walker has no joints; add some.")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.kind, copy.message, str(copy)) == (error.kind, error.message, f"no_joints: {error.message}")
    assert all(ERROR_KINDS.values())
    with pytest.raises(ValueError, match="expected a kind of ERROR_KINDS"):
        ProgramError("nonsense", "x")
