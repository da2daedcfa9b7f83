"""Walks as the engine makes them, in a few kilobytes each, for a page that plays them.

A walk is stored as bytes, little-endian, compressed as raw DEFLATE:

- joints, muscles and frames, three unsigned 16-bit numbers;
- of each muscle its two joints, then whether it is active (0 or 1), then its phase in 256 parts of a turn: four columns of
  bytes. The phase says how long the muscle is at time t: longest where ``sin(DRIVE_RATE * t + phase)`` is 1. A muscle of
  negative amplitude is one of positive amplitude half a turn later;
- the joints as the program placed them, and in the first frame: x of all, y of all, each as a signed 16-bit number of steps
  (`Detail.step`);
- how each coordinate goes on: x of all joints, then y of all, each a row of frames. Of every coordinate the change of its
  change from frame to frame, zigzag coded: what is below 255 is a byte; 255 stands for the next of the 32-bit numbers that
  follow all bytes, less 255.

Rounding is to whole steps, and sums of whole numbers are exact: every decoded position is within half a step of the engine's.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation import ParallelMap
from sodarace_gym.physics.constants import DRIVE_RATE, FRAME_RATE
from sodarace_gym.physics.robustness import perturbed
from sodarace_gym.physics.rollout import roll_out_many
from sodarace_gym.programs.program import compile_programs
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign


class Detail(NamedTuple):
    """How much of a walk is kept.

    Attributes:
        every: One of so many of the FRAME_RATE frames a second.
        step: Positions are rounded to multiples of this, walker units.
    """

    every: int
    step: float

    @property
    def form(self) -> dict[str, float]:
        """What the page must know to decode and play a walk."""
        return {"step": self.step, "frame_rate": FRAME_RATE / self.every, "drive_rate": DRIVE_RATE}


DETAILS = (Detail(1, 1.0 / 32.0), Detail(2, 1.0 / 32.0), Detail(2, 1.0 / 20.0))
"""From the finest, whose step is a tenth of a joint's radius. The last takes less than half of the bytes of the first."""

_FAR = 900.0  # walker units: a joint beyond this has been flung away, and would not fit 16 bits
_ESCAPE = 255


class WalkJob(NamedTuple):
    """A walker that is to walk.

    Attributes:
        program: Its text.
        terrain: Where.
        copies: How many perturbed copies of it walk too.
    """

    program: str
    terrain: Terrain
    copies: int = 0


class Walked(NamedTuple):
    """What became of it.

    Attributes:
        data: The walk, encoded; empty where there is none to show.
        distance: Along x, walker units; 0.0 where there is an error.
        displacement: The same with its sign.
        copies: The distances of its perturbed copies; 0.0 for one that failed.
        error: None, or the kind of error.
        joints: How many it has; 0 where the program built no walker.
        muscles: How many it has.
    """

    data: bytes
    distance: float
    displacement: float
    copies: tuple[float, ...]
    error: str | None
    joints: int
    muscles: int


class DecodedWalk(NamedTuple):
    """A walk, decoded.

    Attributes:
        muscles: Rows of two joints, whether it is active, and the phase in 256 parts of a turn; shape (muscles, 4).
        joints: As the program placed them, shape (joints, 2), walker units.
        frames: Positions, shape (frames, joints, 2), walker units.
    """

    muscles: NDArray[np.int64]
    joints: NDArray[np.float64]
    frames: NDArray[np.float64]


def encode_walk(design: WalkerDesign, frames: NDArray[np.float64], step: float) -> bytes:
    """Encodes a walk.

    Args:
        design: The walker.
        frames: Positions, shape (frames >= 1, joints, 2), finite, all within 900 units of the start.
        step: Positions are rounded to multiples of this, walker units.

    Returns:
        See the module.
    """
    shape = np.array([len(design.joints), len(design.muscles), len(frames)], dtype="<u2")
    muscles = np.array([_drive(muscle) for muscle in design.muscles], dtype=np.uint8).T
    placed = np.rint(np.array(design.joints).T / step).astype("<i2")
    whole = np.rint(frames.transpose(2, 1, 0) / step).astype(np.int64).reshape(2 * len(design.joints), -1)
    changes = np.diff(whole, axis=1)
    changes[:, 1:] -= changes[:, :-1].copy()
    zigzag = np.where(changes >= 0, 2 * changes, -2 * changes - 1).ravel()
    large = zigzag >= _ESCAPE
    parts = [
        shape.tobytes(),
        muscles.tobytes(),
        placed.tobytes(),
        whole[:, 0].astype("<i2").tobytes(),
        np.where(large, _ESCAPE, zigzag).astype(np.uint8).tobytes(),
        (zigzag[large] - _ESCAPE).astype("<u4").tobytes(),
    ]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(b"".join(parts)) + packer.flush()


def _drive(muscle: tuple[int, int, bool, float, float]) -> tuple[int, int, int, int]:
    a, b, plain, amplitude, phase = muscle
    turns = phase / (2.0 * math.pi) + (0.5 if amplitude < 0.0 else 0.0)
    return a, b, int(not plain), 0 if plain else round(256.0 * (turns % 1.0)) % 256


def decode_walk(data: bytes, step: float) -> DecodedWalk:
    """Decodes a walk, as the page does.

    Args:
        data: What `encode_walk` returned.
        step: What it was given.
    """
    raw = zlib.decompress(data, -15)
    joints, muscles, count = np.frombuffer(raw, "<u2", 3).tolist()
    at = 6
    drives = np.frombuffer(raw, np.uint8, 4 * muscles, at).reshape(4, muscles).T.astype(np.int64)
    at += 4 * muscles
    placed = np.frombuffer(raw, "<i2", 2 * joints, at).reshape(2, joints).T * step
    at += 4 * joints
    first = np.frombuffer(raw, "<i2", 2 * joints, at).astype(np.int64)
    at += 4 * joints
    zigzag = np.frombuffer(raw, np.uint8, 2 * joints * (count - 1), at).astype(np.int64)
    zigzag[zigzag == _ESCAPE] += np.frombuffer(raw, "<u4", offset=at + len(zigzag))
    changes = np.where(zigzag % 2 == 0, zigzag // 2, -(zigzag + 1) // 2).reshape(2 * joints, count - 1)
    whole = np.concatenate([first[:, None], first[:, None] + changes.cumsum(axis=1).cumsum(axis=1)], axis=1)
    return DecodedWalk(drives, placed, whole.reshape(2, joints, count).transpose(2, 1, 0) * step)


def walk_all(jobs: Iterable[WalkJob], duration: float, detail: Detail, n_jobs: int = -1) -> Iterator[Walked]:
    """Runs programs and records how their walkers walk.

    Args:
        jobs: Who is to walk, and where.
        duration: Time to walk, s.
        detail: How much of each walk to keep.
        n_jobs: Threads; -1 for one a core.

    Yields:
        What became of each, in order.
    """
    listed = list(jobs)
    built = compile_programs((job.program for job in listed), processes=n_jobs if n_jobs > 0 else None)
    tasks = zip(listed, built, strict=True)
    yield from ParallelMap(n_jobs)(partial(_walk, duration=duration, detail=detail), tasks)


_Task = tuple[WalkJob, tuple[WalkerDesign, dict[str, int]] | ProgramError]


def _walk(tasks: Sequence[_Task], duration: float, detail: Detail) -> list[Walked]:
    """Rolls walkers out side by side: first those that are recorded, then the copies, whose frames nobody needs."""
    able = [(job, made[0]) for job, made in tasks if not isinstance(made, ProgramError)]
    rollouts = iter(
        roll_out_many([design for _, design in able], [job.terrain for job, _ in able], duration, record=True)
    )
    pairs = [(perturbed(design, copy), job.terrain) for job, design in able for copy in range(1, job.copies + 1)]
    copies = iter(roll_out_many([each for each, _ in pairs], [terrain for _, terrain in pairs], duration))
    walked = []
    for job, made in tasks:
        if isinstance(made, ProgramError):
            walked.append(Walked(b"", 0.0, 0.0, (0.0,) * job.copies, made.kind, 0, 0))
            continue
        design, rollout = made[0], next(rollouts)
        frames = kept_frames(rollout.trajectory, detail.every)
        others = [next(copies) for _ in range(job.copies)]
        displacement = rollout.displacement if rollout.fault is None else 0.0
        walked.append(
            Walked(
                encode_walk(design, frames, detail.step) if len(frames) else b"",
                abs(displacement),
                displacement,
                tuple(abs(each.displacement) if each.fault is None else 0.0 for each in others),
                rollout.fault,
                len(design.joints),
                len(design.muscles),
            )
        )
    return walked


def kept_frames(trajectory: NDArray[np.float64] | None, every: int) -> NDArray[np.float64]:
    """The frames of a roll-out that a page keeps: from the first up to a fault, one of so many.

    Args:
        trajectory: As recorded, shape (frames, joints, 2); frames after a fault are zero.
        every: Of how many one is kept.
    """
    assert trajectory is not None
    largest = np.abs(trajectory).max(axis=(1, 2))
    bad = np.flatnonzero(~((largest > 0.0) & (largest < _FAR)))  # a comparison with NaN is False too
    return trajectory[: int(bad[0]) if len(bad) else len(trajectory) : every]
