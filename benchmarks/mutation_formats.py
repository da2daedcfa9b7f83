"""How should a mutation model write a child: whole, as SEARCH/REPLACE blocks, or as a unified diff? And against GP?

Usage: ``python -m benchmarks.mutation_formats --run runs/laptop [--steps N] [--write]``. One model a format is trained on
the history of the run's evolution, for the same number of steps; then each operator alone continues a copy of the run for a
few iterations, from the same maps. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.tables import markdown_table, publish
from elm_rl.evolution.map_elites import EvolveConfig, run_evolution
from elm_rl.mutation.examples import FORMATS
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.language_model import LanguageModelMutation, ModelOptions
from elm_rl.mutation.operator import MutationOperator
from elm_rl.mutation.training import MutationTrainingConfig, run_mutation_training
from elm_rl.runs.run_directory import CONFIG_FILE, SUMMARY_FILE, read_json
from sodarace_gym.evaluation import Evaluator


def continue_run(
    evolution: Path, operator: MutationOperator, source: str, iterations: int, work: Path
) -> dict[str, Any]:
    """Continues a copy of an evolution run with one operator alone; returns the operator's figures."""
    copy = work / "run"
    shutil.copytree(evolution, copy)
    stored = read_json(copy / CONFIG_FILE)
    done = read_json(copy / SUMMARY_FILE)["iterations"]
    config = EvolveConfig(
        out=copy,
        seeds=tuple(stored["seeds"]),
        terrains=tuple(stored["terrains"]),
        iterations=done + iterations,
        batch_size=stored["batch_size"],
        operators=(source,),
        shares=(1.0,),
        duration=stored["duration"],
        seed=stored["seed"],
    )
    with Evaluator(duration=config.duration) as evaluator:
        summary = run_evolution(config, [operator], evaluator, resume=True).summary
    shutil.rmtree(copy)
    figures: dict[str, Any] = summary["phases"][-1]["operators"][operator.name]
    return figures


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of an `elm-rl pipeline` run")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of each model (default 1000)")
    parser.add_argument("--iterations", type=int, default=2, help="iterations each operator goes on for (default 2)")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.7, 1.0], help="sampling temperatures")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/mutation_formats.md")
    options = parser.parse_args()
    evolution = options.run / "evolution"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        operators: list[tuple[str, MutationOperator, str]] = [("GP", GPMutation(), "gp")]
        for format_name in FORMATS:
            model = work / format_name
            run_mutation_training(
                MutationTrainingConfig(
                    evolution=(evolution,), out=model, format=format_name, batch_size=8, max_steps=options.steps
                )
            )
            for temperature in options.temperatures:
                operator = LanguageModelMutation(model, ModelOptions(temperature=temperature), name=format_name)
                operators.append((f"{format_name}, temperature {temperature:g}", operator, f"model:{model}"))
        for label, mutator, source in operators:
            figures = continue_run(evolution, mutator, source, options.iterations, work)
            percents = [f"{figures[f'{key}_percent']:.1f}" for key in ("applied", "valid", "new", "admitted")]
            rows.append([label, figures["proposed"], *percents])
    history = read_json(evolution / SUMMARY_FILE)
    body = (
        f"Run: {history['evaluations']:,} evaluations, {history['admitted']:,} admitted. Models of about 1M parameters, "
        f"{options.steps} steps of 8 examples, seed 0; one model a format. All operators start from the same "
        "maps. Applied: a program came out; valid: it built a walker; new: the run had not seen that walker; admitted: "
        "a map took it.\n\n"
        + markdown_table(["operator", "children", "applied %", "valid %", "new %", "admitted %"], rows)
    )
    publish("mutation_formats", "How should a mutation model write a child?", body, options.write)


if __name__ == "__main__":
    main()
