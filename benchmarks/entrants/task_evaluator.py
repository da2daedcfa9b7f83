"""A task for those who expect an Evaluator: evolution, and environments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.suite import BudgetSpent, Task
from sodarace_gym.terrains.distribution import TerrainDraw, as_terrain
from sodarace_gym.terrains.terrain import Terrain


class TaskEvaluator(Evaluator):
    """Evaluates by a task, on its terrain and within its budget.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(n_jobs=1, duration=task.duration, robustness=task.robustness)
        self._task = task

    def evaluate(
        self,
        programs: Iterable[str],
        terrain: Terrain | TerrainDraw | str | Sequence[Terrain | TerrainDraw | str],
        *,
        robustness: int | None = None,
    ) -> list[Evaluation]:
        """Evaluates programs, with as many copies as the task makes, whatever is asked for.

        Raises:
            BudgetSpent: The budget ended before the last program.
            ValueError: The terrain is not the task's.
        """
        if not isinstance(terrain, (Terrain, TerrainDraw, str)) or as_terrain(terrain).key != self._task.terrain.key:
            raise ValueError(f"terrain: expected that of the task '{self._task.name}' for all programs.")
        texts = list(programs)
        found = self._task.evaluate(texts)
        if len(found) < len(texts):
            raise BudgetSpent
        return found
