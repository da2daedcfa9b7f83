"""The command line: ``python -m sodarace_gym.suite``, with the commands run, table and list."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sodarace_gym.suite.definition import load_definition
from sodarace_gym.suite.entry import ENTRY_POINTS, installed, read_entry
from sodarace_gym.suite.errors import SuiteError
from sodarace_gym.suite.log import ENTRY_FILE
from sodarace_gym.suite.plots import draw_results
from sodarace_gym.suite.results import join_results, load_results, needed, write_results
from sodarace_gym.suite.runner import DEFAULT_BUDGETS, Plan, Progress, run_suite
from sodarace_gym.suite.tables import results_page

_ABOUT = """The benchmark of generators of walkers (docs/benchmark.md).

A generator is a class with a name and a method that writes programs for a terrain:

    class Mine:
        name = "my generator"

        def generate(self, task, rng):      # task.terrain, task.budget, task.left, task.evaluate(programs)
            return [program, ...]           # best guess first; or spend task.evaluate, and return nothing

Enter it, and read the table:

    python -m sodarace_gym.suite run mine.py:Mine --out runs/suite
    python -m sodarace_gym.suite table --out runs/suite
"""
_RUN = """Runs a generator on the terrains of the suite, and adds its rows to OUT/results.parquet.

    python -m sodarace_gym.suite run mine.py:Mine --out runs/suite
    python -m sodarace_gym.suite run mine.py:Mine --set temperature=0.7 --groups paper --budgets 64 --out runs/try

Stopped at any moment, the same command goes on with what is missing, and ends with the same rows. The table counts whole
runs: all seeds on all terrains that any generator in the folder has done.
"""
_TABLE = """Makes the tables and pictures of all generators in a folder, from OUT/results.parquet alone.

    python -m sodarace_gym.suite table --out runs/suite                      # prints the tables
    python -m sodarace_gym.suite table --out runs/suite --write suite.md     # and writes them, with pictures beside
    python -m sodarace_gym.suite table --out runs/suite --beside benchmarks/results/suite.parquet     # with the published ones
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What stands behind the command; None for those of the process.

    Returns:
        The exit status: 0, 1 where a generator raised, 2 where nothing could be done.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.do(options)
        return status
    except SuiteError as error:
        if error.__cause__ is not None:  # an entrant's own file
            traceback.print_exception(error.__cause__)
        print(f"error: {error}", file=sys.stderr)
    except (ImportError, OSError, RuntimeError, ValueError) as error:  # of the backend, or of the folder
        print(f"error: {error}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m sodarace_gym.suite", description=_ABOUT, formatter_class=shape)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a generator", description=_RUN, formatter_class=shape)
    run.add_argument(
        "generator",
        metavar="GENERATOR",
        help="path/to/file.py:Class, package.module:Class, or the name of an installed one",
    )
    run.add_argument("--out", type=Path, required=True, help="folder of the results, which generators share")
    run.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="an argument of the class; may be repeated"
    )
    add_plan(run)
    run.set_defaults(do=_run)
    table = commands.add_parser("table", help="make the tables", description=_TABLE, formatter_class=shape)
    table.add_argument("--out", type=Path, required=True, help="folder of the results")
    table.add_argument(
        "--beside", type=Path, nargs="+", default=[], metavar="PATH", help="folders or Parquet files of further results"
    )
    table.add_argument("--write", type=Path, metavar="FILE", help="a Markdown file to write them to, with pictures")
    table.set_defaults(do=_table)
    shown = commands.add_parser("list", help="show the terrains, budgets, rules and installed generators")
    shown.set_defaults(do=_list)
    return parser


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what of the suite is run, for :func:`read_plan`."""
    definition = load_definition()
    parser.add_argument("--terrains", nargs="+", default=[], metavar="TEXT", help="these alone (default: all)")
    parser.add_argument("--groups", nargs="+", default=[], metavar="NAME", help="these alone (default: all)")
    parser.add_argument(
        "--budgets",
        nargs="+",
        type=int,
        default=list(DEFAULT_BUDGETS),
        metavar="N",
        help=f"of {', '.join(map(str, definition.budgets))} (default: {', '.join(map(str, DEFAULT_BUDGETS))})",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="these alone (default: all)")
    parser.add_argument("--n-jobs", type=int, default=-1, help="tasks side by side; -1 for one a core")
    parser.add_argument(
        "--backend", default="loky", help="joblib backend: loky (processes here), dask, ray (docs/cluster.md)"
    )


def read_plan(options: argparse.Namespace) -> Plan:
    """The plan that a command line asks for."""
    return Plan(options.terrains, options.groups, options.budgets, options.seeds, options.n_jobs, options.backend)


def show_row(number: int, total: int, row: dict[str, Any]) -> None:
    """Prints a line about a cell that is done."""
    what = row["error"] or f"{row['best']:.1f} units, {row['best'] / row['reference']:.2f} of the reference"
    print(f"[{number}/{total}] {row['terrain']}, budget {row['budget']}, seed {row['seed']}: {what}", flush=True)


def show_failures(progress: Progress) -> None:
    """Prints what a generator raised first, and how often it raised."""
    if progress.failed:
        print(progress.failed[0]["traceback"], file=sys.stderr)
        print(
            f"error: '{progress.name}' raised in {len(progress.failed)} of {progress.done} tasks; the first traceback stands "
            "above, all are in results.parquet. Run the same command again to repeat these tasks.",
            file=sys.stderr,
        )


def _run(options: argparse.Namespace) -> int:
    for package in ("pandas", "pyarrow"):
        needed(package)  # before hours of work
    progress = run_suite(read_entry(options.generator, options.set), options.out, read_plan(options), told=show_row)
    path = write_results(options.out)
    print(f"'{progress.name}': {progress.done} tasks done, {progress.kept} were done before. Written to {path}.")
    show_failures(progress)
    return 1 if progress.failed else 0


def _table(options: argparse.Namespace) -> int:
    if any(options.out.glob(f"*/{ENTRY_FILE}")):  # else the file alone was handed on
        write_results(options.out)
    results = join_results([load_results(path) for path in (options.out, *options.beside)])
    pictures: list[tuple[str, str]] = []
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        pictures = draw_results(results, options.write.parent, options.write.stem)
    page = results_page(results, load_definition(), pictures)
    print(page)
    if options.write is not None:
        options.write.write_text(f"# The benchmark of generators\n\n{page}\n", encoding="utf-8")
        print(f"Written to {options.write}.", file=sys.stderr)
    return 0


def _list(options: argparse.Namespace) -> int:
    definition = load_definition()
    print(f"Version {definition.version} ({definition.digest})")
    print(f"Budgets: {', '.join(f'{budget:,}' for budget in definition.budgets)} evaluations a task")
    print(f"Seeds: {', '.join(map(str, definition.seeds))}")
    print(f"Copies: {definition.seen_copies} with every evaluation, {definition.judged_copies} in the end")
    for name, about in definition.groups.items():
        print(f"\n{name}: {about}")
        for terrain in definition.chosen(groups=[name]):
            print(f"  {terrain.text:42}  reference {terrain.reference:6.1f}")
    for name, rule in definition.rules.items():
        print(f"\nRule of {name}: {rule}")
    print(f"\nInstalled generators (entry points of the group {ENTRY_POINTS}):")
    for name, target in installed().items():
        print(f"  {name}: {target}")
    return 0
