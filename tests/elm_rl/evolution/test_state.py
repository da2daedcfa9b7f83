"""The state of an evolution: the paper's map, and what makes two designs one."""

from __future__ import annotations

import numpy as np

from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.digest_set import DigestSet
from elm_rl.evolution.state import design_key
from sodarace_gym.walkers.walker import Muscle, WalkerDesign


def test_designs_differ_in_every_part_of_their_key() -> None:
    base = WalkerDesign(((0.0, 0.0), (1.0, 2.0), (3.0, 0.5)), (Muscle(0, 1), Muscle(1, 2, False, 0.1, 0.2)))
    joints, muscles = base.joints, base.muscles
    others = [
        WalkerDesign((*joints[:2], (3.0, 0.25)), muscles),
        WalkerDesign(joints, (muscles[1], muscles[0])),
        WalkerDesign(joints, muscles[:1]),
        *(
            WalkerDesign(joints, (muscles[0], muscles[1]._replace(**change)))
            for change in ({"a": 0}, {"b": 0}, {"distance_only": True}, {"amplitude": 0.2}, {"phase": 0.1})
        ),
    ]
    assert len({design_key(design) for design in (base, *others)}) == 9
    assert design_key(WalkerDesign(tuple(joints), tuple(muscles))) == design_key(base)


def test_archive_is_the_papers_map() -> None:
    archive = ArchiveSpec().make()
    assert archive.cells == 1728
    assert archive.index_of_single((24.0, 30.0, 10_000.0)) == 1727
    assert archive.index_of_single((0.0, 0.0, 0.0)) == 0


def test_a_digest_set_is_a_set() -> None:
    """Against Python's own, through several growths, with digests that share their slot or are all zeros."""
    rng = np.random.default_rng(0)
    digests = [rng.bytes(16) for _ in range(6000)]
    digests += [bytes(2) + rng.bytes(14) for _ in range(300)] + [bytes(16)]
    mine, theirs = DigestSet(), set[bytes]()
    for digest in [*digests, *digests]:
        assert mine.add(digest) == (digest not in theirs)
        theirs.add(digest)
    assert len(mine) == len(theirs) == len(digests)
