"""Which of the 1,728 niches of the default map can a walker reach at all?

Not what evolution finds but what there is: random walkers, the same ones stretched, walkers built for one niche after the
other, and hill climbing for the niches that are then still empty. A niche counts as reached when a walker within all limits
lies in it and walks on Flat for 10 s without a fault. What the limits exclude is worked out beside it.

Usage: ``python -m benchmarks.reachable_niches [--run RUN/evolution] [--write]``. Takes half a minute on one core; the same seed
finds the same walkers.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.niche_walkers import (
    HIGH,
    LOW,
    SPEC,
    STEP,
    Niche,
    built_for,
    changed,
    every_niche,
    excluded,
    fewest_joints,
    joined,
    least_mass,
    most_mass,
    niche_of,
)
from benchmarks.tables import RESULTS, markdown_table, publish
from sodarace_gym.errors import ProgramError
from sodarace_gym.physics.rollout import roll_out_many
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import MAX_HEIGHT, MAX_JOINTS, MAX_MUSCLES, MAX_WIDTH, WalkerDesign, build_design

BATCH = 64
"""Walkers that are simulated side by side while random ones are drawn."""


@dataclass
class Search:
    """What is known so far.

    Attributes:
        walkers: A walker for each niche that is reached.
        distances: How far it walks on Flat in 10 s, walker units.
        tried: Walkers that were simulated.
        faults: How many of them failed, by fault.
    """

    walkers: dict[Niche, WalkerDesign] = field(default_factory=dict)
    distances: dict[Niche, float] = field(default_factory=dict)
    tried: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def offer(self, designs: Sequence[WalkerDesign]) -> None:
        """Simulates walkers and notes the niches that they reach; the farther one stays."""
        rollouts = roll_out_many(designs, [make_terrain("Flat")] * len(designs))
        for design, rollout in zip(designs, rollouts, strict=True):
            self.tried += 1
            if rollout.fault is not None:
                self.faults[rollout.fault] += 1
                continue
            niche, distance = niche_of(design), abs(rollout.displacement)
            if distance > self.distances.get(niche, -1.0):
                self.walkers[niche], self.distances[niche] = design, distance

    @property
    def empty(self) -> list[Niche]:
        """Niches that are not reached."""
        return [niche for niche in every_niche() if niche not in self.walkers]


def random_walkers(count: int, search: Search, rng: np.random.Generator, stretch: bool) -> NDArray[np.int64]:
    """Draws walkers, and simulates those in niches that are still empty.

    Args:
        count: How many.
        search: Gets what they reach.
        rng: Source of randomness.
        stretch: Whether each is stretched to a random height and width first, muscles and all.

    Returns:
        How many lie in each niche, in the shape of the map.
    """
    met = np.zeros(SPEC.bins, np.int64)
    waiting: dict[Niche, WalkerDesign] = {}
    for _ in range(count):
        design = random_design(rng)
        if stretch:
            points = np.array(design.joints)
            points *= rng.uniform(size=2) * (MAX_WIDTH, MAX_HEIGHT) / np.maximum(np.ptp(points, axis=0), 1e-9)
            try:
                design, _ = build_design([(x, y) for x, y in points.tolist()], design.muscles)
            except ProgramError:
                continue  # so flat that nothing of it was left
        niche = niche_of(design)
        met[niche] += 1
        if niche not in search.walkers:
            waiting.setdefault(niche, design)
        if len(waiting) == BATCH:
            search.offer(list(waiting.values()))
            waiting.clear()
    search.offer(list(waiting.values()))
    return met


def build_for_all(search: Search, rng: np.random.Generator, rounds: int = 10, tries: int = 20) -> None:
    """Tries to build a walker for every niche that is empty, over and over."""
    for _ in range(rounds):
        attempts = ((built_for(niche, rng) for _ in range(tries)) for niche in search.empty)
        search.offer([design for built in attempts if (design := next(filter(None, built), None))])


def climb(search: Search, rng: np.random.Generator, rounds: int = 30, neighbours: int = 8) -> None:
    """Changes the walkers of the nearest niches that are reached until they reach the empty ones."""
    for _ in range(rounds):
        found: list[WalkerDesign] = []
        for niche in search.empty:
            near = sorted(search.walkers, key=functools.partial(math.dist, niche))[:neighbours]
            attempts = (changed(search.walkers[other], niche, rng) for other in near)
            found += list(filter(None, attempts))[:1]
        search.offer(found)


def heaviest(rng: np.random.Generator) -> float:
    """Mass of the heaviest walker that walks, of some built of two heaps of joints in opposite corners of the largest box."""
    heap = 0.4 * np.stack(np.divmod(np.arange(MAX_JOINTS // 2), 6), axis=1)
    points = np.concatenate([heap, np.array([MAX_WIDTH, MAX_HEIGHT]) - heap])
    for share in np.linspace(1.0, 0.05, 20).tolist():
        muscles = joined(points, share * most_mass(MAX_HEIGHT, MAX_WIDTH), rng, "long")
        assert muscles is not None
        design, _ = build_design([(x, y) for x, y in points.tolist()], muscles)
        if roll_out_many([design], [make_terrain("Flat")])[0].fault is None:
            return design.mass
    return 0.0


# ------------------------------------------------------------------------------------------------------------ reporting


def draw(path: Path, met: NDArray[np.int64], search: Search) -> None:
    """A panel for each bin of mass: how many random walkers lie in each niche, and which niches only building reaches."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    figure, axes = plt.subplots(3, 4, figsize=(11.0, 8.5), layout="constrained", sharex=True, sharey=True)
    for mass, axis in enumerate(axes.flat):
        panel = np.where(met[:, :, mass] > 0, met[:, :, mass].astype(float), np.nan)
        extent = (LOW[1], HIGH[1], LOW[0], HIGH[0])
        image = axis.imshow(
            panel, origin="lower", extent=extent, aspect="auto", cmap="viridis", norm=LogNorm(1, max(2, met.max()))
        )
        for height, width in np.argwhere(met[:, :, mass] == 0).tolist():
            at = LOW[1] + (width + 0.5) * STEP[1], LOW[0] + (height + 0.5) * STEP[0]
            reached = (height, width, mass) in search.walkers
            axis.plot(*at, "." if reached else "x", color="tab:orange" if reached else "tab:red", markersize=4)
        last = "" if mass + 1 < SPEC.bins[2] else " and more"
        axis.set_title(f"mass {LOW[2] + mass * STEP[2]:g} to {LOW[2] + (mass + 1) * STEP[2]:g}{last}", fontsize=9)
    figure.supxlabel("width, walker units")
    figure.supylabel("height, walker units")
    figure.colorbar(image, ax=axes, label="random walkers, as drawn and stretched, in the niche", shrink=0.7)
    figure.suptitle("dot: reached by a walker built for it; cross: not reached")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def report(
    stages: Sequence[tuple[str, int, int]], masses: Mapping[str, NDArray[np.float64]], search: Search, heaviest: float
) -> str:
    """The tables, and what follows from them.

    Args:
        stages: What was done; walkers simulated and niches reached up to then.
        masses: Shares of some walkers in the bins of mass, by what walkers they are.
        search: What was found.
        heaviest: Mass of the heaviest walker known.
    """
    niches = list(every_niche())
    walked = np.array([search.distances.get(niche, 0.0) for niche in niches])
    faults = ", ".join(f"{count} {fault}" for fault, count in sorted(search.faults.items())) or "none"
    fewest = max(niches, key=fewest_joints)
    largest = (LOW + (np.array(SPEC.bins) - 1) * STEP)[:2]  # where the niches of the largest walkers begin
    missing = ", ".join(map(str, search.empty))
    rows = [[name, f"{tried:,}", f"{reached:,}"] for name, tried, reached in stages]
    ends = [f"{LOW[2] + place * STEP[2]:g}" for place in range(SPEC.bins[2])]
    shares = [[name, *(f"{100.0 * share:.1f}" for share in row)] for name, row in masses.items()]
    reached = (
        f"**{len(search.walkers):,} of {len(niches):,} niches are reached** by a walker within all limits that walks on Flat "
        "for 10 s without a fault. "
        + (f"Not reached, by bins of height, width and mass: {missing}. " if missing else "")
        + f"Of the walkers simulated, these failed: {faults}. Nothing selected them for distance: those of "
        f"{(walked >= 1.0).sum()} niches walk 1 unit or more, of {(walked >= 5.0).sum()} 5, of {(walked >= 10.0).sum()} 10. "
        "Other terrains were not tried; all start with 16 units of level ground to both sides."
    )
    argued = (
        f"The limits on joints, muscles and size exclude {sum(map(excluded, niches))} niches. A walker with a box h high and "
        "w wide has at least the mass 2 + d / 2 with d² = h² + w²: two joints, and muscles that lead from edge to edge of the "
        f"box. That is {least_mass(*largest):.1f} where the niches of the highest and widest walkers begin, and the lightest "
        f"bin ends at {STEP[2]:g}: no walker is too large to be light. It has at most {MAX_JOINTS} + {MAX_MUSCLES // 2} d, and "
        f"the boxes of even the smallest niche have diagonals up to {math.hypot(*STEP[:2]):.1f}: none is too small to be "
        f"heavy. Only, it takes joints: niche {fewest} (bins of height, width and mass) needs {fewest_joints(fewest)} or more."
    )
    chosen = (
        "Are the ranges well chosen? Those of height and width end where the limits on walkers do "
        f"({MAX_HEIGHT:g} and {MAX_WIDTH:g}): no bin is out of reach, and none collects what lies beyond. That of mass ends at "
        f"{HIGH[2]:g}, where a walker of {heaviest:,.0f} still walks; the last bin collects all that is heavier. A range is "
        "too short where the last bin holds far more than an even share (8.3%), and too long where the last bins hold next to "
        "nothing. The share of walkers in each bin of mass, %:"
    )
    tables = (
        markdown_table(["after", "walkers simulated", "niches reached"], rows),
        markdown_table(["bin from", *ends], shares),
    )
    return "\n\n".join([tables[0], reached, argued, chosen, tables[1]])


def mass_shares(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of some walkers in each bin of mass, shape (bins,)."""
    bins = np.clip((masses - LOW[2]) / STEP[2], 0, SPEC.bins[2] - 1).astype(np.int64)
    return np.bincount(bins, minlength=SPEC.bins[2]) / max(1, len(masses))


def bred_masses(run: Path) -> dict[str, NDArray[np.float64]]:
    """Shares of what a run of evolution admitted, and of the elites that it ended with, in the bins of mass."""
    records = [json.loads(line) for line in (run / "admitted.jsonl").read_text(encoding="utf-8").splitlines()]
    elites = {
        (record["archive"], record["niche"]): record["mass"] for record in records
    }  # the last in a niche is the best
    return {
        "admitted in a run": mass_shares(np.array([record["mass"] for record in records])),
        "its elites": mass_shares(np.array(list(elites.values()))),
    }


def main() -> None:
    """Searches, prints and optionally writes the tables and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--walkers", type=int, default=20_000, help="random walkers, and as many stretched (default 20,000)"
    )
    parser.add_argument("--run", type=Path, help="folder of an evolution whose walkers' masses are to be looked at too")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/reachable_niches.md and .png")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    search = Search()
    stages: list[tuple[str, int, int]] = []

    def note(stage: str) -> None:
        stages.append((stage, search.tried, len(search.walkers)))

    drawn = random_walkers(options.walkers, search, rng, stretch=False)
    note(f"{options.walkers:,} random walkers, one for each niche that they meet")
    stretched = random_walkers(options.walkers, search, rng, stretch=True)
    note(f"{options.walkers:,} random walkers stretched to a random height and width, in the same way")
    build_for_all(search, rng)
    note("walkers built for each empty niche: joints around a diagonal, muscles until the mass fits")
    climb(search, rng)
    note("hill climbing from the nearest niches")
    masses = {
        name: met.sum(axis=(0, 1)) / met.sum() for name, met in (("random", drawn), ("random, stretched", stretched))
    }
    if options.run:
        masses |= bred_masses(options.run)
    body = report(stages, masses, search, heaviest(rng))
    publish("reachable_niches", "How many of the 1,728 niches can a walker reach?", body, options.write)
    if options.write:
        draw(RESULTS / "reachable_niches.png", drawn + stretched, search)


if __name__ == "__main__":
    main()
