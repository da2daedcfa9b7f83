"""Programs compiled one by one and many at a time: the same answers, and none knows of the others."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.interpreter import Interpreter
from sodarace_gym.programs.program import compile_program, compile_programs
from sodarace_gym.programs.sandbox import Sandbox
from sodarace_gym.walkers.library import WALKER_NAMES, load_walker
from sodarace_gym.walkers.walker import WalkerDesign
from tests.sodarace_gym.sample_programs import TWO_JOINTS, with_body

SEEDS = [load_walker(name) for name in WALKER_NAMES]
Outcome = tuple[str, object]

# Programs that would be seen by the next one, if anything of theirs stayed behind: each changes what the others use.
MEDDLERS = (
    "def walker_creator():\n    return 1\n" + TWO_JOINTS,
    "walker_creator.add_joint = lambda self, x, y: 7\n" + TWO_JOINTS,
    "walker_creator.get_walker = lambda self: 7\n" + TWO_JOINTS,
    "import math\nmath.cos = math.sin = abs\n" + SEEDS[1],
    "import random\nrandom.seed(5)\n" + with_body("wc.add_joint(random.random(), 0)"),
    "np.pi = 3\nnp.sin = abs\n" + with_body("wc.add_joint(np.sin(np.pi), 0)", "wc.add_joint(1, 2)"),
    "def _sodarace_send(walker):\n    print('x')\n" + TWO_JOINTS,
    "def _sodarace_export(walker):\n    return 7\n" + TWO_JOINTS,
    "_sodarace_print = len\n" + TWO_JOINTS,
    "def query_cppn(*a):\n    return []\n" + SEEDS[2],
    "print('\\x1e[[[0, 0], [1, 1]], [[0, 1, true, 0, 0]]]')\nraise ValueError('after a reply of its own')\n",
    "left_behind = 1\ndef print(*a): pass\n" + TWO_JOINTS,
)
# Each looks for what a meddler may have left.
WITNESSES = (
    "left_behind\n" + TWO_JOINTS,
    "import random\n" + with_body("a = wc.add_joint(random.random(), 0)", "wc.add_muscle(a, wc.add_joint(1, 2))"),
    with_body("a = wc.add_joint(np.sin(np.pi / 2), math.cos(0))", "wc.add_muscle(a, wc.add_joint(3, 4))"),
    *SEEDS,
)
# Each stops its worker, or has it killed.
KILLERS = (
    "while True: pass",
    "x = 7 ** 1_000_000\nfor _ in range(9): x = x * x\n",
    "print('x' * 10_000_000)",
    "x = [0] * 1_000_000\nreturn x",
    "x = [0]\nwhile True: x += x",
    "def f(): return f()\nf()",
)


def outcome(result: tuple[WalkerDesign, dict[str, int]] | ProgramError) -> Outcome:
    if isinstance(result, ProgramError):
        return result.kind, result.message
    design, repairs = result
    return design.to_program(), repairs


def one_by_one(programs: Iterable[str], sandbox: Sandbox) -> list[Outcome]:
    found = []
    for program in programs:
        try:
            found.append(outcome(compile_program(program, sandbox)))
        except ProgramError as error:
            found.append(outcome(error))
    return found


def all_at_once(programs: Iterable[str], sandbox: Sandbox) -> list[Outcome]:
    return [outcome(result) for result in compile_programs(programs, sandbox)]


@pytest.fixture(scope="module", params=[1, 3])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(processes=request.param) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def expected() -> dict[str, Outcome]:
    """What programs come to in workers that have never run another."""
    found = {}
    for program in dict.fromkeys((*MEDDLERS, *WITNESSES)):
        with Sandbox(1) as fresh:
            found[program] = one_by_one([program], fresh)[0]
    return found


def test_no_program_sees_what_another_left_behind(sandbox: Sandbox, expected: dict[str, Outcome]) -> None:
    rng = random.Random(0)
    programs = [program for pair in itertools.product(MEDDLERS, WITNESSES[:4]) for program in pair]
    programs += rng.choices((*MEDDLERS, *WITNESSES), k=100)
    wanted = [expected[program] for program in programs]
    assert all_at_once(programs, sandbox) == wanted
    assert one_by_one(programs, sandbox) == wanted


def test_programs_that_stop_their_workers_change_nothing_for_their_neighbours(
    sandbox: Sandbox, expected: dict[str, Outcome]
) -> None:
    witnesses = itertools.cycle(WITNESSES)
    programs = [p for killer in KILLERS for p in (next(witnesses), next(witnesses), killer, next(witnesses))]
    found = all_at_once(programs, sandbox)
    for program, result in zip(programs, found, strict=True):
        if program in KILLERS:
            assert result[0] in {"time_limit", "memory_limit", "recursion_limit"}
        else:
            assert result == expected[program]


def damaged(programs: list[str], count: int) -> Iterator[str]:
    """Programs with some of their words removed, repeated, moved or replaced."""
    rng = random.Random(1)
    strangers = (
        "foo",
        "1/0",
        "np.sin",
        "import os",
        "open('x')",
        "None",
        "[",
        ")",
        "yield",
        "1e400",
        "10**400",
        "é",
        "\t",
    )
    for _ in range(count):
        words = re.findall(r"\w+|\s+|[^\w\s]", rng.choice(programs))
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(words))
            words[at : at + rng.randrange(2)] = rng.choice(([], [rng.choice(words)], [rng.choice(strangers)]))
        yield "".join(words)


def test_many_at_a_time_get_the_answers_they_get_one_by_one(sandbox: Sandbox) -> None:
    folder = Path(__file__).parent / "hostile_programs"
    hostile = [path.read_bytes().decode("utf-8", "surrogateescape") for path in sorted(folder.glob("bad_*.py"))]
    programs = [*SEEDS, *hostile, "\0", "#" * 100_000, *damaged(SEEDS, 300)]
    found = all_at_once(programs, sandbox)
    assert found == one_by_one(programs, sandbox)
    assert len({kind for kind, _ in found}) > 12


def test_a_stream_is_read_no_further_ahead_than_there_are_workers() -> None:
    read = []

    def stream() -> Iterator[str]:
        for number in range(10):
            read.append(number)
            yield TWO_JOINTS if number % 3 else "\0"

    with Sandbox(2) as sandbox:
        for number, result in enumerate(compile_programs(stream(), sandbox)):
            assert isinstance(result, ProgramError) == (number % 3 == 0)
            assert len(read) <= number + 3
    assert read == list(range(10))
    assert number == 9


def test_what_is_left_of_an_abandoned_stream_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(2) as sandbox:
        expected = compile_program(TWO_JOINTS, sandbox)
        for program in (SEEDS[2], "while True: pass", SEEDS[5]):
            results = compile_programs([TWO_JOINTS, program, program, program], sandbox)
            assert next(results) == expected
            # While it waits, others are served; and when it is given up, no answer of its programs is taken for theirs.
            assert compile_program(TWO_JOINTS, sandbox) == expected
            results.close()
            assert all_at_once([TWO_JOINTS] * 5, sandbox) == [outcome(expected)] * 5
        started = []
        start = Interpreter.start
        monkeypatch.setattr(Interpreter, "start", lambda self, *a: started.append(self.pid) or start(self, *a))
        for _ in range(10):
            all_at_once([TWO_JOINTS] * 5, sandbox)
        assert len(set(started)) <= 2, "workers are used again"


def test_an_interruption_between_a_program_and_its_answer_costs_only_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Sandbox(1) as sandbox:
        expected = compile_program(TWO_JOINTS, sandbox)

        def interrupted(self: Interpreter, max_printed: int) -> object:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Interpreter, "finish", interrupted)
            for run in (lambda: compile_program(SEEDS[3], sandbox), lambda: all_at_once(SEEDS[3:], sandbox)):
                with pytest.raises(KeyboardInterrupt):
                    run()
        assert compile_program(TWO_JOINTS, sandbox) == expected
        assert all_at_once([TWO_JOINTS, SEEDS[0]], sandbox) == one_by_one([TWO_JOINTS, SEEDS[0]], sandbox)
