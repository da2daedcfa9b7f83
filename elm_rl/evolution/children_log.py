"""Every child that a run made, admitted or not, in a compressed file of JSON lines.

``pandas.read_json("children.jsonl.gz", lines=True)`` opens it. Each iteration appends one gzip member, so the file can be cut
back to a checkpoint like any other log.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from typing import Any

from elm_rl.mutation.operator import Outcome
from elm_rl.runs.run_directory import to_json

_LEVEL = 3  # compresses to a tenth; higher levels take several times as long for a few percent


def child_line(
    outcome: Outcome,
    *,
    iteration: int,
    slot: int,
    archive: str,
    new: bool,
    record: int | None,
    ticket: str | None,
    time: float,
) -> dict[str, Any]:
    """What is written of one child.

    Args:
        outcome: What became of it.
        iteration: The iteration in which it was evaluated.
        slot: Its place among the children of the iteration.
        archive: The archive that it was offered to.
        new: Whether the run saw its walker for the first time.
        record: Id of its record in ``admitted.jsonl``; None if it was not admitted.
        ticket: For a child of a server, which of the requests it answers.
        time: Seconds that the run had taken, over all its resumed parts, when the iteration began.
    """
    child, parent = outcome.child, outcome.parent
    return {
        "iteration": iteration,
        "slot": slot,
        "operator": child.operator,
        "archive": archive,
        "parents": [parent.id, *(other.id for other in parent.others)],
        "repair": parent.failed is not None,
        "message": child.message,
        "error": outcome.error,
        "explanation": outcome.explanation,
        "fitness": outcome.fitness,
        **outcome.measures,
        "new": new,
        "admitted": record,
        "gain": outcome.gain,
        "prompt": child.prompt,
        "cost": child.cost,
        "ticket": ticket,
        "program": child.program,
        "diff": child.diff,
        "time": round(time, 3),
    }


def compressed(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Lines as one gzip member, the same bytes for the same lines."""
    if not lines:
        return b""
    text = b"".join(to_json(line).encode("ascii") + b"\n" for line in lines)
    return gzip.compress(text, compresslevel=_LEVEL, mtime=0)
