"""What share of a model's children are programs, walkers, new ones, and better ones? Any model, on the parents of one run.

Usage: ``python -m benchmarks.mutation_models --run runs/laptop/evolution --model SOURCE[,OPTION=VALUE...] [--model ...]
[--children N] [--write]``. A source is what ``elm-rl evolve`` takes for a local model, the options are those of
``elm_rl.mutation.language_model.ModelOptions``; ``gp`` is genetic programming. Every model gets the same parents, drawn from
the elites of the run's maps, and the same random numbers. With SmolLM2-135M a child takes some seconds on a CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import markdown_table, publish
from elm_rl.errors import ConfigError
from elm_rl.evolution.state import DESIGNS_FILE, MEASURES, design_key, make_archive
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.language_model import LanguageModelMutation, ModelOptions
from elm_rl.mutation.operator import CUT, Child, MutationOperator, Parent
from elm_rl.runs.run_directory import ADMITTED_FILE, CONFIG_FILE, read_json, read_jsonl
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.making import make_terrain

_KEY_BYTES = 16  # of a line of DESIGNS_FILE


class History:
    """What an evolution run has come to: the elites of its maps, and the walkers it has seen.

    Args:
        folder: The run directory.

    Attributes:
        terrain: Name of the terrain.
        duration: Simulated seconds a walker is scored for.
        elites: The best program of each niche of each map.
    """

    def __init__(self, folder: Path) -> None:
        config = read_json(folder / CONFIG_FILE)
        self.terrain, self.duration = str(config["terrain"]), float(config["duration"])
        best: dict[tuple[str, int], dict[str, Any]] = {}
        for record in read_jsonl(folder / ADMITTED_FILE):
            best[record["archive"], record["niche"]] = record  # what is admitted later is better
        self.elites = [best[place] for place in sorted(best)]
        self._fitness = {place: float(record["fitness"]) for place, record in best.items()}
        self._grid = make_archive()
        keys = (folder / DESIGNS_FILE).read_bytes()
        self._seen = {keys[i : i + _KEY_BYTES] for i in range(0, len(keys), _KEY_BYTES)}

    def parents(self, count: int, seed: int) -> list[Parent]:
        """Draws elites, each as likely as any other."""
        picks = np.random.default_rng(seed).integers(len(self.elites), size=count)
        drawn = [self.elites[pick] for pick in picks]
        return [
            Parent(
                record["program"],
                id=record["id"],
                fitness=record["fitness"],
                measures={name: record[name] for name in MEASURES},
                archive=record["archive"],
                terrain=self.terrain,
            )
            for record in drawn
        ]

    def has_seen(self, key: bytes) -> bool:
        """Whether the run has evaluated a walker."""
        return key in self._seen

    def would_admit(self, archive: str, fitness: float, measures: tuple[float, float, float]) -> bool:
        """Whether a map, as it is at the end of the run, would take a walker."""
        niche = int(self._grid.index_of_single(measures))
        return fitness > self._fitness.get((archive, niche), -np.inf)


@dataclass
class Figures:
    """Counts of one operator's children; each of the first five is a part of the one before.

    Attributes:
        proposed: Parents given.
        applied: A program came out.
        valid: It built a walker that could be scored.
        new: Neither the run nor the operator had made that walker before.
        admitted: A map of the run would take it.
        copies: Valid children that are the parent's walker.
        cut: Answers cut at their limit.
        seconds: Seconds for all children, without loading the model and without their evaluation.
    """

    proposed: int = 0
    applied: int = 0
    valid: int = 0
    new: int = 0
    admitted: int = 0
    copies: int = 0
    cut: int = 0
    seconds: float = 0.0

    def row(self) -> list[str]:
        """The cells of the table: children, six percentages, seconds a child."""
        counts = (self.applied, self.valid, self.new, self.admitted, self.copies, self.cut)
        percents = [f"{100 * count / max(self.proposed, 1):.1f}" for count in counts]
        return [str(self.proposed), *percents, f"{self.seconds / max(self.proposed, 1):.2f}"]


def measure(
    operator: MutationOperator, history: History, parents: Sequence[Parent], evaluator: Evaluator, seed: int
) -> tuple[Figures, list[Child]]:
    """Has an operator make one child a parent, and counts what they are.

    Args:
        operator: What makes them.
        history: The run that the parents are of.
        parents: Elites of it.
        evaluator: Scores the children, with the run's duration.
        seed: Seed of the operator's random choices.

    Returns:
        The figures, and the children in the parents' order.
    """
    begin = time.perf_counter()
    children = operator.mutate(parents, np.random.default_rng(seed))
    figures = Figures(proposed=len(parents), seconds=time.perf_counter() - begin)
    figures.cut = sum(child.failure == CUT for child in children if not child.applied)
    applied = [(parent, child.program) for parent, child in zip(parents, children, strict=True) if child.program]
    figures.applied = len(applied)
    terrain = make_terrain(history.terrain)
    scores = evaluator.evaluate([program for _, program in applied], terrain)
    before = evaluator.evaluate([parent.program for parent, _ in applied], terrain)
    made: set[bytes] = set()
    for (parent, _), score, old in zip(applied, scores, before, strict=True):
        if score.error is not None or score.design is None:
            continue
        figures.valid += 1
        key = design_key(score.design)
        figures.copies += old.design is not None and key == design_key(old.design)
        if key in made or history.has_seen(key):
            continue
        made.add(key)
        figures.new += 1
        figures.admitted += history.would_admit(parent.archive, score.fitness, (score.height, score.width, score.mass))
    return figures, children


def make_operator(text: str) -> MutationOperator:
    """Builds the operator of ``SOURCE,OPTION=VALUE,...``, or genetic programming for ``gp``.

    Raises:
        ConfigError: There is no such option, or its value is no number where one is expected.
        ElmError: The model cannot be used.
    """
    if text == "gp":
        return GPMutation()
    source, *settings = text.split(",")
    kinds = {field.name: str(field.type) for field in dataclasses.fields(ModelOptions)}
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise ConfigError(f"There is no option {name!r}; the options are {', '.join(kinds)}.")
        try:
            values[name] = value if kinds[name] == "str" else float(value) if kinds[name] == "float" else int(value)
        except ValueError as error:
            raise ConfigError(f"{name} is {value!r}; expected a number.") from error
    return LanguageModelMutation(source, ModelOptions(**values))


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of an evolution run")
    parser.add_argument(
        "--model", action="append", required=True, help="gp, or SOURCE,OPTION=VALUE,...; may be repeated"
    )
    parser.add_argument("--children", type=int, default=48, help="children of each model (default 48)")
    parser.add_argument("--seed", type=int, default=0, help="seed of parents and operators (default 0)")
    parser.add_argument("--show", type=int, default=0, help="print so many children of each model (default 0)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/mutation_models.md")
    options = parser.parse_args()
    history = History(options.run)
    parents = history.parents(options.children, options.seed)
    rows = []
    with Evaluator(duration=history.duration) as evaluator:
        for text in options.model:
            operator = make_operator(text)
            figures, children = measure(operator, history, parents, evaluator, options.seed)
            for parent, child in list(zip(parents, children, strict=True))[: options.show]:
                print(f"--- {text}: {child.message} ({child.failure if child.program is None else 'applied'})")
                print(f"{parent.program}---\n{child.program or child.diff}", flush=True)
            source, *settings = text.split(",")
            rows.append([", ".join([Path(source).name, *settings]), *figures.row()])
            print(rows[-1], flush=True)
    header = [
        "model",
        "children",
        "applied %",
        "valid %",
        "new %",
        "admitted %",
        "copies %",
        "cut %",
        "seconds a child",
    ]
    body = (
        f"Parents: {options.children} of the {len(history.elites):,} elites of one run, the same for every model; seed "
        f"{options.seed}. Applied: a program came out; valid: it built a walker; new: neither the run nor the model had "
        "made that walker; admitted: a map of the run would take it; copies: the parent's own walker again; cut: the "
        "answer was cut at its limit.\n\n" + markdown_table(header, rows)
    )
    publish("mutation_models", "What are the children of a model?", body, options.write)


if __name__ == "__main__":
    main()
