"""Archives by configuration: which pyribs archive, spanned by which measures, and how programs get into it.

An archive is not saved with a run. The programs it took are, in order, and offering them again in that order to a new
archive gives the same one to the last bit. So whatever an archive refuses must leave no trace in it: a `ProgramMap`
sees to that.

Four kinds of pyribs archive keep one good program for each way of being a walker:

- ``grid``: equal bins along each measure. Niches never change, so that figures of runs compare.
- ``cvt``: cells of about equal size around fixed points, so that their number does not multiply with every measure.
- ``sliding``: bins that move to where the walkers are, so that each holds about as many.
- ``proximity``: no niches; a program joins if its walker is far enough from all others, or beats the nearest.

pyribs has others. A grid over counts is what CategoricalArchive would be; DNSArchive compares all pairs of elites for
every program it is offered, and puts its elites in another order even when it refuses; DensityArchive keeps no elites;
DiscountArchive needs a model trained beside it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ribs.archives import ArchiveBase, CVTArchive, GridArchive, ProximityArchive, SlidingBoundariesArchive

from elm_rl.errors import ConfigError
from elm_rl.evolution.measures import MEASURES
from sodarace_gym.evaluation import Evaluation

DEFAULT_BINS = 12
"""Bins along each measure: 1,728 niches over three, as in Lehman et al. 2022."""
DEFAULT_CELLS = 1728
"""Cells of a CVT archive: as many as the default grid has."""
MOST_CELLS = 1_000_000
"""Most niches that an archive may have: each takes some bytes whether it is filled or not."""
DEFAULT_NOVELTY = 1.0 / DEFAULT_BINS
"""How far apart the elites of a proximity archive are, where the whole range of a measure is 1: a bin of the default grid."""
REMAP_EVERY = 250
"""Admitted programs between two moves of a sliding archive's bins: a move adds all again, which takes tenths of a second."""
REMAP_OVER = 1000
"""Programs admitted last, whose walkers say where a sliding archive's bins lie."""

_SAMPLES_PER_CELL = 40
_LLOYD_ROUNDS = 10

_SETTINGS = {
    "grid": ("bins",),
    "sliding": ("bins",),
    "cvt": ("cells", "seed"),
    "proximity": ("novelty",),
}
KINDS = tuple(_SETTINGS)
"""Kinds of archive."""


@dataclass(frozen=True, kw_only=True)
class ArchiveSpec:
    """What archives a run has. Settings that are left out get the kind's defaults, so that equal archives have equal specs."""

    kind: str = "grid"
    """One of grid, cvt, sliding and proximity."""
    measures: tuple[str, ...] = ("height", "width", "mass")
    """What spans the archive, in this order: names from `measures.MEASURES`."""
    ranges: tuple[tuple[float, float], ...] = ()
    """Lowest and highest value of each measure; by default the measure's own range."""
    bins: tuple[int, ...] = ()
    """Of grid and sliding archives: bins along each measure, or one number for all; 12 by default."""
    cells: int | None = None
    """Of CVT archives: how many cells; 1,728 by default."""
    seed: int | None = None
    """Of CVT archives: which points the cells are around; 0 by default."""
    novelty: float | None = None
    """Of proximity archives: how far from its nearest elite a walker must be to join without beating it, where the range of
    each measure is 1; 1/12 by default."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"archive kind is {self.kind!r}; expected one of {', '.join(KINDS)}.")
        if isinstance(self.measures, str):
            raise ConfigError(f"measures is the text {self.measures!r}; expected a list of names.")
        # From JSON come lists; equal specs compare equal however they were written.
        self._set(measures=tuple(self.measures), bins=tuple(self.bins))
        unknown = [name for name in self.measures if name not in MEASURES]
        if unknown or not self.measures or len(set(self.measures)) != len(self.measures):
            wrong = repr(unknown[0]) if unknown else list(self.measures)
            raise ConfigError(f"measures has {wrong}; expected one or more of {', '.join(MEASURES)}, each once.")
        for name in ("bins", "cells", "seed", "novelty"):
            if getattr(self, name) not in (None, (), []) and name not in _SETTINGS[self.kind]:
                kinds = " and ".join(kind for kind, settings in _SETTINGS.items() if name in settings)
                raise ConfigError(
                    f"{name} is set for a {self.kind} archive, which has none; leave it out, or choose {kinds}."
                )
        self._check_ranges()
        if self.kind in ("grid", "sliding"):
            self._check_bins()
        elif self.kind == "cvt":
            cells = DEFAULT_CELLS if self.cells is None else self.cells
            seed = 0 if self.seed is None else self.seed
            if not _whole(cells) or not 2 <= cells <= MOST_CELLS:
                raise ConfigError(f"cells is {cells!r}; expected a whole number from 2 to {MOST_CELLS:,}.")
            if not _whole(seed) or seed < 0:
                raise ConfigError(f"seed of the archive is {seed!r}; expected a whole number, 0 or more.")
            self._set(cells=cells, seed=seed)
        else:
            novelty = DEFAULT_NOVELTY if self.novelty is None else self.novelty
            if not _number(novelty) or not 0.0 < novelty < math.inf:
                raise ConfigError(f"novelty is {novelty!r}; expected a number above 0, such as 0.08.")
            self._set(novelty=float(novelty))

    @classmethod
    def left_out(cls) -> ArchiveSpec:
        """All settings still left out, from which a command line can set some: `dataclasses.replace` fills the others in."""
        spec = object.__new__(cls)
        spec._set(**{each.name: each.default for each in fields(cls)})
        return spec

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check_ranges(self) -> None:
        given = list(self.ranges) or [(MEASURES[name].low, MEASURES[name].high) for name in self.measures]
        if len(given) != len(self.measures):
            raise ConfigError(f"ranges has {len(given)} entries; expected one for each of {', '.join(self.measures)}.")
        for name, pair in zip(self.measures, given, strict=True):
            numbers = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(map(_number, pair))
            if not numbers or not -math.inf < pair[0] < pair[1] < math.inf:
                raise ConfigError(
                    f"ranges has {pair!r} for {name}; expected its lowest and its highest value, in this order."
                )
        self._set(ranges=tuple((float(low), float(high)) for low, high in given))

    def _check_bins(self) -> None:
        bins = tuple(self.bins) or (DEFAULT_BINS,)
        if len(bins) == 1:
            bins *= len(self.measures)
        if len(bins) != len(self.measures) or not all(_whole(count) and count >= 1 for count in bins):
            raise ConfigError(
                f"bins is {list(self.bins)}; expected one whole number above 0 for all measures, or one for each of "
                f"{', '.join(self.measures)}."
            )
        if math.prod(bins) > MOST_CELLS:
            raise ConfigError(
                f"bins is {list(bins)}, which makes {math.prod(bins):,} niches; expected at most {MOST_CELLS:,}: take fewer "
                "bins or measures, or a CVT archive."
            )
        self._set(bins=bins)

    @property
    def niches(self) -> int | None:
        """How many niches an archive has; None for one that has none."""
        return math.prod(self.bins) if self.bins else self.cells

    @property
    def fixed(self) -> bool:
        """Whether niches are the same ones throughout a run and in all its archives."""
        return self.kind in ("grid", "cvt")

    @property
    def gait(self) -> bool:
        """Whether a measure needs an ``Evaluator(gait=True)``."""
        return any(MEASURES[name].gait for name in self.measures)

    def measure(self, evaluation: Evaluation) -> dict[str, float]:
        """The measures of a walker that could be simulated, by name, in the order of the archive."""
        return {name: float(MEASURES[name].of(evaluation)) for name in self.measures}

    def make(self) -> ArchiveBase:
        """An empty pyribs archive: solution (the program text), objective (fitness), measures, id (of the record).

        CVT and proximity archives hold measures as shares of their ranges, because they compare distances; they have
        the field ``values`` for the measures themselves.
        """
        fields: dict[str, Any] = {"id": ((), np.int64)}
        # object: as str, a solution would silently keep one character. Seeds are never drawn from: parents come from the run's
        # own generator, which a checkpoint can hold.
        common: dict[str, Any] = {"solution_dim": (), "solution_dtype": object, "qd_score_offset": 0.0, "seed": 0}
        if self.kind == "grid":
            return GridArchive(dims=self.bins, ranges=self.ranges, extra_fields=fields, **common)
        if self.kind == "sliding":
            return SlidingBoundariesArchive(
                dims=self.bins, ranges=self.ranges, extra_fields=fields,
                remap_frequency=REMAP_EVERY, buffer_capacity=REMAP_OVER, **common,
            )  # fmt: skip
        fields["values"] = ((len(self.measures),), np.float64)
        if self.kind == "cvt":
            assert self.cells is not None and self.seed is not None
            points = centroids(self.cells, len(self.measures), self.seed)
            unit = [(0.0, 1.0)] * len(self.measures)
            return CVTArchive(centroids=points, ranges=unit, extra_fields=fields, **common)
        assert self.novelty is not None
        # The nearest elite alone decides: it is the one to be replaced.
        return ProximityArchive(
            measure_dim=len(self.measures), k_neighbors=1, novelty_threshold=self.novelty, local_competition=True,
            extra_fields=fields, **common,
        )  # fmt: skip


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@functools.lru_cache(maxsize=8)
def centroids(cells: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Points spread evenly over the unit cube: a few rounds of Lloyd's algorithm over random points.

    pyribs would have scikit-learn do it, whose result depends on its version and threads. Sums are taken in order here,
    so that the same three numbers give the same points.

    Args:
        cells: How many points.
        dimensions: Of the cube.
        seed: Of the random points.

    Returns:
        Shape (cells, dimensions), read-only.
    """
    rng = np.random.default_rng([cells, dimensions, seed])
    samples = rng.uniform(size=(_SAMPLES_PER_CELL * cells, dimensions))
    points = samples[:cells].copy()  # rows are independent of one another
    unit = [(0.0, 1.0)] * dimensions
    for _ in range(_LLOYD_ROUNDS):
        nearest = CVTArchive(solution_dim=(), centroids=points, ranges=unit).index_of(samples)
        counts = np.bincount(nearest, minlength=cells)
        sums = [np.bincount(nearest, weights=column, minlength=cells) for column in samples.T]
        met = counts > 0
        points[met] = (np.stack(sums, axis=1)[met].T / counts[met]).T
    points.flags.writeable = False
    return points


class ProgramMap:
    """One archive of a run: it takes what a pyribs archive would take, and refuses the rest without a trace, fast.

    Args:
        spec: What archive.

    Attributes:
        spec: The same.
        archive: The pyribs archive, to be read; programs come in through `offer`.
        best: Fitness of each niche's elite, -inf where there is none, shape (niches,); None unless niches are fixed.
    """

    def __init__(self, spec: ArchiveSpec) -> None:
        self.spec = spec
        # Any: pyribs' base class does not declare what all its archives offer.
        self.archive: Any = spec.make()
        self.best: NDArray[np.float64] | None = None
        if spec.fixed:
            assert spec.niches is not None
            self.best = np.full(spec.niches, -np.inf)
        low, high = np.array(spec.ranges).T
        self._low, self._extent = low, high - low

    def offer(self, program: str, fitness: float, measures: Sequence[float], *, id: int) -> int | None:
        """Offers a program.

        Args:
            program: Its text.
            fitness: What it is to be kept for.
            measures: Of its walker, in the order of the spec.
            id: Number of its record.

        Returns:
            Number of its niche (of a proximity archive: its place) if the archive takes it, and None otherwise. The niches of a
            sliding archive are those before its bins move.

        Raises:
            ValueError: fitness or a measure is not finite, or the number of measures is not that of the spec.
        """
        if self.spec.kind == "sliding":
            return self._offer_sliding(program, fitness, measures, id)
        if self.spec.kind == "grid":
            return self._offer_fixed(program, fitness, measures, {"id": id})
        shares = (np.array(measures, dtype=np.float64) - self._low) / self._extent
        fields = {"id": id, "values": measures}
        if self.spec.kind == "cvt":
            # Beyond the ranges the nearest point would not be the nearest cell.
            return self._offer_fixed(program, fitness, np.clip(shares, 0.0, 1.0), fields)
        nearest = int(self.archive.index_of_single(shares)) if len(self.archive) else 0
        # As a batch of one: a single text it would keep as an array without dimensions.
        batch = {name: [value] for name, value in fields.items()}
        status = int(self.archive.add([program], [fitness], [shares], **batch)["status"][0])
        return None if status == 0 else nearest if status == 1 else len(self.archive) - 1

    def _offer_fixed(self, program: str, fitness: float, measures: Any, fields: dict[str, Any]) -> int | None:
        assert self.best is not None
        niche = int(self.archive.index_of_single(measures))
        if not fitness > self.best[niche]:
            return None  # what the archive would say, in a tenth of the time
        # One at a time: pyribs compares a batch with the archive before it, and keeps only the best in a niche.
        if not self.archive.add_single(program, fitness, measures, **fields)["status"]:
            return None
        self.best[niche] = fitness
        return niche

    def _offer_sliding(self, program: str, fitness: float, measures: Sequence[float], id: int) -> int | None:
        # Whatever pyribs is given moves the bins, even if it is refused. It is given what beats its niche, and nothing else.
        occupied, elite = self.archive.retrieve_single(measures)
        if occupied and not fitness > elite["objective"]:
            return None
        niche = int(self.archive.index_of_single(measures))
        # It is admitted whatever the status says: where the bins move it may meet a better one in its new niche at once.
        self.archive.add_single(program, fitness, measures, id=id)
        return niche

    def held(self, measures: Sequence[float]) -> float:
        """Fitness of the elite in the niche of these measures, 0 where it is empty; for fixed niches."""
        assert self.best is not None
        values = np.array(measures, dtype=np.float64)
        if self.spec.kind != "grid":
            values = np.clip((values - self._low) / self._extent, 0.0, 1.0)
        return max(0.0, float(self.best[int(self.archive.index_of_single(values))]))

    def may_take(self, fitness: float, measures: Sequence[float]) -> bool:
        """Whether the archive would take a program; True where only an offer can tell."""
        if self.spec.kind != "grid":
            return True
        assert self.best is not None
        return fitness > self.best[int(self.archive.index_of_single(measures))]

    def elites(self) -> dict[str, NDArray[Any]]:
        """The elites: ``program``, ``fitness``, ``id`` and ``measures`` in their units, shape (elites, measures)."""
        values = "measures" if self.spec.kind in ("grid", "sliding") else "values"
        data = self.archive.data(["solution", "objective", "id", values])
        return {"program": data["solution"], "fitness": data["objective"], "id": data["id"], "measures": data[values]}


def map_figures(maps: Sequence[ProgramMap]) -> dict[str, Any]:
    """Niches filled, QD score and best fitness over some archives of equal spec.

    Args:
        maps: One or more.

    Returns:
        ``niches``, ``qd_score``, ``best``. Where niches are fixed, a niche counts once with the best over all maps;
        otherwise every elite counts.
    """
    known = [each.best for each in maps if each.best is not None]
    if len(known) == len(maps):
        best = functools.reduce(np.maximum, known)
        fitness = best[np.isfinite(best)].tolist()
    else:
        fitness = [value for each in maps for value in each.elites()["fitness"].tolist()]
    # fsum: exact, so the figure depends on the elites and not on the order or the machine they are added up on.
    return {"niches": len(fitness), "qd_score": math.fsum(fitness), "best": max(fitness, default=0.0)}
