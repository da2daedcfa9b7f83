"""Walks as a page keeps them: what is decoded is what the engine said, to half a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elm_rl.report.viewer.walks import DETAILS, WalkJob, decode_walk, encode_walk, kept_frames, walk_all
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.library import load_walker
from sodarace_gym.walkers.walker import Muscle, WalkerDesign

STEP = DETAILS[0].step
NAMES = ("square", "radial", "cppn_mutable", "biped")
PAIR = WalkerDesign(((0.0, 0.0), (1.0, 2.0)), (Muscle(0, 1, False, -0.3, 1.0),))


@pytest.mark.parametrize("terrain", ["Flat", "Bumpy"])
def test_decoded_positions_are_the_engines_to_half_a_step(terrain: str) -> None:
    for name in NAMES:
        design = compile_program(load_walker(name))[0]
        trajectory = roll_out(design, make_terrain(terrain), duration=4.0, record=True).trajectory
        decoded = decode_walk(encode_walk(design, kept_frames(trajectory, 1), STEP), STEP)
        assert decoded.frames.shape == trajectory.shape
        assert np.abs(decoded.frames - trajectory).max() <= STEP / 2
        assert np.abs(decoded.joints - np.array(design.joints)).max() <= STEP / 2
        assert [tuple(row[:3]) for row in decoded.muscles.tolist()] == [
            (muscle.a, muscle.b, not muscle.distance_only) for muscle in design.muscles
        ]


@given(
    st.lists(st.tuples(*[st.floats(-900.0, 900.0)] * 4), min_size=1, max_size=12).map(np.array),
    st.sampled_from([detail.step for detail in DETAILS]),
)
def test_any_motion_is_kept_to_half_a_step(rows: NDArray[np.float64], step: float) -> None:
    frames = rows.reshape(-1, 2, 2)
    assert np.abs(decode_walk(encode_walk(PAIR, frames, step), step).frames - frames).max() <= step / 2 + 1e-9


@given(st.floats(-1e6, 1e6), st.floats(0.01, 5.0), st.sampled_from([-1.0, 1.0]), st.floats(0.0, 10.0))
def test_the_phase_says_how_a_muscle_is_driven(phase: float, amplitude: float, sign: float, angle: float) -> None:
    design = WalkerDesign(PAIR.joints, (Muscle(0, 1, False, sign * amplitude, phase),))
    (turns,) = decode_walk(encode_walk(design, np.zeros((1, 2, 2)), STEP), STEP).muscles[:, 3]
    drawn, driven = np.sin(angle + 2.0 * np.pi * turns / 256.0), sign * np.sin(angle + phase)
    assert abs(drawn - driven) <= np.pi / 256.0 + 1e-6


def test_distances_are_the_evaluators_to_the_last_bit() -> None:
    terrain = make_terrain("Hills", seed=3, difficulty=0.4)
    programs = [*map(load_walker, NAMES), "def make_walker():\n    return 3\n"]
    with Evaluator(n_jobs=1, duration=3.0, robustness=2) as evaluator:
        evaluated = evaluator.evaluate(programs, terrain)
    walked = list(walk_all([WalkJob(program, terrain, 2) for program in programs], 3.0, DETAILS[-1], n_jobs=2))
    for ours, theirs in zip(walked, evaluated, strict=True):
        assert (ours.distance, ours.displacement, ours.copies) == (
            theirs.fitness,
            theirs.displacement,
            theirs.copy_distances,
        )
        assert ours.error == (theirs.error and theirs.error.kind)
    assert walked[-1].data == b""
    assert len(decode_walk(walked[0].data, DETAILS[-1].step).frames) == 31, (
        "every second of the frames, the first and the last among them"
    )


def test_frames_end_before_a_fault() -> None:
    trajectory = np.ones((7, 2, 2))
    trajectory[4, 1, 0] = np.nan
    trajectory[5:] = 0.0
    assert len(kept_frames(trajectory, 1)) == 4
    assert len(kept_frames(trajectory, 2)) == 2
    trajectory[0, 0, 1] = 1e7
    assert len(kept_frames(trajectory, 1)) == 0
