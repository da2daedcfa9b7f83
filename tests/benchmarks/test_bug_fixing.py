"""The bug-fixing benchmark: behaviour alone decides, nothing runs outside the sandbox, and a killed run goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bug_fixing, tables
from benchmarks.bug_fixing import PARITY, POINTS, QUADRATIC, Judge, Problem, make_operator, measure, totals
from elm_rl.errors import ConfigError, ElmError
from elm_rl.mutation.operator import Child, MutationOperator, Parent
from sodarace_gym.programs.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(processes=1) as shared:
        yield shared


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bug_fixing, "CHUNK", 20)
    monkeypatch.setattr(bug_fixing, "POINTS", [(PARITY, 1), (QUADRATIC, 2)])


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize(("problem", "bugs"), POINTS, ids=lambda value: getattr(value, "name", value))
def test_every_bug_changes_one_more_place_and_none_is_the_right_program(
    problem: Problem, bugs: int, sandbox: Sandbox
) -> None:
    before, after = problem.buggy(bugs - 1), problem.buggy(bugs)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert problem.buggy(0) == problem.source
    assert Judge(problem, sandbox).fixed([after, problem.source]) == [False, True]


@pytest.mark.parametrize(
    ("problem", "program"),
    [
        (PARITY, "def parity(p, q, r, s):\n    return p ^ q ^ r ^ s"),
        (PARITY, "def parity(*bits):\n    return sum(bits) % 2 == 1\n"),
        (QUADRATIC, "def quadratic(a, b, c, x):\n    y = (a * x + b) * x + c\n    return float(y)\n"),
    ],
)
def test_another_way_to_the_right_values_counts(problem: Problem, program: str, sandbox: Sandbox) -> None:
    assert Judge(problem, sandbox).fixed([program]) == [True]


@pytest.mark.parametrize(
    "program",
    [
        "",
        "def parity(b1, b2, b3, b4):\n    return 0\n",
        "def parity(b1, b2, b3, b4):\n    pass\n",
        "def parity(b1, b2, b3, b4):\n    return '1'\n",
        "def parity(b1, b2, b3):\n    return (b1 + b2 + b3) % 2\n",
        "def parity(b1, b2, b3, b4):\n    while True:\n        pass\n",
        "def parity(b1, b2, b3, b4):\n    return open('canary/secret.txt').read()\n",
        "def parity(b1, b2, b3, b4):\n    return (b1 + b2 + b3 + b4) % 2\n'''",
        "def other(b1, b2, b3, b4):\n    return (b1 + b2 + b3 + b4) % 2\n",
        "def make_walker():\n    return [(0, 0), (0, 1)], []\n",
        "x = " + "(" * 30_000 + ")" * 30_000,
        "x = 1\n" * 50_000,
    ],
    ids=["empty", "constant", "none", "text", "arity", "loop", "file", "cut", "name", "walker", "deep", "long"],
)
def test_what_computes_something_else_or_nothing_is_not_fixed(program: str, sandbox: Sandbox) -> None:
    judge = Judge(PARITY, sandbox)
    assert judge.fixed([program, PARITY.source, PARITY.buggy(5)]) == [False, True, False]


def test_a_program_met_before_is_not_run_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(PARITY, sandbox)
    programs = [PARITY.buggy(1), PARITY.buggy(2), PARITY.buggy(1)]
    assert judge.fixed(programs) == [False] * 3
    monkeypatch.setattr(sandbox, "run_many", lambda sources, processes: iter([]) if not list(sources) else None)
    assert judge.fixed([*programs, PARITY.source]) == [False, False, False, True]


def test_blind_gp_makes_as_many_edits_as_asked_and_fixes_a_bug_now_and_then(sandbox: Sandbox) -> None:
    row = bug_fixing.try_chunk(
        make_operator("gp-blind", edits=1), "gp-blind", QUADRATIC, 1, 0, 0, 1000, Judge(QUADRATIC, sandbox)
    )
    assert row["applied"] >= 990
    assert 1 <= row["fixed"] <= 50


def test_a_killed_run_goes_on_to_the_same_figures(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(["gp-blind", "gp"], 50, 0, tmp_path / "whole.jsonl")
    assert [row["trials"] for row in whole] == [20, 20, 10] * 4
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    killed = tmp_path / "killed.jsonl"
    killed.write_bytes(b"".join(lines[:5]) + lines[5][:30])
    measured = []
    original = bug_fixing.try_chunk

    def counted(*arguments: Any) -> dict[str, Any]:
        measured.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(bug_fixing, "try_chunk", counted)
    resumed = measure(["gp-blind", "gp"], 50, 0, killed)
    assert without_seconds(resumed) == without_seconds(whole)
    assert resumed[:5] == whole[:5]
    assert len(measured) == len(lines) - 5
    assert without_seconds([json.loads(line) for line in killed.read_text().splitlines()]) == without_seconds(whole)
    measured.clear()
    assert measure(["gp"], 50, 0, killed) == [row for row in resumed if row["operator"] == "gp"]
    assert measured == []
    more = measure(["gp"], 80, 0, killed)
    assert len(measured) == 2 * 2, "whole chunks are kept when more trials are asked for"
    assert totals(more, "gp", PARITY.name, 1)[1] == 80


def test_what_is_no_tree_gp_is_made_once_and_sees_the_docstring(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Copier(MutationOperator):
        closed = 0

        def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
            for parent in parents:
                assert "Returns" in parent.program
                fixed = parent.program.replace("c1", "b1") if rng.random() < 0.5 else None
                yield Child(fixed, "copier", "")

        def close(self) -> None:
            Copier.closed += 1

    made: list[tuple[str, int]] = []
    monkeypatch.setattr(bug_fixing, "MODEL_TRIALS", 60)
    monkeypatch.setattr(bug_fixing, "make_operator", lambda name, edits: made.append((name, edits)) or Copier())
    rows = measure(["copier", "another"], None, 0, tmp_path / "bugs.jsonl")
    fixed, trials, applied, _ = totals(rows, "copier", PARITY.name, 1)
    assert (trials, fixed) == (60, applied)
    assert 15 < fixed < 45
    assert totals(rows, "copier", QUADRATIC.name, 2)[0] == 0
    assert Counter(made) == {("copier", 1): 2, ("another", 1): 2}, "once to see whether the name is right"
    assert Copier.closed == len(made)


def test_chunks_have_random_numbers_of_their_own(few: None, tmp_path: Path, sandbox: Sandbox) -> None:
    operator, judge = make_operator("gp-blind", 1), Judge(QUADRATIC, sandbox)
    children: list[list[str | None]] = []
    original = operator.children

    def recorded(*arguments: Any) -> Any:
        made = list(original(*arguments))
        children.append([child.program for child in made])
        return iter(made)

    operator.children = recorded  # type: ignore[method-assign]
    for seed, chunk in ((0, 0), (0, 1), (1, 0), (0, 0)):
        bug_fixing.try_chunk(operator, "gp-blind", QUADRATIC, 1, seed, chunk, 20, judge)
    assert children[0] == children[3]
    assert children[0] != children[1] != children[2] != children[0]


def test_any_operator_of_an_evolution_can_be_named(few: None, tmp_path: Path) -> None:
    name = "gp-blind,edits=2,max_edits=2,crossover=0"
    rows = measure([name], 20, 0, tmp_path / "bugs.jsonl")
    assert [row["operator"] for row in rows] == [name, name]
    with pytest.raises(ElmError, match="crossover is 7"):
        measure(["gp-blind,crossover=7"], 20, 0, tmp_path / "bugs.jsonl")


def test_an_unknown_operator_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no operator 'gp-seeing'; expected one of gp, builtin, gp-blind"):
        measure(["gp", "gp-seeing"], 10, 0, tmp_path / "runs" / "bugs.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_table_and_picture(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (tables, bug_fixing):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    out = tmp_path / "bugs.jsonl"
    rows = [
        {"operator": name, "problem": problem, "bugs": bugs, "seed": 0, "chunk": 0, "trials": 20, "applied": 20}
        | {"fixed": fixed, "seconds": 0.02}
        for name, problem, bugs, fixed in (
            ("gp-blind", "4-parity", 1, 5),
            ("gp-blind", "quadratic", 2, 1),
            ("gp", "4-parity", 1, 0),
            ("gp", "quadratic", 2, 0),
        )
    ]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("sys.argv", ["benchmarks/bug_fixing.py", "--trials", "20", "--out", str(out), "--write"])
    bug_fixing.main()
    text = (tmp_path / "bug_fixing.md").read_text()
    assert "| 4-parity, 1 | 25.00 [11.19, 46.87] (5 of 20) | 0 [0, 16.11] (0 of 20) |" in text
    assert "| gp-blind | 40 | 100.0 | 1.00 |" in text
    assert "python -m benchmarks.bug_fixing --trials 20" in text
    assert (tmp_path / "bug_fixing.png").stat().st_size > 5000


def test_nonsense_on_the_command_line_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for arguments in (["--trials", "0"], ["--operators", "nobody"]):
        monkeypatch.setattr("sys.argv", ["bug_fixing.py", *arguments, "--out", str(tmp_path / "x")])
        with pytest.raises(SystemExit):
            bug_fixing.main()
        assert "expected" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
