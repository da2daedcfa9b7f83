"""Examples of mutation held out by lineage, because kin are near copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

import numpy as np

from elm_rl.corpus.lineages import mask_numbers


class _OfALineage(Protocol):
    @property
    def lineage(self) -> str: ...

    @property
    def parent(self) -> str: ...

    @property
    def children(self) -> Sequence[str]: ...

    def keeping(self, wanted: Callable[[str], bool]) -> Self | None: ...


Item = TypeVar("Item", bound=_OfALineage)


def hold_out(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Splits items by their ``lineage``: whole lineages go, in random order, as long as there is room.

    Lineages that meet in a program are one: those of a run go on in a run that was started from it. Of what is held out,
    children that are one of training but for numbers are dropped.

    Args:
        items: What to split.
        share: Share of the items to hold out, at most.
        seed: Seed of the order.

    Returns:
        The items that stay and those that are held out, each in their order.
    """
    labels = _joined(items)
    sizes = Counter(labels)
    chosen: set[str] = set()
    room = share * len(items)
    for lineage in np.random.default_rng(seed).permutation(sorted(sizes)):
        if sizes[lineage] <= room:
            chosen.add(str(lineage))
            room -= sizes[lineage]
    train = [item for item, label in zip(items, labels, strict=True) if label not in chosen]
    apart = [item for item, label in zip(items, labels, strict=True) if label in chosen]
    known = {mask_numbers(child) for item in train for child in item.children} if apart else set()
    kept = [item.keeping(lambda child: mask_numbers(child) not in known) for item in apart]
    return train, [item for item in kept if item is not None]


def _joined(items: Sequence[_OfALineage]) -> list[str]:
    """The lineage of each item, the same for those that meet in a program that was somebody's child."""
    over: dict[str, str] = {}

    def top(lineage: str) -> str:
        while over.setdefault(lineage, lineage) != lineage:
            over[lineage] = over[over[lineage]]
            lineage = over[lineage]
        return lineage

    born = {child for item in items for child in item.children}
    first: dict[str, str] = {}
    for item in items:
        # Every run begins with the same seeds, and changes of a seed begin lineages: joining through either would join all.
        if item.parent in born:
            programs = [*item.children, item.parent]
        else:
            programs = list(item.children) if len(item.children) == 1 else []
        for program in programs:
            over[top(item.lineage)] = top(first.setdefault(program, item.lineage))
    return [top(item.lineage) for item in items]
