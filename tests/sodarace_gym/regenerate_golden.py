"""Writes the committed data of the physics tests anew, after a wanted change of constants or terrains.

    python -m tests.sodarace_gym.regenerate_golden            trajectories only, some seconds
    python -m tests.sodarace_gym.regenerate_golden --search   also searches for fast walkers, about a minute
    python -m tests.sodarace_gym.regenerate_golden --panel    the panel alone, by plain pymunk, a quarter of a minute

Read the printed table before you commit: it is what the change did to five walkers on five terrains.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter

import numpy as np

from sodarace_gym.errors import ProgramError
from sodarace_gym.physics.constants import CONSTANTS, DURATION, FRAME_RATE
from sodarace_gym.physics.reference import roll_out_plainly
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import MAX_AMPLITUDE_RATIO, WalkerDesign, build_design
from tests.sodarace_gym import panel
from tests.sodarace_gym.sample_walkers import GOLDEN, design_to_json, random_designs, runner, square, wheel

TRUSTED_ERROR = 1e-9
"""A trajectory is compared closely while its mirror image, which differs by rounding only, is as near as this, units."""
LEAST_TRUSTED_SECONDS = 3
SEARCH_RANDOM, SEARCH_MUTATED, WINNERS = 300, 1000, 3


def trusted_seconds(design: WalkerDesign, terrain: Terrain, trajectory: np.ndarray) -> int:
    """Whole seconds for which rounding does not matter: a fair forecast of how far other machines agree."""
    mirrored = roll_out(design.mirrored(), terrain.mirrored(), record=True)
    assert mirrored.trajectory is not None
    error = np.abs(trajectory - mirrored.trajectory * [-1.0, 1.0]).max(axis=(1, 2))
    frames = len(error) if error.max() <= TRUSTED_ERROR else int(np.argmax(error > TRUSTED_ERROR))
    return max(frames - 1, 0) // FRAME_RATE


def trajectories(design: WalkerDesign) -> dict[str, dict[str, object]] | None:
    """The walker's centre of mass each second on each terrain; None if it is too sensitive to be compared at all."""
    rows = {}
    for name in TERRAIN_NAMES:
        terrain = make_terrain(name)
        rollout = roll_out(design, terrain, record=True)
        assert rollout.trajectory is not None
        seconds = trusted_seconds(design, terrain, rollout.trajectory)
        if rollout.fault is not None or seconds < LEAST_TRUSTED_SECONDS:
            return None
        centres = rollout.trajectory[::FRAME_RATE].mean(axis=1)
        rows[name] = {"trusted_seconds": seconds, "centres": [[round(float(v), 10) for v in c] for c in centres]}
    return rows


def write_trajectories() -> None:
    """Writes trajectories.json and prints what is in it."""
    candidates = [("square", square()), ("wheel", wheel()), ("runner", runner())]
    candidates += [(f"random {k}", design) for k, design in enumerate(random_designs(seed=2, count=40))]
    walkers: dict[str, object] = {}
    randoms = 0
    for name, design in candidates:
        # Two random ones that walk: many hardly leave the spot.
        drawn = name.startswith("random")
        if drawn and (randoms == 2 or abs(roll_out(design, make_terrain("Flat")).displacement) < 5.0):
            continue
        rows = trajectories(design)
        if rows is None:
            print(f"{name}: left out, too sensitive to rounding")
            continue
        randoms += drawn
        walkers[name] = {"design": design_to_json(design), "terrains": rows}
        moved = {t: round(r["centres"][-1][0] - r["centres"][0][0], 2) for t, r in rows.items()}  # type: ignore[index]
        print(f"{name}: {moved}, trusted {[r['trusted_seconds'] for r in rows.values()]} s")
    if len(walkers) < 4 or randoms < 2:
        raise SystemExit("too few walkers are insensitive enough: choose others in write_trajectories().")
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "trajectories.json").write_text(json.dumps({"duration": DURATION, "walkers": walkers}) + "\n")


def mutate(design: WalkerDesign, rng: np.random.Generator) -> WalkerDesign:
    """Moves a joint, redraws a muscle, shifts a phase or adds a muscle; the walker itself if that breaks a limit."""
    joints, muscles = [list(joint) for joint in design.joints], [list(muscle) for muscle in design.muscles]
    for _ in range(int(rng.integers(1, 4))):
        kind, joint, index = rng.integers(4), int(rng.integers(len(joints))), int(rng.integers(len(muscles)))
        muscle = muscles[index]
        if kind == 0:
            joints[joint] = [round(float(c + rng.normal(0.0, 0.7)), 2) for c in joints[joint]]
        elif kind == 1:
            bound = MAX_AMPLITUDE_RATIO * math.dist(joints[muscle[0]], joints[muscle[1]])
            muscle[2:] = [False, round(float(rng.uniform(0.0, bound)), 2), round(float(rng.uniform(0.0, math.tau)), 2)]
        elif kind == 2:
            muscle[4] = round(float(muscle[4] + rng.normal(0.0, 0.5)), 2)
        else:
            other = int(rng.integers(len(joints)))
            muscles.append([joint, other, bool(rng.integers(2)), 1.0, round(float(rng.uniform(0.0, math.tau)), 2)])
    try:
        return build_design([(x, y) for x, y in joints], [tuple(m) for m in muscles])[0]  # type: ignore[misc]
    except ProgramError:
        return design


def write_fast_walkers() -> None:
    """Writes fast_walkers.json: for each terrain the winners of random search followed by hill climbing."""
    winners: list[WalkerDesign] = []
    for number, name in enumerate(TERRAIN_NAMES):
        rng = np.random.default_rng(number)
        terrain = make_terrain(name)

        def fitness(design: WalkerDesign, terrain: Terrain = terrain) -> float:
            return abs(roll_out(design, terrain).displacement)

        found = {design: fitness(design) for design in (random_design(rng) for _ in range(SEARCH_RANDOM))}
        for _ in range(SEARCH_MUTATED):
            best = sorted(found, key=found.__getitem__, reverse=True)[:20]
            child = mutate(best[int(rng.integers(len(best)))], rng)
            if child not in found:
                found[child] = fitness(child)
        best = sorted(found, key=found.__getitem__, reverse=True)
        print(f"{name}: {[round(found[design], 1) for design in best[:WINNERS]]}")
        winners += best[:WINNERS]
    GOLDEN.mkdir(exist_ok=True)
    rows = ",\n".join(json.dumps(design_to_json(design)) for design in winners)
    (GOLDEN / "fast_walkers.json").write_text(f"[\n{rows}\n]\n")


def write_panel() -> None:
    """Writes panel.txt: what plain pymunk makes of the panel."""
    motions = [
        (name, kind, roll_out_plainly(world, CONSTANTS, panel.FRAMES_EVERY)) for name, kind, world in panel.panel()
    ]
    panel.PANEL.write_text("".join(f"{panel.line(*case)}\n" for case in motions))
    print(Counter(panel.outcome(motion) for _, _, motion in motions))


def main() -> None:
    """Reads the command line and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", action="store_true", help="also search for fast walkers")
    parser.add_argument("--panel", action="store_true", help="only write the panel of roll-outs")
    arguments = parser.parse_args()
    if arguments.panel:
        write_panel()
        return
    if arguments.search:
        write_fast_walkers()
    write_trajectories()


if __name__ == "__main__":
    main()
