"""What may span an archive: figures of a walker by name, each with its unit and the range that archives take by default.

Ranges say where the bins of a grid lie, not what is allowed: a walker outside of one shares the outermost bin.
``benchmarks/reachable_niches.py`` measures how much of the default map walkers can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sodarace_gym.evaluation import Evaluation


@dataclass(frozen=True)
class Measure:
    """A figure of a walker.

    Attributes:
        name: What it is called in settings, records and reports.
        unit: Its unit.
        low: Least value of the default range.
        high: Greatest value of the default range.
        of: Takes it from the evaluation of a walker that could be simulated.
        gait: Whether it needs an ``Evaluator(gait=True)``.
    """

    name: str
    unit: str
    low: float
    high: float
    of: Callable[[Evaluation], float]
    gait: bool = False


def _joints(evaluation: Evaluation) -> float:
    assert evaluation.design is not None
    return float(len(evaluation.design.joints))


def _muscles(evaluation: Evaluation) -> float:
    assert evaluation.design is not None
    return float(len(evaluation.design.muscles))


def _ground_share(evaluation: Evaluation) -> float:
    assert evaluation.ground_share is not None, "the Evaluator does not look at gaits"
    return evaluation.ground_share


def _mean_height(evaluation: Evaluation) -> float:
    assert evaluation.mean_height is not None, "the Evaluator does not look at gaits"
    return evaluation.mean_height


_ALL = (
    # The first three are the map of Lehman et al. (2022), in its order. No walker is higher than 24 or wider than 30;
    # heavier ones than 300 share the last bin of mass.
    Measure("height", "walker units", 0.0, 24.0, lambda evaluation: evaluation.height),
    Measure("width", "walker units", 0.0, 30.0, lambda evaluation: evaluation.width),
    Measure("mass", "joint masses", 0.0, 300.0, lambda evaluation: evaluation.mass),
    # 2 to 64 joints and 1 to 512 muscles are allowed; twelve bins are 5 joints and 20 muscles wide.
    Measure("joints", "joints", 0.0, 60.0, _joints),
    Measure("muscles", "muscles", 0.0, 240.0, _muscles),
    # What a walker does, see sodarace_gym.physics.gait. The centres of mass of 99 in 100 bred walkers are below 9.
    Measure("ground_share", "share of the time", 0.0, 1.0, _ground_share, gait=True),
    Measure("mean_height", "walker units", 0.0, 9.0, _mean_height, gait=True),
)

MEASURES: Mapping[str, Measure] = MappingProxyType({measure.name: measure for measure in _ALL})
"""Every measure by name."""
