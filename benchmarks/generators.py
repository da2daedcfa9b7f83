"""Which generator of walkers finds the best walker, and the best walkers on average, at equal evaluations once trained?

The models' training has cost evaluations of its own, which the budget does not count: the result says how many.

Usage: ``python -m benchmarks.generators --run runs/laptop [--budget N] [--seeds N] [--write]``. ``--run`` is the folder of an
``elm-rl pipeline`` run, whose stage 2 and stage 3 models take part; without it the two are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.baselines import (
    Generator,
    GPHillClimbing,
    LanguageModelSamples,
    Meter,
    PolicySamples,
    RandomPrograms,
    SeedPrograms,
)
from benchmarks.learners import vector_ppo
from benchmarks.tables import RESULTS, format_interval, markdown_table, publish
from elm_rl.runs.run_directory import SUMMARY_FILE, read_json
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.paper import TERRAIN_NAMES


def measure(generator: Generator, terrain: str, budget: int, seeds: int) -> dict[str, list[float]] | None:
    """Best and mean fitness and valid % of one generator on one terrain, one value a seed; None if it does not apply."""
    figures: dict[str, list[float]] = {"best": [], "mean": [], "valid": []}
    with Evaluator() as evaluator:
        for seed in range(seeds):
            meter = Meter(evaluator, terrain, budget)
            if not generator.spend(meter, seed):
                return None
            figures["best"].append(max(meter.fitness))
            figures["mean"].append(sum(meter.fitness) / len(meter.fitness))
            figures["valid"].append(100.0 * sum(meter.valid) / len(meter.valid))
    return figures


def published_summaries() -> list[dict[str, Any]]:
    """Summaries of the pipeline runs whose reports are committed."""
    return [read_json(path) for path in sorted(RESULTS.glob(f"laptop_seed*/{SUMMARY_FILE}"))]


def ppo_evaluations(training: Mapping[str, Any]) -> int:
    """Evaluations that a PPO run of the published pipeline runs has spent, from its figures in ``summary.json``.

    They are of a version that did not count them: 128 samples a terrain for the scale of the rewards, 48 programs an update,
    and, every fifth update and at both ends, a matrix of 32 programs for each terrain on each.
    """
    terrains = len(training["terrains"])
    return 128 * terrains + 48 * training["updates"] + (1 + -(-training["updates"] // 5)) * 32 * terrains**2


def _stage3_cost(summary: Mapping[str, Any]) -> str:
    """What the policy of a run had cost beyond the evolution on Flat, in evaluations, as a sentence."""
    stage1, stage3 = summary["stage1"], summary["stage3"]
    terrains, training = stage3["terrains"], stage3["training"]
    if "warm_start" in stage3:  # a published run of an earlier version
        programs = stage3["warm_start"]["programs"]
        warm, ppo = programs * len(terrains), ppo_evaluations(training["finetuned"])
        return (
            f"{warm + ppo:,} more: {warm:,} for its warm start ({programs:,} programs on each of {len(terrains)} terrains) and "
            f"{ppo:,} for PPO, its reward scales and its matrices."
        )
    evolved = stage1["on_the_terrains"]["evaluations"]
    tried = sum(training[name]["evaluations"] for name in ("rank_gradient", "finetuned"))
    return (
        f"{evolved:,} more by evolution on its terrains, from which the stage 2 model learnt too, {tried:,} by its own "
        f"attempts, each with perturbed copies, and a cross table of {stage3['cross_table']['walkers']:,} walkers."
    )


def about_the_models(summary: Mapping[str, Any], published: list[dict[str, Any]]) -> str:
    """What the models of a run had cost before, which run it is, and how many programs the policy knows.

    Args:
        summary: ``summary.json`` of the run.
        published: Summaries of runs that this one may have been chosen from.
    """
    stage1, stage3 = summary["stage1"], summary["stage3"]
    terrains = stage3["terrains"]
    policy = stage3["generators"]["stage3"]

    def distances(run: Mapping[str, Any]) -> list[float]:
        return [run["stage3"]["generators"]["stage3"][name]["mean"] for name in terrains]

    def listed(values: list[float]) -> str:
        return " / ".join(f"{value:.0f}" for value in values)

    names = ", ".join(terrains)
    others = [run for run in published if run["preset"] == summary["preset"] and run["seed"] != summary["seed"]]
    choice = "".join(f", with seed {run['seed']} {listed(distances(run))}" for run in others)
    if others and all(sum(distances(summary)) > sum(distances(run)) for run in others):
        choice += f": the best of {1 + len(others)} runs was taken"
    return (
        "What the evaluations above do not count, and what else the models' rows hide:\n\n"
        f"- Equal are the evaluations *once trained*. The stage 2 model learnt from an evolution of {stage1['evaluations']:,} "
        f"evaluations on Flat. The stage 3 policy took {_stage3_cost(summary)} "
        "The other generators start from nothing, or from the four seeds.\n"
        f"- The models are those of one run: preset {summary['preset']}, seed {summary['seed']}. Mean distances of its stage 3 "
        f"({names}) are {listed(distances(summary))}{choice} ([the runs](laptop.md)).\n"
        f"- The stage 3 policy writes few programs: of {policy[terrains[0]]['samples']} samples a terrain only "
        f"{listed([policy[name]['distinct'] for name in terrains])} ({names}) are distinct."
    )


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of an `elm-rl pipeline` run")
    parser.add_argument(
        "--budget", type=int, default=512, help="evaluations a generator, terrain and seed (default 512)"
    )
    parser.add_argument("--seeds", type=int, default=5, help="repetitions with seeds 0, 1, ... (default 5)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/generators.md")
    options = parser.parse_args()
    generators: list[Generator] = [RandomPrograms(), SeedPrograms(), GPHillClimbing(), vector_ppo()]
    remarks = ""
    if options.run is not None:
        remarks = "\n\n" + about_the_models(read_json(options.run / SUMMARY_FILE), published_summaries())
        generators.append(LanguageModelSamples(options.run / "language_model"))
        generators.append(PolicySamples(options.run / "finetuned"))
    rows: dict[str, list[list[object]]] = {"best": [], "mean": [], "valid": []}
    bar = tqdm(total=len(generators) * len(TERRAIN_NAMES), unit="cell")
    for generator in generators:
        cells: dict[str, list[object]] = {name: [generator.name] for name in rows}
        for terrain in TERRAIN_NAMES:
            bar.set_postfix_str(f"{generator.name}, {terrain}")
            figures = measure(generator, terrain, options.budget, options.seeds)
            for name, row in cells.items():
                row.append("not trained on it" if figures is None else format_interval(figures[name]))
            bar.update()
        for name, row in cells.items():
            rows[name].append(row)
    bar.close()
    header = ["generator", *TERRAIN_NAMES]
    body = (
        f"{options.budget} evaluations a generator, terrain and seed; {options.seeds} seeds (0 to {options.seeds - 1}); mean "
        "over the seeds and its 95% bootstrap interval. The seeds of the language models vary the sampling: one trained "
        "model each. The four seed programs are deterministic and use four evaluations. Distances in walker units.\n\n"
        f"Best walker found:\n\n{markdown_table(header, rows['best'])}\n\n"
        f"Mean over all evaluated programs (invalid ones count 0):\n\n{markdown_table(header, rows['mean'])}\n\n"
        f"Valid programs, %:\n\n{markdown_table(header, rows['valid'])}{remarks}"
    )
    publish(
        "generators", "Which generator finds the best walker at equal evaluations, once trained?", body, options.write
    )


if __name__ == "__main__":
    main()
