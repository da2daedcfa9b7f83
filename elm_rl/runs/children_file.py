"""Where a run keeps every child that it made, admitted or not, and how that is read again; the log is written by the loop."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elm_rl.errors import ElmError

CHILDREN_FILE = "children.jsonl.gz"


def read_children(folder: Path) -> Iterator[dict[str, Any]]:
    """The children of a run, in order; what a run that goes on, or died, has not finished writing is left out.

    Raises:
        ElmError: The run has no such file, or it is damaged.
    """
    path = folder / CHILDREN_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ElmError(
            f"'{path}' cannot be read ({error.strerror}); give a folder that 'elm-rl evolve' has written."
        ) from None
    try:
        with gzip.open(io.BytesIO(data), "rt", encoding="ascii") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)
    except EOFError:  # the last member is not complete
        return
    except (OSError, ValueError, zlib.error) as error:
        raise ElmError(f"'{path}' is damaged ({error}); restore it from a copy.") from None
