"""How good are programs that were written for terrains, each on its own terrain? Any number of terrains, any generator.

Every figure is paired by terrain, because terrains differ far more than generators do. What counts is the least distance of a
walker and its perturbed copies; the plain distance stands beside it. Copies of known programs are counted apart: a model that
only recalls is a lookup table, and the mean of the rest says what it invents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from elm_rl.corpus.lineages import mask_numbers
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.terrains.texts import terrain_from_text

RESAMPLINGS = 10_000


@dataclass(frozen=True)
class Known:
    """What a model was shown, by which copies are told.

    Attributes:
        designs: 16 bytes of each walker, see `sodarace_gym.physics.robustness.design_digest`.
        masked: The programs without their numbers, see `elm_rl.corpus.lineages.mask_numbers`.
    """

    designs: frozenset[bytes]
    masked: frozenset[str]

    @classmethod
    def of(cls, programs: Collection[str], designs: Collection[bytes]) -> Known:
        """What some programs and their walkers tell."""
        return cls(frozenset(designs), frozenset(map(mask_numbers, programs)))


@dataclass(frozen=True)
class TerrainScore:
    """Figures of the programs of one terrain; what is no walker counts 0.

    Attributes:
        samples: Programs.
        mean: Mean of the least distances, walker units.
        plain: Mean of the distances as simulated.
        best: Greatest least distance.
        valid: Share that made a walker.
        designs: Different walkers.
        copies: Share whose walker was known.
        near_copies: Share whose walker was new, and whose program was known but for its numbers.
        novel: Mean of the least distances of those that are neither; NaN where there are none.
        novel_valid: Share of those that made a walker; NaN where there are none.
    """

    samples: int
    mean: float
    plain: float
    best: float
    valid: float
    designs: int
    copies: float
    near_copies: float
    novel: float
    novel_valid: float


def score_terrains(
    programs: Mapping[str, Sequence[str]], evaluator: Evaluator, known: Known, robustness: int = 2
) -> dict[str, TerrainScore]:
    """Scores programs on the terrains that they were written for.

    Args:
        programs: By the text that names the terrain; one or more each.
        evaluator: Rolls out.
        known: What copies are told by.
        robustness: Perturbed copies of each walker.
    """
    scores = {}
    for text, written in programs.items():
        found = evaluator.evaluate(list(written), terrain_from_text(text), robustness=robustness)
        scores[text] = score_programs(written, found, known)
    return scores


def score_programs(programs: Sequence[str], found: Sequence[Evaluation], known: Known) -> TerrainScore:
    """The figures of programs that were rolled out on one terrain."""
    distances = np.array([each.score for each in found])
    valid = np.array([each.valid for each in found])
    digests = [None if each.design is None else design_digest(each.design) for each in found]
    copy = np.array([digest in known.designs for digest in digests])
    near = ~copy & np.array([mask_numbers(program) in known.masked for program in programs])
    rest = ~copy & ~near
    return TerrainScore(
        samples=len(programs),
        mean=float(distances.mean()),
        plain=float(np.mean([each.fitness for each in found])),
        best=float(distances.max()),
        valid=float(valid.mean()),
        designs=len({digest for digest in digests if digest is not None}),
        copies=float(copy.mean()),
        near_copies=float(near.mean()),
        novel=float(distances[rest].mean()) if rest.any() else float("nan"),
        novel_valid=float(valid[rest].mean()) if rest.any() else float("nan"),
    )


def swap_test(
    programs: Mapping[str, Sequence[str]], evaluator: Evaluator, seed: int = 0, robustness: int = 2
) -> dict[str, float]:
    """What it is worth to have asked for the own terrain: on each, the mean of its programs less that of another one's.

    The terrains are shifted along a random cycle, so that each lends its programs to one other and none to itself.

    Returns:
        The difference of the means of the least distances by terrain, walker units.
    """
    texts = list(programs)
    if len(texts) < 2:
        raise ValueError(f"Expected programs for two terrains or more, got {len(texts)}.")
    order = [texts[place] for place in np.random.default_rng(seed).permutation(len(texts))]
    lender = dict(zip(order, order[1:] + order[:1], strict=True))
    worth = {}
    for text in texts:
        terrain = terrain_from_text(text)
        own, other = (
            np.mean([each.score for each in evaluator.evaluate(list(written), terrain, robustness=robustness)])
            for written in (programs[text], programs[lender[text]])
        )
        worth[text] = float(own - other)
    return worth


def paired_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """The mean difference of two generators over the same terrains, with a bootstrap interval over the terrains.

    Returns:
        (mean, low, high).
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(differences), size=(RESAMPLINGS, len(differences)))
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(differences[drawn].mean(axis=1), [tail, 100.0 - tail])
    return float(differences.mean()), float(low), float(high)


class Rest(NamedTuple):
    """The programs of some terrains that are neither copies nor near copies, all taken together.

    Attributes:
        samples: How many they are.
        mean: Mean of their least distances, walker units; NaN where there are none.
        valid: Share that made a walker; NaN where there are none.
    """

    samples: int
    mean: float
    valid: float

    @classmethod
    def of(cls, scores: Iterable[TerrainScore]) -> Rest:
        """The rest of the programs with these figures."""
        every = [score for score in scores if not np.isnan(score.novel)]
        counts = [round(score.samples * (1.0 - score.copies - score.near_copies)) for score in every]
        if not sum(counts):
            return cls(0, float("nan"), float("nan"))
        mean, valid = (
            float(np.average([getattr(score, name) for score in every], weights=counts))
            for name in ("novel", "novel_valid")
        )
        return cls(sum(counts), mean, valid)


def mean_scores(scores: Mapping[str, TerrainScore]) -> dict[str, float]:
    """The mean over the terrains of each figure; of `novel` and `novel_valid` that over the programs which these are about."""
    rest = Rest.of(scores.values())
    means = {
        field.name: float(np.mean([getattr(score, field.name) for score in scores.values()]))
        for field in fields(TerrainScore)
    }
    return means | {"novel": rest.mean, "novel_valid": rest.valid}
