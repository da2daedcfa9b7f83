"""Which generator of walkers finds the best walker, and the best walkers on average, at equal evaluations?

Usage: ``python -m benchmarks.generators --run runs/laptop [--budget N] [--seeds N] [--write]``. ``--run`` is the folder of an
``elm-rl pipeline`` run, whose stage 2 and stage 3 models take part; without it the two are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

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
from benchmarks.tables import format_interval, markdown_table, publish
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrain import TERRAIN_NAMES


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
    if options.run is not None:
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
        f"Valid programs, %:\n\n{markdown_table(header, rows['valid'])}"
    )
    publish("generators", "Which generator finds the best walker at equal evaluations?", body, options.write)


if __name__ == "__main__":
    main()
