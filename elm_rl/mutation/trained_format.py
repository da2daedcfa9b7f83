"""The file beside a mutation model that says how it was taught, and so how it is to be asked."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from elm_rl.errors import ElmError
from elm_rl.mutation.examples import FORMATS, LAYOUTS, TOKENS
from elm_rl.runs.run_directory import explained_disk_errors, read_json, write_json

MUTATION_FILE = "mutation.json"


class TrainedFormat(NamedTuple):
    """How a mutation model was taught.

    Attributes:
        format: How it writes a child, one of `FORMATS`.
        layout: How it is asked, one of `LAYOUTS`.
    """

    format: str
    layout: str


def read_mutation_format(folder: Path) -> TrainedFormat | None:
    """What a mutation model of this project was taught; None for any other model.

    Raises:
        ElmError: The folder says something that is no format or no layout.
    """
    path = folder / MUTATION_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    taught = content if isinstance(content, dict) else {}
    format, layout = (
        taught.get("format"),
        taught.get("layout", TOKENS),
    )  # once there was one layout, and it was not named
    for value, name, known in ((format, "format", FORMATS), (layout, "layout", LAYOUTS)):
        if value not in known:
            raise ElmError(f"'{path}' names no known {name} ({', '.join(known)}); train the model again.")
    return TrainedFormat(str(format), str(layout))


def write_mutation_format(folder: Path, format: str, layout: str) -> None:
    """Records format and layout beside a mutation model, whose folder is made if there is none.

    Raises:
        ElmError: The folder cannot be written.
    """
    with explained_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MUTATION_FILE, {"format": format, "layout": layout})
