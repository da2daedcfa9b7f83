"""Which walkers a cross table is about: of the elites of some runs, those that do well on one terrain or another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elm_rl.corpus.admitted import AdmittedProgram, read_admitted


def read_elites(runs: Sequence[Path]) -> list[AdmittedProgram]:
    """The final elites of evolution runs, each text once, in order.

    Raises:
        ElmError: A run is missing or damaged.
    """
    elites: list[AdmittedProgram] = []
    for index, folder in enumerate(runs):
        last = {(each.archive, each.niche): each for each in read_admitted(folder, index)}
        elites += last.values()
    return list({each.program: each for each in elites}.values())


def best_in_turn(distances: NDArray[np.float64], designs: Sequence[bytes | None], count: int) -> list[int]:
    """Chooses the best, terrain by terrain in turn, each design once.

    So there are as many specialists of each terrain, and whoever is good everywhere comes first.

    Args:
        distances: (terrains, programs); only what moves is chosen.
        designs: What tells walkers apart; None for a program that builds none.
        count: How many to choose at most.

    Returns:
        Places of the chosen programs.
    """
    chosen: list[int] = []
    taken: set[bytes | None] = {None}
    queues = [iter(np.argsort(-row, kind="stable").tolist()) for row in distances]
    rows = list(range(len(queues)))
    while rows and len(chosen) < count:
        for row in rows[:]:
            place = next(
                (each for each in queues[row] if designs[each] not in taken and distances[row, each] > 0), None
            )
            if place is None:
                rows.remove(row)
            elif len(chosen) < count:
                chosen.append(place)
                taken.add(designs[place])
    return chosen
