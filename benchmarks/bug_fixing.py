"""How often does one mutation fix all bugs of a small program? The test of Lehman et al. (2022), for any operator by name.

Usage: ``python -m benchmarks.bug_fixing [--operators gp-blind gp] [--trials N] [--out FILE] [--write]``. A function that tells
the parity of four bits has one to five bugs (four misnamed variables, a wrong modulus), a quadratic one or two (a minus for a
plus). An operator is given the program with its bugs and makes one child; the child counts as fixed if it computes the right
value for every input, in the sandbox. What was measured is kept in ``--out``: the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import RESULTS, markdown_table, publish, wilson_interval
from elm_rl.errors import ElmError
from elm_rl.mutation import specs
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.gp.program_tree import normalise_program
from elm_rl.mutation.gp_blind.operator import GPBlindMutation, GPBlindOptions
from elm_rl.mutation.operator import MutationOperator, parents_of
from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.sandbox import Sandbox

TREE_GP = ("gp-blind", "gp")
"""Operators that read a program's tree and not its docstring."""
CHUNK = 1_000
"""Trials between two lines of the file that a run goes on from."""
GP_TRIALS = 100_000
"""Trials a point for tree GP, as in the paper."""
MODEL_TRIALS = 1_000
"""Trials a point for all others."""
_ALWAYS = 1.0 - 1e-12  # GPMutation takes odds below 1


@dataclass(frozen=True)
class Problem:
    """A function, and what is wrong with it.

    Attributes:
        name: What it is called in tables.
        function: Its name in the program.
        source: The program without bugs.
        bugs: (right, wrong) texts; with n bugs the first n are in the program, each in place of the text's first occurrence
            after the docstring.
        inputs: The values that each argument takes, in all combinations.
    """

    name: str
    function: str
    source: str
    bugs: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[int, ...], ...]

    def buggy(self, bugs: int) -> str:
        """The program with its first so many bugs."""
        head, mark, body = self.source.rpartition('"""\n')
        for right, wrong in self.bugs[:bugs]:
            if right not in body:
                raise ValueError(f"The {self.name} has no {right!r} to make a bug of.")
            body = body.replace(right, wrong, 1)
        return head + mark + body

    def probe(self, program: str) -> str:
        """The program with a walker behind it whose joints stand as high as what the function returns, one for each input.

        So it runs where all programs of models run, and what it computes comes back as numbers.
        """
        names = [f"v{number}" for number in range(len(self.inputs))]
        loops = " ".join(f"for {name} in {values}" for name, values in zip(names, self.inputs, strict=True))
        return f"{program}\n\ndef make_walker():\n    return [(0, {self.function}({', '.join(names)})) {loops}], []\n"


PARITY = Problem(
    "4-parity",
    "parity",
    '''\
def parity(b1, b2, b3, b4):
    """Returns the parity of four bits: 0 if an even number of them is 1, else 1."""
    bit_sum = sum([b1, b2, b3, b4])
    return bit_sum % 2
''',
    (("[b1,", "[c1,"), (" b2,", " c2,"), (" b3,", " c3,"), (" b4]", " c4]"), ("% 2", "% 3")),
    ((0, 1),) * 4,
)
QUADRATIC = Problem(
    "quadratic",
    "quadratic",
    '''\
def quadratic(a, b, c, x):
    """Returns the value at x of the quadratic polynomial with the coefficients a, b and c."""
    return a * x ** 2 + b * x + c
''',
    (("2 + b", "2 - b"), ("x + c", "x - c")),
    ((-2, 1, 3), (-2, 1, 3), (-2, 1, 3), (-3, -1, 0, 2, 5)),
)
PROBLEMS = (PARITY, QUADRATIC)
POINTS = [(problem, bugs) for problem in PROBLEMS for bugs in range(1, len(problem.bugs) + 1)]


class Judge:
    """Tells whether programs compute what a problem asks for. Remembers its verdicts.

    Args:
        problem: The problem.
        sandbox: Where programs run; none is ever run, or parsed, anywhere else.
        right: What the function returns for each input; left out, it is what the program without bugs does.
    """

    def __init__(self, problem: Problem, sandbox: Sandbox, right: Sequence[float] | None = None) -> None:
        self._problem = problem
        self._sandbox = sandbox
        if right is None:
            right = [y for _, y in sandbox.run(problem.probe(problem.source)).joints]
        self._right = list(right)
        self._verdicts = {problem.source: True, normalise_program(problem.source): True}

    def fixed(self, programs: Sequence[str]) -> list[bool]:
        """Whether each program returns the right value for every input."""
        new = list(dict.fromkeys(program for program in programs if program not in self._verdicts))
        runs = self._sandbox.run_many(map(self._problem.probe, new), processes=1)
        for program, raw in zip(new, runs, strict=True):
            self._verdicts[program] = not isinstance(raw, ProgramError) and [y for _, y in raw.joints] == self._right
        return [self._verdicts[program] for program in programs]


def make_operator(name: str, edits: int) -> MutationOperator:
    """An operator by its name.

    Args:
        name: One of `TREE_GP`, or any other name that `elm-rl evolve` takes, with its settings.
        edits: How many edits `TREE_GP` makes of a program; other operators decide for themselves.

    Raises:
        ElmError: There is no operator of that name, or its model cannot be loaded.
    """
    if name == "gp-blind":
        return GPBlindMutation(GPBlindOptions(crossover=0.0, edits=edits, max_edits=edits))
    if name == "gp":
        return GPMutation(more_edits=_ALWAYS, max_edits=edits)
    (spec,) = specs.read_specs([name])
    return specs.make_operator(spec, background=False)


def chunks_of(trials: int) -> list[int]:
    """The sizes of the chunks that so many trials are made in."""
    return [min(CHUNK, trials - start) for start in range(0, trials, CHUNK)]


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells one chunk of trials from all others."""
    return tuple(row[name] for name in ("operator", "problem", "bugs", "seed", "chunk", "trials"))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The chunks measured so far. What follows the last whole line was being written when a run was killed: it is cut off."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def try_chunk(
    operator: MutationOperator, name: str, problem: Problem, bugs: int, seed: int, chunk: int, trials: int, judge: Judge
) -> dict[str, Any]:
    """Mutates a program so many times; counts the children that are fixed. The chunk has random numbers of its own."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{name} {problem.name} {bugs}".encode()), chunk])
    program = problem.buggy(bugs)
    if name in TREE_GP:
        program = normalise_program(program)  # without it, an edit that does nothing would still give another text
    parents = parents_of([program] * trials)
    begun = time.perf_counter()
    children = [child.program for child in operator.children(parents, rng)]
    seconds = time.perf_counter() - begun
    programs = [program for program in children if program is not None]
    return {
        "operator": name,
        "problem": problem.name,
        "bugs": bugs,
        "seed": seed,
        "chunk": chunk,
        "trials": trials,
        "applied": len(programs),
        "fixed": sum(judge.fixed(programs)),
        "seconds": round(seconds, 3),
    }


def measure(names: Sequence[str], trials: int | None, seed: int, path: Path) -> list[dict[str, Any]]:
    """Measures what is not in the file yet, and adds it there.

    Args:
        names: Operators.
        trials: Trials a point; by default `GP_TRIALS` for tree GP and `MODEL_TRIALS` for others.
        seed: Seed of all trials.
        path: The file.

    Returns:
        The chunks asked for.
    """
    done = {key_of(row): row for row in read_rows(path)}
    for name in names:
        make_operator(name, edits=1).close()  # a name that means nothing is refused before anything is measured
    rows: list[dict[str, Any]] = []
    made = ("", 0)  # the operator in use, which a model's name gives only once
    path.parent.mkdir(parents=True, exist_ok=True)
    with Sandbox(processes=1) as sandbox, path.open("a", encoding="utf-8") as file, ExitStack() as operators:
        for name, (problem, bugs) in product(names, POINTS):
            sizes = chunks_of(trials or (GP_TRIALS if name in TREE_GP else MODEL_TRIALS))
            missing = [c for c, size in enumerate(sizes) if (name, problem.name, bugs, seed, c, size) not in done]
            judge = Judge(problem, sandbox)
            for chunk in missing:
                if made != (wanted := (name, bugs if name in TREE_GP else 1)):
                    operators.close()
                    made, operator = wanted, operators.enter_context(closing(make_operator(*wanted)))
                row = try_chunk(operator, name, problem, bugs, seed, chunk, sizes[chunk], judge)
                done[key_of(row)] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
            rows += [done[name, problem.name, bugs, seed, c, size] for c, size in enumerate(sizes)]
            fixed, count, *_ = totals(rows, name, problem.name, bugs)
            print(f"{name}, {problem.name}, {bugs} bugs: {fixed} of {count} fixed", file=sys.stderr, flush=True)
    return rows


def totals(rows: Sequence[Mapping[str, Any]], operator: str, problem: str, bugs: int) -> tuple[int, int, int, float]:
    """Fixed, trials, applied and seconds of one operator at one point."""
    own = [r for r in rows if (r["operator"], r["problem"], r["bugs"]) == (operator, problem, bugs)]
    fixed, trials, applied = (sum(int(row[name]) for row in own) for name in ("fixed", "trials", "applied"))
    return fixed, trials, applied, sum(float(row["seconds"]) for row in own)


def percent(share: float) -> str:
    """A share in percent, with three significant digits below 1%."""
    return f"{100 * share:.2f}" if share >= 0.01 else f"{100 * share:.3g}"


def tables(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """What was fixed, and what it took, Markdown."""
    shares, costs = [], []
    for problem, bugs in POINTS:
        cells = []
        for name in names:
            fixed, trials, *_ = totals(rows, name, problem.name, bugs)
            low, high = wilson_interval(fixed, trials)
            cells.append(f"{percent(fixed / trials)} [{percent(low)}, {percent(high)}] ({fixed:,} of {trials:,})")
        shares.append([f"{problem.name}, {bugs}", *cells])
    for name in names:
        _, trials, applied, seconds = map(
            sum, zip(*(totals(rows, name, p.name, bugs) for p, bugs in POINTS), strict=True)
        )
        costs.append([name, f"{trials:,}", f"{100 * applied / trials:.1f}", f"{1000 * seconds / trials:.2f}"])
    return (
        markdown_table(["problem, bugs", *(f"{name}, % fixed" for name in names)], shares)
        + "\n\n"
        + markdown_table(["operator", "children", "applied %", "ms a child"], costs)
    )


def draw(rows: Sequence[Mapping[str, Any]], names: Sequence[str], path: Path) -> None:
    """Draws the shares over the number of bugs; where nothing was fixed, an arrow hangs from the interval's upper end."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(PROBLEMS), figsize=(8.0, 3.5), layout="constrained", sharey=True)
    for axes, problem in zip(panels, PROBLEMS, strict=True):
        counts = range(1, len(problem.bugs) + 1)
        for number, name in enumerate(names):
            color = f"C{number}"
            found = [(bugs, *totals(rows, name, problem.name, bugs)[:2]) for bugs in counts]
            some = [(bugs, fixed / trials, *wilson_interval(fixed, trials)) for bugs, fixed, trials in found if fixed]
            if some:
                x, y, low, high = np.array(some).T
                axes.errorbar(x, y, [y - low, high - y], color=color, marker="o", capsize=3, label=name)
            for bugs, fixed, trials in found:
                if not fixed:
                    shown = bugs + 0.06 * number  # arrows of several operators would lie on one another
                    axes.plot(
                        shown, wilson_interval(0, trials)[1], color=color, marker="v", fillstyle="none", label=None
                    )
            if not some:
                axes.plot([], [], color=color, marker="v", fillstyle="none", label=name)
        axes.set(yscale="log", title=problem.name, xlabel="bugs", xticks=list(counts))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share of children with all bugs fixed")
    panels[-1].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measures what is missing, prints and optionally writes the tables and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--operators", nargs="+", default=["gp-blind", "gp"], help="operators by name, as for `elm-rl evolve`"
    )
    parser.add_argument("--trials", type=int, help="children a point (default 100,000 for tree GP, 1,000 for others)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all trials (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/bug_fixing.jsonl"), help="where measurements are kept")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/bug_fixing.md and .png")
    options = parser.parse_args()
    if options.trials is not None and options.trials < 1:
        parser.error(f"--trials is {options.trials}; expected 1 or more")
    try:
        rows = measure(options.operators, options.trials, options.seed, options.out)
    except ElmError as error:
        parser.error(str(error))
    body = (
        f"Seed {options.seed}. One child a trial, of the program with its bugs; fixed means that the child returns the right "
        "value for all 16 inputs (parity) or 135 whole-number inputs (quadratic). Brackets are 95% Wilson intervals. Bugs 1 "
        "to 4 of the parity misname a variable each, the fifth changes the modulus; the quadratic's turn a plus into a minus. "
        "Tree GP makes as many edits as there are bugs: `gp-blind` exactly so many, of all its kinds, and no crossover (there "
        "is one program only); `gp` so many of the family that its commit message names, and one where that asks for a small "
        "change.\n\n"
        + tables(rows, options.operators)
        + "\n\n![Share of children with all bugs fixed over the number of bugs](bug_fixing.png)"
    )
    if options.write:
        draw(rows, options.operators, RESULTS / "bug_fixing.png")
    publish("bug_fixing", "How often does one mutation fix all bugs of a small program?", body, options.write)


if __name__ == "__main__":
    main()
