"""What becomes of a program on a terrain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sodarace_gym.walkers.walker import WalkerDesign


@dataclass(frozen=True)
class EvaluationError:
    """Why a program got no distance.

    Attributes:
        kind: One of ``errors.ERROR_KINDS``.
        message: What was wrong and what to change.
    """

    kind: str
    message: str


@dataclass(frozen=True)
class Evaluation:
    """What became of one program on one terrain.

    Attributes:
        fitness: Distance covered along x, walker units, >= 0; 0.0 where there is an error.
        displacement: The same with its sign.
        height: Height of the walker at the start, walker units; 0.0 without a design.
        width: Width of the walker at the start, walker units; 0.0 without a design.
        mass: Joints plus half the summed rest lengths; 0.0 without a design.
        design: The walker, or None if the program made none.
        error: None, or why there is no distance.
        repairs: How often each repair was needed to bring the design within the limits; read-only.
        robust_fitness: The least distance among the walker and its perturbed copies, walker units, 0.0 where there is an
            error; None where the Evaluator makes no copies.
        copy_distances: The distance of each perturbed copy, walker units, 0.0 for one that failed; None where the Evaluator
            makes no copies.
        ground_share: Share of the time that a foot was on the ground, mean over the joints that ever were, in [0, 1]; 0.0 where
            there is an error, None where the Evaluator does not look at gaits.
        mean_height: Mean height of the centre of mass above the floor below it while walking, walker units; 0.0 where there is
            an error, None where the Evaluator does not look at gaits.
    """

    fitness: float = 0.0
    displacement: float = 0.0
    height: float = 0.0
    width: float = 0.0
    mass: float = 0.0
    design: WalkerDesign | None = None
    error: EvaluationError | None = None
    repairs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    robust_fitness: float | None = None
    copy_distances: tuple[float, ...] | None = None
    ground_share: float | None = None
    mean_height: float | None = None

    @property
    def valid(self) -> bool:
        """Whether the program built a walker that could be simulated."""
        return self.error is None

    @property
    def score(self) -> float:
        """What counts: the least distance where copies walked along, else the distance, walker units."""
        return self.fitness if self.robust_fitness is None else self.robust_fitness

    def __getstate__(self) -> dict[str, Any]:
        # Read-only views do not pickle; plain dicts do.
        return self.__dict__ | {"repairs": dict(self.repairs)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"repairs": MappingProxyType(state["repairs"])})
