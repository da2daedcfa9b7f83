"""The archives of a run, pyribs' own, one for each seed on each terrain: what they take, and what they have come to.

They are never saved: the log of admitted programs, added again in its order, gives the same archives to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ribs.archives import GridArchive

from elm_rl.errors import ElmError
from elm_rl.mutation.operator import Parent
from elm_rl.runs.run_directory import ADMITTED_FILE

MEASURES = ("height", "width", "mass")
"""What spans the map, in this order: walker units, walker units, joint masses."""
DIMS = (12, 12, 12)
"""Bins along each measure: 1,728 niches, as in Lehman et al. 2022."""
RANGES = ((0.0, 24.0), (0.0, 30.0), (0.0, 300.0))
"""Lowest and highest value of each measure; heavier walkers share the last bin of mass."""


def make_archive() -> GridArchive:
    """An empty map: program texts as solutions, the objective, (height, width, mass) as measures; record ids."""
    return GridArchive(
        solution_dim=(),
        solution_dtype=object,  # str would silently keep one character
        dims=DIMS,
        ranges=RANGES,
        qd_score_offset=0.0,
        extra_fields={"id": ((), np.int64)},
        seed=0,  # never drawn from: parents come from the run's own generator
    )


class Maps:
    """The archives of a run by name.

    Args:
        terrains: The terrain that each archive's walkers are scored on, by the archive's name.

    Attributes:
        archives: The archives.
        terrains: As given.
    """

    def __init__(self, terrains: Mapping[str, str]) -> None:
        self.terrains = dict(terrains)
        self.archives = {name: make_archive() for name in terrains}
        self._best = {name: _fitness_by_niche(archive) for name, archive in self.archives.items()}

    def place(self, name: str, measures: Sequence[float], fitness: float) -> tuple[int, float | None]:
        """The niche of a walker, and what its fitness would add to the archive's QD score; None if it would not be taken."""
        niche = int(self.archives[name].index_of_single(measures))
        best = self._best[name][niche]
        if not fitness > best:
            return niche, None  # what the archive would say, in a tenth of the time
        return niche, float(fitness - max(best, 0.0))

    def add(self, record: Mapping[str, Any]) -> bool:
        """Offers an archive what a line of ``admitted.jsonl`` holds; True if it is taken."""
        name, measures = record["archive"], [record[measure] for measure in MEASURES]
        # One at a time: pyribs compares a batch with the archive before it, and keeps only the best in a niche.
        info = self.archives[name].add_single(record["program"], record["fitness"], measures, id=record["id"])
        taken = bool(info["status"])
        if taken:
            self._best[name][int(record["niche"])] = record["fitness"]
        return taken

    def rebuild(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Fills empty archives with admitted records, all of them from the first, in their order.

        Raises:
            ElmError: A record is not what this version of the archive would have admitted.
        """
        for number, record in enumerate(records):
            try:
                niche = int(self.archives[record["archive"]].index_of_single([record[name] for name in MEASURES]))
                fits = record["id"] == number and record["niche"] == niche and self.add(record)
            except (KeyError, TypeError, ValueError):
                fits = False
            if not fits:
                raise ElmError(
                    f"Line {number + 1} of {ADMITTED_FILE} was not written by this version for these seeds; resume with "
                    "the versions in versions.json, or start a new run."
                )

    def draw(self, name: str, count: int, others: int, rng: np.random.Generator) -> list[Parent]:
        """Draws elites of an archive, uniformly and each anew.

        Args:
            name: The archive.
            count: How many.
            others: How many further elites come with each.
            rng: Source of all randomness.
        """
        elites = self.archives[name].data(["id", "solution", "objective", "measures"])

        def parent(index: int) -> Parent:
            return Parent(
                elites["solution"][index],
                id=int(elites["id"][index]),
                fitness=float(elites["objective"][index]),
                measures=dict(zip(MEASURES, elites["measures"][index].tolist(), strict=True)),
                archive=name,
                terrain=self.terrains[name],
            )

        drawn = rng.integers(len(elites["id"]), size=(count, 1 + others)).tolist()
        return [with_others([parent(index) for index in row]) for row in drawn]

    def figures(self) -> dict[str, Any]:
        """Niches filled, QD score and best fitness: of the best over all archives of a terrain, and of each archive.

        Niches and QD score of several terrains are added up.
        """
        archives = {name: _map_figures(fitness) for name, fitness in self._best.items()}
        grounds = []
        for terrain in dict.fromkeys(self.terrains.values()):
            of_terrain = [self._best[name] for name, ground in self.terrains.items() if ground == terrain]
            grounds.append(_map_figures(np.maximum.reduce(of_terrain)))
        return {
            "niches": sum(each["niches"] for each in grounds),
            "qd_score": math.fsum(each["qd_score"] for each in grounds),
            "best": max(each["best"] for each in grounds),
            "archives": archives,
        }


def parent_of(record: Mapping[str, Any], terrains: Mapping[str, str]) -> Parent:
    """The parent that `Maps.draw` makes of an elite, from the elite's line in ``admitted.jsonl``."""
    return Parent(
        record["program"],
        id=record["id"],
        fitness=record["fitness"],
        measures={name: record[name] for name in MEASURES},
        archive=record["archive"],
        terrain=terrains[record["archive"]],
    )


def with_others(parents: Sequence[Parent]) -> Parent:
    """The first of some parents, with the rest as its ``others``."""
    first, *others = parents
    if not others:
        return first
    return Parent(**{**first.__dict__, "others": tuple(others)})


def rebuild_archives(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, GridArchive]:
    """The archives of a run from the lines of its ``admitted.jsonl``.

    Raises:
        ElmError: A record is not what this version of the archive would have admitted.
    """
    maps = Maps(dict.fromkeys(names, ""))
    maps.rebuild(records)
    return maps.archives


def _fitness_by_niche(archive: GridArchive) -> NDArray[np.float64]:
    """Fitness of each niche's elite, -inf where there is none; shape (niches,)."""
    fitness = np.full(int(archive.cells), -np.inf)
    elites = archive.data(["objective", "index"])
    fitness[elites["index"]] = elites["objective"]
    return fitness


def _map_figures(fitness: NDArray[np.float64]) -> dict[str, Any]:
    filled = fitness[np.isfinite(fitness)].tolist()
    # fsum: exact, so the figure depends on the elites and not on the order or the machine they are added up on.
    return {"niches": len(filled), "qd_score": math.fsum(filled), "best": max(filled, default=0.0)}
