"""A set of digests that takes some 25 bytes each, so that a run of a million evaluations can remember every walker."""

from __future__ import annotations

from array import array

_KEPT_BYTES = 8
_FIRST_SLOTS = 1 << 10


class DigestSet:
    """Which digests were met.

    It keeps 8 bytes of each: the odds that any two of a million are taken for one are 1 to 37 million. A set of Python's
    own would take 110 bytes a digest. The table is probed slot after slot from where the digest points, and at most half full.
    """

    def __init__(self) -> None:
        self._slots = _empty(_FIRST_SLOTS)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, digest: bytes) -> bool:
        """Adds a digest of 8 bytes or more, evenly distributed.

        Returns:
            True when it was not yet there.
        """
        key = int.from_bytes(digest[:_KEPT_BYTES], "little") or 1  # 0 marks a free slot
        if not self._put(key):
            return False
        self._count += 1
        if 2 * self._count > len(self._slots):
            old, self._slots = self._slots, _empty(2 * len(self._slots))
            for kept in old:
                if kept:
                    self._put(kept)
        return True

    def __contains__(self, digest: bytes) -> bool:
        key = int.from_bytes(digest[:_KEPT_BYTES], "little") or 1
        slots, mask = self._slots, len(self._slots) - 1
        place = key & mask
        while slots[place]:
            if slots[place] == key:
                return True
            place = (place + 1) & mask
        return False

    def _put(self, key: int) -> bool:
        slots, mask = self._slots, len(self._slots) - 1
        place = key & mask
        while slots[place]:
            if slots[place] == key:
                return False
            place = (place + 1) & mask
        slots[place] = key
        return True


def _empty(slots: int) -> array[int]:
    return array("Q", bytes(8 * slots))
