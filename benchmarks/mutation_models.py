"""What share of a model's children are programs, walkers, new ones, and better ones? Any model, on the parents of some runs.

Usage: ``python -m benchmarks.mutation_models --run runs/laptop/evolution --operator model:MODEL[,OPTION=VALUE...]
[--operator gp ...] [--children N] [--write NAME]``: operators as ``elm-rl evolve`` takes them. Every one gets the same parents,
drawn from the elites of each run's maps as the run draws its own, and the same random numbers. With SmolLM2-135M a child takes
some seconds on a CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.tables import markdown_table, publish, wilson_interval
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.maps import Maps
from elm_rl.evolution.screening import Birth, Screening
from elm_rl.evolution.state import DESIGNS_FILE, design_key
from elm_rl.mutation.operator import CUT, Child, MutationOperator, Parent
from elm_rl.mutation.specs import make_operators
from elm_rl.runs.run_directory import ADMITTED_FILE, CONFIG_FILE, read_json, read_jsonl
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.walker import WalkerDesign

_KEY_BYTES = 16  # of a line of DESIGNS_FILE


class History:
    """What an evolution run has come to: its archives, and the walkers it has seen.

    Args:
        folder: The run directory, of a run on one terrain.

    Attributes:
        terrain: Name of the terrain.
        duration: Simulated seconds a walker is scored for.
        robustness: Perturbed copies whose least distance counts.
        gait: Whether its archives ask how walkers go.
        elites: How many elites its archives have.
        maps: The archives at the end of the run, which `offer` fills further.
    """

    def __init__(self, folder: Path) -> None:
        config = read_json(folder / CONFIG_FILE)
        if len(config["terrains"]) != 1 or config.get("random_terrains"):
            raise SystemExit(f"'{folder}' is a run on several terrains; give runs on one.")
        (self.terrain,) = config["terrains"]
        self.duration, self.robustness = float(config["duration"]), int(config.get("robustness", 0))
        self._spec = ArchiveSpec(**{name: _tuples(value) for name, value in config["archive"].items()})
        self.gait = self._spec.gait
        self._records = list(read_jsonl(folder / ADMITTED_FILE))
        self._tournament, self._uniform = int(config["tournament"]), float(config["uniform"])
        self.elites = len({(record["archive"], record["niche"]) for record in self._records})
        self.restore()
        keys = (folder / DESIGNS_FILE).read_bytes()
        self._seen = {keys[i : i + _KEY_BYTES] for i in range(0, len(keys), _KEY_BYTES)}

    def restore(self) -> None:
        """Brings the archives back to what they were at the end of the run."""
        self.maps = Maps(self._spec, {record["archive"]: self.terrain for record in self._records})
        self.maps.rebuild(self._records)

    def parents(self, count: int, seed: int, others: int = 0) -> list[Parent]:
        """Draws elites as the run does, from each archive in equal parts; ``count`` of them, or a few less.

        Args:
            count: How many.
            seed: Seed of the draw.
            others: Further elites beside each, for operators that combine several.
        """
        rng, archives = np.random.default_rng(seed), self.maps.archives
        each = count // len(archives)
        return [
            parent
            for name in archives
            for parent in self.maps.draw(name, each, others, rng, tournament=self._tournament, uniform=self._uniform)
        ]

    def key_of(self, design: WalkerDesign, terrain: str) -> bytes:
        """A walker on the run's terrain, as a key."""
        return design_key(design)

    def knows(self, key: bytes) -> bool:
        """Whether the run has evaluated a walker."""
        return key in self._seen

    def offer(self, parent: Parent, program: str, score: Evaluation) -> float | None:
        """Offers a child to its parent's archive, as the run would have; its gain in QD score, None if it is not taken."""
        measures = self._spec.measure(score)
        taken = self.maps.offer(parent.archive, program, score.score, measures, id=len(self._records))
        return None if taken is None else taken.gain


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


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
        gain: What the admitted ones add to the QD scores of the maps, walker units.
        seconds: Seconds for all children, without loading the model and without their evaluation.
    """

    proposed: int = 0
    applied: int = 0
    valid: int = 0
    new: int = 0
    admitted: int = 0
    copies: int = 0
    cut: int = 0
    gain: float = 0.0
    seconds: float = 0.0

    def __iadd__(self, other: Figures) -> Self:
        """Adds those of another run."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self

    def row(self) -> list[str]:
        """The cells of the table: children, six percentages, gain and seconds a child."""
        each = max(self.proposed, 1)
        percents = [
            f"{100 * count / each:.1f}"
            for count in (self.applied, self.valid, self.new, self.admitted, self.copies, self.cut)
        ]
        for place, count in ((1, self.valid), (3, self.admitted)):
            low, high = wilson_interval(count, each)
            percents[place] += f" ({100 * low:.1f} to {100 * high:.1f})"
        return [str(self.proposed), *percents, f"{self.gain / each:.2f}", f"{self.seconds / each:.3f}"]


def measure(
    operator: MutationOperator, history: History, parents: Sequence[Parent], evaluator: Evaluator, seed: int
) -> tuple[Figures, list[Child]]:
    """Has an operator make one child a parent, chosen among its tries, and counts what they are.

    Args:
        operator: What makes them.
        history: The run that the parents are of.
        parents: Elites of it.
        evaluator: Scores the children, with the run's duration.
        seed: Seed of the operator's random choices.

    Returns:
        The figures, and the children in the parents' order.
    """
    history.restore()
    begin = time.perf_counter()
    tried = [parent for parent in parents for _ in range(operator.tries)]
    made = operator.children(tried, np.random.default_rng(seed))
    births: Iterator[Birth] = (Birth(parent, child) for parent, child in zip(tried, made, strict=True))
    if operator.tries > 1:
        with closing(Screening(history)) as screening:
            births = iter(list(screening.choose(births, operator.tries)))
    children = [birth.child for birth in births]
    figures = Figures(proposed=len(parents), seconds=time.perf_counter() - begin)
    figures.cut = sum(child.failure == CUT for child in children if not child.applied)
    applied = [(parent, child.program) for parent, child in zip(parents, children, strict=True) if child.program]
    figures.applied = len(applied)
    terrain = make_terrain(history.terrain)
    scores = evaluator.evaluate([program for _, program in applied], terrain)
    before = evaluator.evaluate([parent.program for parent, _ in applied], terrain)
    met: set[bytes] = set()
    for (parent, program), score, old in zip(applied, scores, before, strict=True):
        if score.error is not None or score.design is None:
            continue
        figures.valid += 1
        key = design_key(score.design)
        figures.copies += old.design is not None and key == design_key(old.design)
        if key in met or history.knows(key):
            continue
        met.add(key)
        figures.new += 1
        if (gain := history.offer(parent, program, score)) is not None:
            figures.admitted += 1
            figures.gain += gain
    return figures, children


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, nargs="+", help="folders of evolution runs")
    parser.add_argument("--operator", action="append", required=True, help="as of elm-rl evolve; may be repeated")
    parser.add_argument("--children", type=int, default=48, help="children of each run and operator (default 48)")
    parser.add_argument("--seed", type=int, default=0, help="seed of parents and operators (default 0)")
    parser.add_argument("--show", type=int, default=0, help="print so many children of each operator (default 0)")
    parser.add_argument("--write", metavar="NAME", help="write benchmarks/results/NAME.md")
    options = parser.parse_args()
    rows = []
    histories = [History(run) for run in options.run]
    # The same parents for all, with as many others as the operator needs that combines most.
    # Made one by one, as two of them may have one name.
    operators = [make_operators([text], background=False)[0] for text in options.operator]
    others = max(operator.parents_per_child for operator in operators) - 1
    for text, operator in zip(options.operator, operators, strict=True):
        total = Figures()
        for history in histories:
            parents = history.parents(options.children, options.seed, others)
            with (
                closing(operator),
                Evaluator(duration=history.duration, robustness=history.robustness, gait=history.gait) as evaluator,
            ):
                figures, children = measure(operator, history, parents, evaluator, options.seed)
            total += figures
            for parent, child in list(zip(parents, children, strict=True))[: options.show]:
                print(f"--- {text}: {child.message} ({child.failure if child.program is None else 'applied'})")
                print(f"{parent.program}---\n{child.program or child.diff}", flush=True)
        head, *settings = text.split(",")
        rows.append([", ".join([Path(head).name, *settings]), *total.row()])
        print(rows[-1], flush=True)
    header = [
        "operator",
        "children",
        "applied %",
        "valid %",
        "new %",
        "admitted %",
        "copies %",
        "cut %",
        "gain a child",
        "seconds a child",
    ]
    elites = ", ".join(f"{history.elites:,}" for history in histories)
    body = (
        f"Parents: {options.children} elites of each of {len(histories)} runs, which have {elites}, drawn as the runs draw "
        f"theirs; the same for every operator; seed {options.seed}. Of several tries the one that the run would evaluate "
        "counts. Applied: a program came out; valid: it built a walker; new: neither the run nor the operator had made that "
        "walker; admitted: a map of the run would take it; copies: the parent's own walker again; cut: "
        "the answer was cut at its limit; gain: what the admitted ones add to the QD scores of the maps, in walker units. In "
        "brackets 95% intervals (Wilson's).\n\n" + markdown_table(header, rows)
    )
    publish(options.write or "mutation_models", "What are the children of a model?", body, options.write is not None)


if __name__ == "__main__":
    main()
