"""How far does a walker get on each terrain of the suite? The reference distances, by which scores are normalised.

The rule: MAP-Elites with the operator gp spends the given evaluations on each terrain, once a seed; the reference is the
greatest of the judged distances. The seeds are others than the suite's, so that no run of an entrant is its own measure. The
budget is small enough for anybody to measure the references again.

Usage: ``python -m benchmarks.suite_references --out runs/references --budget 1000 --seeds 5 --version 1 --write``, which took
18 minutes on one core, beside other work; stopped at any moment, the same command goes on. ``--write`` writes the definition
of the suite anew, under a version of its own; the digest that the tests know
(tests/sodarace_gym/suite/test_definition.py) is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from sodarace_gym.suite import Definition, Entry, load_definition
from sodarace_gym.suite import definition as definition_module
from sodarace_gym.suite.cli import show_failures, show_row
from sodarace_gym.suite.definition import DEFINITION_FILE, parse_definition
from sodarace_gym.suite.results import read_results
from sodarace_gym.suite.runner import Plan, run_suite

FIRST_SEED = 1000
"""Seeds of the references begin here."""
LEAST_BUDGET = 1_000
"""References of fewer evaluations are provisional."""
GENERATOR = Entry("benchmarks.entrants.map_elites:MapElites", (("operators", "gp"),))
_FILE = Path(str(definition_module.__file__)).with_name(DEFINITION_FILE)


def measuring(budget: int, seeds: int) -> Definition:
    """The suite with the budget and the seeds of the references, and 1 as every reference."""
    definition = load_definition()
    return replace(
        definition,
        version="references",
        # What was measured before says nothing about what is measured now.
        digest=f"references {budget}",
        budgets=(budget,),
        seeds=tuple(range(FIRST_SEED, FIRST_SEED + seeds)),
        terrains=tuple(replace(terrain, reference=1.0) for terrain in definition.terrains),
    )


def with_references(content: dict[str, Any], distances: dict[str, float], about: dict[str, Any], version: str) -> str:
    """The text of a definition with other references.

    Args:
        content: The definition that there is.
        distances: The reference of each terrain, walker units.
        about: How they came about.
        version: The name of the new version.

    Raises:
        ValueError: A terrain has no reference above 0.
    """
    terrains = []
    for terrain in content["terrains"]:
        distance = round(distances.get(terrain["text"], 0.0), 2)
        if distance <= 0.0:
            raise ValueError(f"No walker moved on '{terrain['text']}': no reference; give more evaluations.")
        terrains.append(terrain | {"reference": distance})
    text = json.dumps(content | {"version": version, "references": about, "terrains": terrains}, indent=1) + "\n"
    parse_definition(text)
    return text


def main() -> int:
    """Measures and, if asked, writes the references."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, which is gone on with")
    parser.add_argument(
        "--budget", type=int, default=LEAST_BUDGET, help=f"evaluations a terrain and seed (default {LEAST_BUDGET})"
    )
    parser.add_argument("--seeds", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument("--terrains", nargs="+", default=[], metavar="TEXT", help="these alone (default: all)")
    parser.add_argument("--n-jobs", type=int, default=-1, help="runs side by side; -1 for one a core")
    parser.add_argument("--version", default="0", help="name of the new version (default 0: provisional)")
    parser.add_argument("--write", action="store_true", help=f"write {DEFINITION_FILE} of the package anew")
    options = parser.parse_args()
    definition = measuring(options.budget, options.seeds)
    plan = Plan(terrains=options.terrains, budgets=definition.budgets, n_jobs=options.n_jobs)
    progress = run_suite(GENERATOR, options.out, plan, definition=definition, told=show_row)
    if progress.failed:
        show_failures(progress)
        return 1
    best = read_results(options.out).groupby("terrain", sort=False)["best"].max().to_dict()
    for terrain, distance in best.items():
        print(f"{terrain:42}  {distance:6.1f}")
    if options.write:
        about = {
            "rule": "the greatest judged distance that MAP-Elites with the operator gp finds on the terrain, over all seeds",
            "budget": options.budget,
            "seeds": list(definition.seeds),
            "provisional": options.budget < LEAST_BUDGET,
            "command": " ".join(["python", "-m", "benchmarks.suite_references", *sys.argv[1:]]),
            "date": date.today().isoformat(),
        }
        content = json.loads(_FILE.read_text(encoding="utf-8"))
        text = with_references(content, best, about, options.version)
        _FILE.write_text(text, encoding="utf-8")
        print(f"Written to {_FILE}; its digest is {parse_definition(text).digest}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
