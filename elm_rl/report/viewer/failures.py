"""The children of evolution runs that came to nothing: how many by what error, and some of each to be read."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elm_rl.runs.children_file import CHILDREN_FILE, read_children

SAMPLES = 16
"""Children of each kind of error that a page shows."""
LONGEST_TEXT = 8_000
"""Characters of a failed child's text that a page shows: a model may write without end."""


def read_failures(folders: Sequence[Path]) -> dict[str, Any]:
    """Counts what stopped children, and chooses some.

    Which ones depends on the texts alone, so that a page made twice shows the same: those whose digests are least, each text
    once.

    Args:
        folders: Of evolution runs; those that kept no children count nothing.

    Returns:
        ``children``: how many there are; ``kinds``: the most frequent first, each with ``kind``, ``count``, ``operators`` (a
        count by name) and ``samples`` (``run``, ``iteration``, ``operator``, ``explanation``, ``program``, ``cut``: characters
        left out).

    Raises:
        ElmError: A file is damaged.
    """
    total = 0
    counts: dict[str, Counter[str]] = {}
    heaps: dict[str, list[tuple[int, int, dict[str, Any]]]] = {}
    met: dict[str, set[int]] = {}
    for run, folder in enumerate(folders):
        if not (folder / CHILDREN_FILE).is_file():
            continue
        for child in read_children(folder):
            total += 1
            if child.get("error") is None:
                continue
            kind = str(child["error"])
            counts.setdefault(kind, Counter())[str(child.get("operator"))] += 1
            key = -int.from_bytes(
                hashlib.blake2b(str(child.get("program")).encode("utf-8", "backslashreplace"), digest_size=8).digest(),
                "big",
            )
            heap, known = heaps.setdefault(kind, []), met.setdefault(kind, set())
            if key in known or (len(heap) == SAMPLES and key < heap[0][0]):
                continue
            known.add(key)
            entry = key, total, _sample(child, run)
            if len(heap) == SAMPLES:
                known.discard(heapq.heappushpop(heap, entry)[0])
            else:
                heapq.heappush(heap, entry)
    kinds = sorted(counts, key=lambda kind: (-counts[kind].total(), kind))
    return {
        "children": total,
        "kinds": [
            {
                "kind": kind,
                "count": counts[kind].total(),
                "operators": dict(counts[kind].most_common()),
                "samples": [sample for _, _, sample in sorted(heaps[kind], key=lambda entry: entry[1])],
            }
            for kind in kinds
        ],
    }


def _sample(child: Mapping[str, Any], run: int) -> dict[str, Any]:
    text = "" if child.get("program") is None else str(child["program"])
    return {
        "run": run,
        "iteration": child.get("iteration"),
        "operator": str(child.get("operator")),
        "explanation": str(child.get("explanation") or "")[:LONGEST_TEXT],
        "program": text[:LONGEST_TEXT],
        "cut": max(0, len(text) - LONGEST_TEXT),
    }
