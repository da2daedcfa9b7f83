"""How much of a walker's distance is luck: copies of it whose joints are a hair's breadth off.

Contacts make walkers chaotic, and whoever keeps the best of many tries keeps the luckiest: Lehman et al. (2022) found that
many of their Radial walkers exploited chaos. A copy with joints moved by a thousandth of a unit is the same walker to the
eye; if it walks much less far, the distance belonged to that one trajectory and not to the design.
"""

from __future__ import annotations

import hashlib
from array import array
from itertools import chain

import numpy as np

from sodarace_gym.walkers.walker import WalkerDesign

PERTURBATION = 1e-3
"""Standard deviation of the shift of every joint along x and y, walker units: a hundredth of MIN_JOINT_DISTANCE."""


def design_digest(design: WalkerDesign) -> bytes:
    """16 bytes that tell designs apart: equal for equal numbers, in any process and on any machine."""
    numbers = array("d", [len(design.joints)])
    numbers.extend(chain.from_iterable(design.joints))
    numbers.extend(chain.from_iterable(design.muscles))
    return hashlib.blake2b(numbers.tobytes(), digest_size=16).digest()


def perturbed(design: WalkerDesign, copy: int) -> WalkerDesign:
    """A copy of a walker with every joint moved by a tiny amount.

    The shift depends on the design and the copy's number alone, so that what is measured with it is repeatable. Rest lengths
    follow the joints: the copy is built as it stands, without strain.

    Args:
        design: The walker.
        copy: Number of the copy, at least 1.

    Returns:
        The copy; its size may pass the limits of a program's walker by some thousandths, which start areas have room for.
    """
    seed = int.from_bytes(design_digest(design), "little")
    shifts = np.random.default_rng([seed, copy]).normal(0.0, PERTURBATION, size=(len(design.joints), 2))
    joints = tuple((x + dx, y + dy) for (x, y), (dx, dy) in zip(design.joints, shifts.tolist(), strict=True))
    return WalkerDesign(joints, design.muscles)
