"""The sandbox's np against the real one: the same values, or an error that names what is not supported."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs import worker_pool
from sodarace_gym.programs.sandbox import Sandbox, run_program
from sodarace_gym.programs.sandbox_library import NUMPY_NAMES


def in_sandbox(*lines: str) -> list[float]:
    """The numbers in ``out`` after some lines, which are part of a function."""
    body = "".join(f"    {line}\n" for line in lines)
    program = f"import numpy as np\n\ndef make_walker():\n    out = []\n{body}    return [(v, 0) for v in out], []\n"
    return [x for x, _ in run_program(program).joints]


def in_numpy(*lines: str, warn: str = "ignore") -> list[float]:
    """The same with numpy."""
    scope: dict[str, Any] = {"np": np}
    imports = [line for line in lines if "import" in line]
    body = "".join(f"    {line}\n" for line in lines if line not in imports)
    with warnings.catch_warnings():
        warnings.simplefilter(warn)  # type: ignore[arg-type]
        exec("\n".join([*imports, "def run():\n    out = []", f"{body}    return list(out)\n"]), scope)
        return [float(value) for value in scope["run"]()]


def agree(*lines: str, tolerance: float = 0.0, near_zero: float = 0.0) -> None:
    """Checks that both give the same numbers, or that the sandbox refuses what numpy refuses, warns of or wraps."""
    try:
        found = in_sandbox(*lines)
    except ProgramError as error:
        refusal = error
    else:
        expected = in_numpy(*lines)
        assert found == pytest.approx(expected, rel=tolerance, abs=near_zero, nan_ok=True), lines
        return
    assert refusal.kind in ("runtime_error", "unknown_name"), refusal
    if "more than 64 bits" not in refusal.message:
        with pytest.raises((ArithmeticError, ValueError, TypeError, IndexError, Warning)):
            in_numpy(*lines, warn="error")


WHOLE = st.integers(-9, 9)
HALVES = st.integers(-18, 18).map(lambda n: n / 2)
FLOATS = st.floats(-50, 50, allow_subnormal=False)


def arrays(size: int) -> st.SearchStrategy[str]:
    lists = st.one_of(*(st.lists(kind, min_size=size, max_size=size) for kind in (WHOLE, HALVES, FLOATS)))
    return lists.map(lambda values: f"np.array({values})")


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """An array and another, a list or a number, joined by an operator."""
    size = draw(st.integers(1, 5))
    left = draw(arrays(size))
    right = draw(
        st.one_of(arrays(size), arrays(size).map(lambda a: a[9:-1]), WHOLE.map(str), HALVES.map(str), arrays(1))
    )
    pair = (left, right) if draw(st.booleans()) else (right, left)
    return f"({pair[0]}) {draw(st.sampled_from(['+', '-', '*', '/', '//', '%', '**']))} ({pair[1]})"


@settings(max_examples=150, deadline=None)
@given(expressions())
def test_operators_agree_with_numpy(expression: str) -> None:
    agree(f"out = {expression}", tolerance=1e-14 if "**" in expression else 0.0)


@settings(max_examples=60, deadline=None)
@given(arrays(6), st.integers(-8, 8), st.integers(-8, 8), st.sampled_from([-2, -1, 1, 2]), st.one_of(WHOLE, HALVES))
def test_slices_are_views_that_items_are_set_through(
    array: str, start: int, stop: int, step: int, value: float
) -> None:
    lines = [
        f"a = {array}",
        f"b = a[{start}:{stop}:{step}]",
        "c = a[::-1]",
        f"a[{start}:{stop}] = {value}",
        "c[0] = 3.7",
    ]
    lines += [
        "c[1:3] = c[2:4]",
        "b[:1] += 1",
        "out = list(a) + list(b) + list(c) + [len(a), len(b), a.size, c.shape[0]]",
    ]
    agree(*lines)
    agree(f"a = {array}", f"out = [a[{start}]]")


@settings(max_examples=60, deadline=None)
@given(
    arrays(4),
    st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]),
    st.one_of(WHOLE.map(str), HALVES.map(str), arrays(4)),
)
def test_in_place_operators_change_the_array_itself(array: str, operator: str, value: str) -> None:
    lines = [f"a = {array}", "alias = a", "part = a[1:]", f"a {operator}= {value}", f"a {operator}= a[0]"]
    agree(*lines, "out = list(alias) + list(part)", tolerance=1e-14)


@settings(max_examples=60, deadline=None)
@given(FLOATS, FLOATS, st.integers(0, 20), st.booleans(), st.floats(0.1, 5), st.integers(-30, 30), st.integers(1, 7))
def test_ranges_agree_with_numpy(a: float, b: float, count: int, ends: bool, step: float, low: int, whole: int) -> None:
    agree(f"out = np.linspace({a}, {b}, {count}, endpoint={ends})")
    agree(f"out = np.arange({a}, {b}, {step})")
    agree(f"out = np.arange({low}, {low} + 12, {whole})")


@settings(max_examples=40, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=200), st.lists(WHOLE, min_size=1, max_size=20))
def test_reductions_agree_with_numpy_to_the_last_bit(floats: list[float], whole: list[int]) -> None:
    agree(f"v = {floats}", "out = [np.sum(v), np.mean(v), np.max(v), np.min(v), np.array(v).sum(), *np.cumsum(v)]")
    agree(f"v = {whole}", "out = [np.sum(v), np.mean(v), np.max(v), np.array(v).min(), *np.cumsum(v), *np.diff(v)]")


@settings(max_examples=60, deadline=None)
@given(st.one_of(WHOLE, HALVES, FLOATS), st.one_of(WHOLE, HALVES), st.sampled_from([0, 1, 2]))
def test_functions_of_numbers_agree_with_numpy(x: float, y: float, decimals: int) -> None:
    one = ("sin", "cos", "arctan", "tanh", "floor", "ceil", "abs", "sign", "radians", "fabs")
    two = ("arctan2", "hypot", "mod", "power", "maximum", "minimum")
    for call in [f"np.{name}({x})" for name in one] + [f"np.{name}({x}, {y})" for name in two]:
        agree(f"out = [{call} / 3]", tolerance=1e-14)
    agree(f"out = [np.round({x}, {decimals}), np.clip({x}, -2, {abs(y)})]")
    agree(f"a = np.array([{x}, {y}, 0.25])", *(f"out += list(np.{name}(a))" for name in one), tolerance=1e-14)
    agree(f"a = np.array([{x}, {y}])", *(f"out += list(np.{name}(a, {y}))" for name in two), tolerance=1e-14)


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.integers(0, 100), st.integers(0, 2**200)), st.integers(1, 2**40), st.integers(1, 9))
def test_a_seeded_generator_draws_the_numbers_of_numpy(seed: int, span: int, size: int) -> None:
    agree(
        f"r = np.random.default_rng({seed})",
        f"out = [r.random(), r.uniform(-2, 3), *r.integers({size}, size=5), r.integers(-{span}, {span}, endpoint=True)]",
        f"out += list(r.uniform(1, 4, {size})) + [r.choice([5, 6, 7]), r.integers(3), *r.random(size={size})]",
    )
    agree(f"r = np.random.default_rng({seed})", "out = [*r.normal(1, 2, 300), r.standard_normal()]", near_zero=1e-13)


@pytest.mark.parametrize(
    "lines",
    [
        ("out = np.linspace(0, 3, 4) * 2",),
        ("out = 10 - np.arange(3)",),
        ("out = [1, 2] + np.ones(2)",),
        ("out = np.zeros(3) + [1, 2, 3]",),
        ("out = np.full(2, 7) / 2",),
        ("out = np.array((1, 2), dtype=float)",),
        ("out = np.arange(3, dtype=float) / np.ones_like([1.0, 2, 3])",),
        ("out = np.array([1.7, -1.7]).astype(int)",),
        ("out = -np.array([1, -2])",),
        ("out = [2 in np.arange(3), max(np.arange(3)), sum(np.arange(4)), len(np.zeros(5))]",),
        ("a, b = np.arange(2)", "out = [a, b]"),
        ("out = [i * v for i, v in enumerate(np.linspace(0, 1, 3))]",),
        ("out = np.concatenate([np.arange(2), [0.5]])",),
        ("a = np.arange(3)", "a[1] = 2.9", "out = a"),
        ("a = np.arange(3.0)", "for i in range(3): a += i", "out = a"),
        ("a = np.arange(3.0)", "a += (1 +", "    2)  # on two lines", "out = a"),
        ("n = 1", "n += 2  # two", "n **= 2", "s = 'a'", "s += 'b'", "a = np.ones(1)", "out = [n, len(s)]"),
        ("from numpy import *", "out = linspace(0, pi, 3)"),
        ("from numpy.random import default_rng as g", "out = g(3).random(2)"),
        ("import random", "out = np.ones(2) + np.sin(0)"),
    ],
)
def test_usual_lines_do_what_numpy_does(lines: tuple[str, ...]) -> None:
    if "on two lines" in str(lines):
        with pytest.raises(ProgramError, match="in place only in a line of its own"):
            in_sandbox(*lines)
    else:
        assert in_sandbox(*lines) == in_numpy(*lines)


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        (
            "np.array([[0, 1], [2, 3]])",
            "np.array makes one-dimensional arrays only here; keep points in a list of pairs",
        ),
        ("np.zeros((2, 3))", "arrays have one dimension here"),
        ("np.array([True, False])", "np.array takes no True and False"),
        ("np.array(['a'])", "np.array takes numbers and flat lists or arrays of numbers here, not str"),
        ("np.arange(3) == 1", "arrays cannot be compared here; compare their elements"),
        ("np.arange(3) < 1", "'<' not supported between instances of 'ndarray' and 'int'"),
        ("np.arange(3)[[0, 1]]", "an array's index is a whole number or a slice here, not list"),
        ("np.arange(3) + np.arange(2)", "operands could not be broadcast together with shapes (3,) (2,)"),
        ("np.arange(3) ** -1", "Integers to negative integer powers"),
        ("np.arange(2) * 2**62 * 4", "a whole number in an array has more than 64 bits"),
        ("np.ones(3).reshape(3, 1)", "'ndarray' object has no attribute 'reshape'"),
        ("np.max([[1, 2], [3, 0]])", "np.max takes numbers and flat lists or arrays of numbers here, not list"),
        ("np.maximum([1], [2])", "np.maximum takes numbers"),
        ("np.sin([1, 2])", "must be real number, not list"),
        ("np.random.seed(3)", "np.random.seed is not supported here; write rng = np.random.default_rng(seed)"),
        ("np.random.beta(1, 2)", "np.random has no 'beta'; use rng = np.random.default_rng(seed)"),
        ("np.linalg.norm([1, 2])", "np has no 'linalg'; use lists, math and what np has: pi, e, "),
    ],
)
def test_what_np_lacks_is_refused_by_name(line: str, fragment: str) -> None:
    with pytest.raises(ProgramError) as caught:
        in_sandbox(f"out = [{line}]")
    assert caught.value.message.startswith("line 5: ")
    assert fragment in caught.value.message


def test_arrays_are_no_coordinates() -> None:
    with pytest.raises(ProgramError, match="ndarray is not JSON serializable"):
        in_sandbox("out = [np.zeros(2)]")


def test_a_program_is_given_what_it_names_and_what_that_needs() -> None:
    for name in NUMPY_NAMES:
        assert in_sandbox(f"f = np.{name}", "out = [1]") == [1.0]


def test_unseeded_numbers_are_the_same_in_every_run() -> None:
    lines = "out = [np.random.rand(), np.random.uniform(0, 2), np.random.randint(9), *np.random.normal(0, 1, 3)]"
    assert in_sandbox(lines) == in_sandbox(lines)


def test_sessions_kept_are_bounded_and_programs_right_whatever_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "_MOST_SESSIONS", 3)
    program = "def make_walker():\n    return [(np.{}({}), 0)], []\n"
    calls = [("sin", 1), ("floor", 1.5), ("ones", 1), ("max", [1, 2]), ("cos", 1), ("abs", -2), ("sign", 3)]
    with Sandbox(processes=1) as sandbox:
        for name, value in calls * 2:
            if name == "ones":
                assert sandbox.run("x = np.ones(1)[0]\ndef make_walker(): return [(x, 0)], []").joints == [(1.0, 0.0)]
            else:
                assert sandbox.run(program.format(name, value)).joints == [(getattr(np, name)(value), 0.0)]
            pool = sandbox._started()
            assert len(pool._sessions) <= 3
        assert "" in pool._sessions
