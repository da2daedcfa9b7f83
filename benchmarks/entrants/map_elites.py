"""MAP-Elites from the hand-written seeds, with any mutation operators: genetic programming, models, servers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import numpy as np

from benchmarks.entrants.task_evaluator import TaskEvaluator
from elm_rl.errors import BudgetSpent as RunEnds
from elm_rl.evolution import EvolveConfig, run_evolution
from elm_rl.mutation.operator import Child, MutationOperator, Parent
from elm_rl.mutation.specs import make_operators, read_specs
from sodarace_gym.evaluation import Evaluation
from sodarace_gym.suite import BudgetSpent, Task, Training
from sodarace_gym.terrains.distribution import TerrainDraw
from sodarace_gym.terrains.terrain import Terrain

BUILTIN_TRAINING = Training(evaluations=600_000, tokens=38_000_000, seconds=9_020.0)
"""What the shipped operator has cost, by its card: four runs of 150,000 evaluations, and the training on them."""
_NO_MODELS = ("gp", "gp-blind")


class MapElites:
    """``elm-rl evolve`` on the terrain of the task, with what it is by default but the operators and the batch.

    Args:
        operators: One or more, as ``elm-rl evolve --operators`` takes them: "gp,tries=4", "chat:models/small",
            "api:MODEL@http://localhost:8000/v1".
        name: In tables; made of the operators where there is none.
        evaluations: Evaluations of training that the operators' models have cost, beyond the shipped one's.
    """

    def __init__(
        self, operators: str | Sequence[str] = "gp,tries=4", name: str | None = None, evaluations: int = 0
    ) -> None:
        self.operators = (operators,) if isinstance(operators, str) else tuple(operators)
        specs = read_specs(self.operators)  # says what is wrong with them
        self.name = name or f"MAP-Elites, {' and '.join(spec.name for spec in specs)}"[:80]
        self.training = Training(evaluations=evaluations)
        if any(spec.kind == "builtin" for spec in specs):
            built = BUILTIN_TRAINING
            self.training = Training(evaluations + built.evaluations, tokens=built.tokens, seconds=built.seconds)
        self._kinds = [spec.kind for spec in specs]

    def generate(self, task: Task, rng: np.random.Generator) -> None:
        """See ``Generator``."""
        batch = int(np.clip(task.budget // 16, 8, 256))
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            terrain = Path(folder) / "terrain.json"
            task.terrain.save(terrain)
            config = EvolveConfig(
                out=Path(folder) / "run",
                terrains=(str(terrain),),
                operators=self.operators,
                batch_size=batch,
                iterations=4 + 4 * -(-task.budget // batch),  # operators may fail: children are not all evaluated
                checkpoint_every=1_000_000,
                seed=int(rng.integers(2**31)),
                n_jobs=1,
                progress=False,
            )
            operators = make_operators(self.operators, background=False)
            for kind, operator in zip(self._kinds, operators, strict=True):
                stack.enter_context(closing(operator))
                if kind not in (*_NO_MODELS, "api"):
                    _count_calls(operator, task)
            with suppress(RunEnds):  # while the seeds are planted; later the run sees to it
                run_evolution(config, operators, _RunEvaluator(task))
            for operator in operators:
                asked = operator.totals()
                task.spend(asked.get("requests", 0), asked.get("completion_tokens", 0))


class _RunEvaluator(TaskEvaluator):
    """Ends the run, as the budget of an operator would, when the task's is spent."""

    def evaluate(
        self,
        programs: Iterable[str],
        terrain: Terrain | TerrainDraw | str | Sequence[Terrain | TerrainDraw | str],
        *,
        robustness: int | None = None,
    ) -> list[Evaluation]:
        try:
            return super().evaluate(programs, terrain, robustness=robustness)
        except BudgetSpent:
            raise RunEnds("The evaluations of the task are spent.") from None


def _count_calls(operator: MutationOperator, task: Task) -> None:
    """Has each child that an operator is asked for count as a call of its model."""
    asked = operator.children

    def children(parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        task.spend(model_calls=len(parents))
        return asked(parents, rng)

    operator.children = children  # type: ignore[method-assign]
