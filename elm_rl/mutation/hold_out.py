"""Examples of mutation held out by lineage, because kin are near copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np


class _OfALineage(Protocol):
    @property
    def lineage(self) -> str: ...


Item = TypeVar("Item", bound=_OfALineage)


def hold_out(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Splits items by their ``lineage``: whole lineages go, in random order, as long as there is room.

    Args:
        items: What to split.
        share: Share of the items to hold out, at most.
        seed: Seed of the order.

    Returns:
        The items that stay and those that are held out, each in their order.
    """
    sizes = Counter(item.lineage for item in items)
    chosen: set[str] = set()
    room = share * len(items)
    for lineage in np.random.default_rng(seed).permutation(sorted(sizes)):
        if sizes[lineage] <= room:
            chosen.add(str(lineage))
            room -= sizes[lineage]
    return [i for i in items if i.lineage not in chosen], [i for i in items if i.lineage in chosen]
