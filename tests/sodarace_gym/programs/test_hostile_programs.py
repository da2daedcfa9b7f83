"""Programs written to escape, hang, exhaust or confuse the sandbox: each must come back named, and harm nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from sodarace_gym.errors import ERROR_KINDS, ProgramError
from sodarace_gym.programs.program import compile_program
from sodarace_gym.programs.sandbox import MAX_SOURCE_BYTES, Sandbox
from sodarace_gym.programs.worker_pool import WorkerPool
from sodarace_gym.walkers.walker import WalkerDesign
from tests.sodarace_gym.sample_programs import TWO_JOINTS

T = TypeVar("T")

FOLDER = Path(__file__).parent / "hostile_programs"
SECRET = "the-secret-that-no-program-may-read"
# A hang is what these tests look for; a busy machine is not.
HANG_SECONDS = 20.0

RESOURCES = {"time_limit", "memory_limit", "recursion_limit"}
# What the files whose outcome is no matter of taste must come back as; "walker" for a harmless one. Those that end by
# themselves, but after a fifth of a program's processor time or more, may be out of time on a slow machine.
EXPECTED: dict[str, set[str]] = {
    "bad_1e308": {"coordinate_out_of_range"},
    "bad_bigint_coord": {"coordinate_out_of_range"},
    "bad_bool": {"no_muscles"},
    "bad_dup_muscle": {"walker"},
    "bad_huge_str_coord": {"wrong_result", "time_limit"},
    "bad_inf": {"non_finite_coordinate"},
    "big_comprehension": RESOURCES,
    "bigint_comb": RESOURCES,
    "bigint_tower": RESOURCES,
    "ctypes_segv": {"unknown_name"},
    "del_exception": {"walker"},
    "file_read": {"unknown_name"},
    "file_read_pathlib": {"unknown_name"},
    "importlib": {"unknown_name"},
    "indent_error": {"syntax_error"},
    "inf_recursion_catch": RESOURCES,
    "invalid_utf8": {"not_text"},
    "make_walker_args": {"no_make_walker"},
    "mem_append": RESOURCES,
    "mem_bytes": RESOURCES,
    "mem_dict": RESOURCES,
    "mem_join": RESOURCES,
    "mem_list_mul": RESOURCES,
    "mutual_recursion_lambda": {"recursion_limit"},
    "nest_if": {"syntax_error"},
    "nest_lambda": {"syntax_error"},
    "nonterm_itertools": RESOURCES,
    "null_bytes": {"not_text"},
    "os_environ": {"unknown_name"},
    "override_walker_creator": {"wrong_result"},
    "print_flood": RESOURCES,
    "prose": {"syntax_error"},
    "raise_kbd": {"runtime_error"},
    "ret_billion_laughs": {"wrong_result", "time_limit"},
    "ret_deep_nest": {"wrong_result"},
    "ret_evil_hash_key": {"no_make_walker"},
    "ret_evil_obj": {"wrong_result"},
    "ret_many_small": {"too_many_joints", "time_limit"},
    "ret_none": {"wrong_result"},
    "ret_toplevel_fake": {"no_make_walker", "time_limit"},
    "ret_wide_tuples": {"too_many_joints", "time_limit"},
    "return_toplevel": {"no_make_walker"},
    "shadow_builtins": {"runtime_error"},
    "socket": {"unknown_name"},
    "sort_key_recursion": {"recursion_limit"},
    "stderr_flood": RESOURCES,
    "subprocess": {"unknown_name"},
    "syntax_error": {"syntax_error"},
}

DEEP = 100_000
LARGE = {
    "source_of_5_mb": TWO_JOINTS + "#" * 5_000_000,
    "string_of_5_mb": "x = '" + "a" * 5_000_000 + "'" + TWO_JOINTS,
    "integer_of_1_mb": "x = " + "9" * 1_000_000 + TWO_JOINTS,
    "parentheses": "x = " + "(" * DEEP + "1" + ")" * DEEP,
    "open_parentheses": "x = " + "(" * DEEP,
    "brackets": "x = " + "[" * DEEP + "]" * DEEP,
    "nested_calls": "x = " + "f(" * DEEP + ")" * DEEP,
    "chained_calls": "x = f" + "()" * DEEP,
    "attributes": "x = a" + ".b" * DEEP,
    "minuses": "x = " + "-" * DEEP + "1",
    "nots": "x = " + "not " * DEEP + "1",
    "sums": "x = " + "1+" * DEEP + "1",
    "conditionals": "x = " + "1 if 1 else " * DEEP + "1",
    "lambdas": "x = " + "lambda: " * DEEP + "1",
    "elifs": "if 0:\n pass\n" + "elif 0:\n pass\n" * DEEP,
}
# The same shapes, as deep as the longest admitted source allows.
_COUNT = MAX_SOURCE_BYTES // 16
FITTING = {
    "integer": "x = " + "9" * (MAX_SOURCE_BYTES - 500) + TWO_JOINTS,
    "parentheses": "x = " + "(" * _COUNT + "1" + ")" * _COUNT,
    "nested_calls": "x = " + "f(" * _COUNT + ")" * _COUNT,
    "chained_calls": "x = f" + "()" * _COUNT,
    "attributes": "x = a" + ".b" * _COUNT,
    "minuses": "x = " + "-" * _COUNT + "1",
    "nots": "x = " + "not " * _COUNT + "1",
    "sums": "x = " + "1+" * _COUNT + "1",
    "elifs": "if 0:\n pass\n" + "elif 0:\n pass\n" * (_COUNT - 10),
    "imports": "import numpy, math\n" * 3_000,
    "open_import": "from walk_creator import (" + "\n" * 60_000,
    "spaces_before_import": " " * 60_000 + "import numpy",
}
# Structures that hang whoever walks them, put wherever a host might look.
_SHARED = "x = [0] * 1000\nfor _ in range(4):\n    x = [x] * 1000\n"
PROBES = {
    "shared_argument": _SHARED + "unknown_function(x)",
    "shared_argument_of_a_system_call": _SHARED + "open(x)",
    "shared_exception_argument": _SHARED + "raise ValueError(x)",
    "shared_assertion": _SHARED + "assert x == 1",
    "shared_key": _SHARED + "{}[repr(x)]",
    "shared_result": _SHARED + "x",
    "shared_reply": _SHARED + "_sodarace_reply = x\nreturn 1",
    "shared_make_walker": _SHARED + "make_walker = x",
    "long_message": "raise ValueError('y' * 10**7)",
    "long_name": "y" * 50_000,
    "replaced_export": "def _sodarace_export(w):\n    return [[[0]]] * 10\n" + TWO_JOINTS,
    "endless_str": "class A:\n    def __str__(self):\n        while True: pass\nraise ValueError(str(A()))",
    "swallowed_limits": "while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass\n",
    "awaited": "import asyncio\nawait asyncio.sleep(10**6)\nwhile True: pass",
    "deep_joints": "def make_walker():\n    x = []\n    for _ in range(150): x = [x]\n    return x, x\n",
    "lone_surrogate": "x = '\ud800'",
}


def within_time(function: Callable[[], T]) -> T:
    """Runs a function in a thread and fails if it hangs, which no exception could interrupt."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    thread.join(HANG_SECONDS)
    assert not thread.is_alive(), "the sandbox hangs"
    return results[0]


def outcome_of(source: str, sandbox: Sandbox) -> tuple[str, str]:
    """The kind and message of a program's error, or "walker" and the walker's program."""

    def run() -> tuple[str, str]:
        try:
            design, _ = compile_program(source, sandbox)
        except ProgramError as error:
            return error.kind, error.message
        assert isinstance(design, WalkerDesign)
        return "walker", design.to_program()

    return within_time(run)


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory the programs look around in, with the canary they try to read and write."""
    folder = tmp_path_factory.mktemp("playground")
    (folder / "canary").mkdir()
    (folder / "canary" / "secret.txt").write_text(SECRET)
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def sandbox(playground: Path) -> Iterator[Sandbox]:
    # One worker, so that the next program runs where the hostile one ran.
    with Sandbox(processes=1) as sandbox:
        yield sandbox


@pytest.fixture
def check(sandbox: Sandbox, playground: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Runs a hostile program, checks that it did no harm, and returns what it came back as."""
    expected = compile_program(TWO_JOINTS, sandbox)

    def run(source: str) -> str:
        kind, message = outcome_of(source, sandbox)
        assert kind == "walker" or kind in ERROR_KINDS
        if kind != "walker":
            assert 0 < len(message) < 500
            assert message == " ".join(message.split()), "a message is one line"
        assert SECRET not in message
        assert [path.name for path in (playground / "canary").iterdir()] == ["secret.txt"]
        assert (playground / "canary" / "secret.txt").read_text() == SECRET
        assert within_time(lambda: compile_program(TWO_JOINTS, sandbox)) == expected
        assert capfd.readouterr().out == ""
        return kind

    return run


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_hostile_file_is_contained(path: Path, check: Callable[[str], str]) -> None:
    kind = check(path.read_bytes().decode("utf-8", "surrogateescape"))
    assert kind in EXPECTED.get(path.stem, {*ERROR_KINDS, "walker"})


def test_every_expectation_has_its_file() -> None:
    assert set(EXPECTED) <= {path.stem for path in FOLDER.glob("*.py")}
    assert len(list(FOLDER.glob("*.py"))) >= 90


@pytest.mark.parametrize("name", LARGE)
def test_large_source_is_refused_by_name(name: str, check: Callable[[str], str]) -> None:
    assert check(LARGE[name]) == "source_too_long"


@pytest.mark.parametrize("name", FITTING)
def test_nesting_below_the_source_limit_is_contained(name: str, check: Callable[[str], str]) -> None:
    assert len(FITTING[name]) <= MAX_SOURCE_BYTES
    assert check(FITTING[name]) in {"syntax_error", "no_make_walker", "memory_limit"}


@pytest.mark.parametrize("name", PROBES)
def test_probe_is_contained(name: str, check: Callable[[str], str]) -> None:
    assert check(PROBES[name]) != "walker"


def test_interpreter_contains_large_sources_without_the_source_limit(playground: Path) -> None:
    # The limit spares the host's memory; even if it were raised, nothing may hang or fall over.
    pool = WorkerPool(processes=1)
    try:
        for name, source in LARGE.items():

            def run(source: str = source) -> str:
                try:
                    pool.run(source)
                except ProgramError as error:
                    return error.kind
                return "walker"

            kind = within_time(run)
            assert kind in {"walker", "syntax_error", "memory_limit", "time_limit", "sandbox_failure"}, name
            assert pool.run(TWO_JOINTS).joints == [(0.0, 0.0), (3.0, 4.0)]
    finally:
        pool.end()
