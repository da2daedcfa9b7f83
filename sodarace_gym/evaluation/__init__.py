"""Many programs on many terrains: what every generator of walkers goes through.

`evaluator` takes programs and returns evaluations (`evaluation`), and never raises for a bad program; `jobs` are its parts, and
`parallel_map` spreads the work over threads, processes or a cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.evaluation.evaluation import Evaluation as Evaluation
    from sodarace_gym.evaluation.evaluation import EvaluationError as EvaluationError
    from sodarace_gym.evaluation.evaluator import Evaluator as Evaluator
    from sodarace_gym.evaluation.parallel_map import ParallelMap as ParallelMap

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "evaluation": ["Evaluation", "EvaluationError"],
        "evaluator": ["Evaluator"],
        "parallel_map": ["ParallelMap"],
    },
)
