"""The archives of a run, one for each seed on each terrain: what they take, who is drawn from them, what they have come to.

They are never saved: the log of admitted programs, offered again in its order, gives the same archives to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elm_rl.errors import ElmError
from elm_rl.evolution.archives import ArchiveSpec, ProgramMap, map_figures
from elm_rl.evolution.measures import MEASURES
from elm_rl.mutation.operator import Parent
from elm_rl.runs.run_directory import ADMITTED_FILE
from sodarace_gym.evaluation import Evaluation


class Taken(NamedTuple):
    """What an archive has taken.

    Attributes:
        niche: Where (see `ProgramMap.offer`).
        gain: What that added to the archive's QD score.
    """

    niche: int
    gain: float


class Maps:
    """The archives of a run by name.

    Args:
        spec: What archives they are.
        terrains: The terrain that each archive's walkers are scored on, by the archive's name.

    Attributes:
        spec: As given.
        terrains: As given.
    """

    def __init__(self, spec: ArchiveSpec, terrains: Mapping[str, str]) -> None:
        self.spec = spec
        self.terrains = dict(terrains)
        self._maps = {name: ProgramMap(spec) for name in terrains}

    @property
    def archives(self) -> dict[str, Any]:
        """The pyribs archives by name, to be read."""
        return {name: each.archive for name, each in self._maps.items()}

    def offer(self, name: str, program: str, fitness: float, measures: Mapping[str, float], *, id: int) -> Taken | None:
        """Offers a program to an archive; None if it is not taken."""
        ours = self._maps[name]
        before = ours.archive.stats.qd_score
        niche = ours.offer(program, fitness, [measures[each] for each in self.spec.measures], id=id)
        return None if niche is None else Taken(niche, float(ours.archive.stats.qd_score - before))

    def may_take(self, name: str, fitness: float, measures: Mapping[str, float]) -> bool:
        """Whether an archive would take a program; True where only an offer can tell."""
        return self._maps[name].may_take(fitness, [measures[each] for each in self.spec.measures])

    def held(self, name: str, evaluation: Evaluation) -> float:
        """Fitness of the elite whose niche a walker would come to, as far as that is known before it has walked.

        0 where the niche is empty; and everywhere, where archives have no fixed niches or are spanned by gaits.
        """
        if not self.spec.fixed or any(MEASURES[each].gait for each in self.spec.measures):
            return 0.0
        return self._maps[name].held(list(self.spec.measure(evaluation).values()))

    def rebuild(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Fills empty archives with admitted records, all of them from the first, in their order.

        Raises:
            ElmError: A record is not what this version of the archive would have admitted.
        """
        for number, record in enumerate(records):
            try:
                taken = self.offer(record["archive"], record["program"], record["fitness"], record, id=number)
                fits = taken is not None and (record["id"], record["niche"]) == (number, taken.niche)
            except (KeyError, TypeError, ValueError):
                fits = False
            if not fits:
                raise ElmError(
                    f"Line {number + 1} of {ADMITTED_FILE} was not written by this version for these seeds; resume with "
                    "the versions in versions.json, or start a new run."
                )

    def draw(
        self, name: str, count: int, others: int, rng: np.random.Generator, *, tournament: int = 1, uniform: float = 0.0
    ) -> list[Parent]:
        """Draws elites of an archive, each anew: some uniformly, the others as the fittest of several.

        Args:
            name: The archive.
            count: How many.
            others: How many further elites come with each.
            rng: Source of all randomness.
            tournament: Of how many, drawn uniformly, the fittest is taken.
            uniform: Share of the parents that are drawn uniformly after all.
        """
        elites = self._maps[name].elites()

        def parent(index: int) -> Parent:
            return Parent(
                elites["program"][index],
                id=int(elites["id"][index]),
                fitness=float(elites["fitness"][index]),
                measures=dict(zip(self.spec.measures, elites["measures"][index].tolist(), strict=True)),
                archive=name,
                terrain=self.terrains[name],
            )

        entered = rng.integers(len(elites["id"]), size=(count, 1 + others, tournament))
        winners = np.asarray(elites["fitness"])[entered].argmax(axis=2)
        winners[rng.random(count) < uniform] = 0
        drawn = np.take_along_axis(entered, winners[:, :, None], axis=2)[:, :, 0].tolist()
        return [with_others([parent(index) for index in row]) for row in drawn]

    def parent_of(self, record: Mapping[str, Any]) -> Parent:
        """The parent that `draw` makes of an elite, from the elite's line in ``admitted.jsonl``."""
        return Parent(
            record["program"],
            id=record["id"],
            fitness=record["fitness"],
            measures={name: record[name] for name in self.spec.measures},
            archive=record["archive"],
            terrain=self.terrains[record["archive"]],
        )

    def figures(self) -> dict[str, Any]:
        """Niches filled, QD score and best fitness: of the best over all archives of a terrain, and of each archive.

        Niches and QD scores of several terrains are added up.
        """
        archives = {name: map_figures([each]) for name, each in self._maps.items()}
        grounds = []
        for terrain in dict.fromkeys(self.terrains.values()):
            grounds.append(
                map_figures([self._maps[name] for name, ground in self.terrains.items() if ground == terrain])
            )
        return {
            "niches": sum(each["niches"] for each in grounds),
            "qd_score": math.fsum(each["qd_score"] for each in grounds),
            "best": max(each["best"] for each in grounds),
            "archives": archives,
        }


def with_others(parents: Sequence[Parent]) -> Parent:
    """The first of some parents, with the rest as its ``others``."""
    first, *others = parents
    if not others:
        return first
    return Parent(**{**first.__dict__, "others": tuple(others)})


def rebuild_archives(
    records: Sequence[Mapping[str, Any]], names: Sequence[str], spec: ArchiveSpec | None = None
) -> dict[str, Any]:
    """The pyribs archives of a run from the lines of its ``admitted.jsonl``.

    Args:
        records: The lines, all of them from the first.
        names: Names of the archives.
        spec: What archives the run has; the default ones when left out.

    Raises:
        ElmError: A record is not what this version of the archive would have admitted.
    """
    maps = Maps(spec or ArchiveSpec(), dict.fromkeys(names, ""))
    maps.rebuild(records)
    return maps.archives
