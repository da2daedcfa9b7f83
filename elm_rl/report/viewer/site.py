"""``index.html``: one file that needs no server and no network, in which the walkers of a run walk.

Programs, messages and whatever else models may have written are in it as packed data alone (`packing`), which no character of
theirs can leave. The page's script puts them on the screen as text, and its content security policy allows that script, the
page's own style, and nothing else: no other script, no markup made from text, no connection.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from elm_rl.report.viewer.contents import Contents, collect
from elm_rl.report.viewer.packing import base64_text, pack_json
from elm_rl.report.viewer.walker import Walker
from elm_rl.runs.run_directory import write_text

SITE_FILE = "index.html"
MEGABYTES = 25.0
"""Most that a page takes, in millions of bytes, unless something else is asked for."""

SCRIPTS = (
    "packed.js",
    "store.js",
    "words.js",
    "scene.js",
    "stage.js",
    "map.js",
    "walker.js",
    "race.js",
    "matrix.js",
    "lists.js",
    "main.js",
)
"""The page's script, in the order in which its parts stand."""


def write_site(
    run: Path,
    *,
    tables: Sequence[Path] = (),
    megabytes: float = MEGABYTES,
    refresh: int | None = None,
    walker: Walker | None = None,
) -> Path:
    """Writes ``index.html`` into the folder of a run, whole or not at all.

    Args:
        run: Folder of a pipeline or of an evolution run; it may still be going on.
        tables: Files with further tables.
        megabytes: Most that the page may take, in millions of bytes.
        refresh: Seconds after which an open page loads itself again; None for never.
        walker: Makes the walks; one that is used again remembers them.

    Returns:
        The path of the page.

    Raises:
        ElmError: The folder holds no run, something in it is damaged, or the disk is full.
    """
    shell = len(_page(Contents({"title": ""}, [], []), refresh))
    contents = collect(run, tables, int(1e6 * megabytes) - shell, walker or Walker())
    write_text(run / SITE_FILE, _page(contents, refresh))
    return run / SITE_FILE


def _page(contents: Contents, refresh: int | None) -> str:
    style, script = _read("viewer.css"), "\n".join(_read(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();'
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    data = contents.data | {"refresh": refresh, "blocks": [len(base64_text(block)) for block in contents.programs]}
    values = {
        "TITLE": html.escape(str(contents.data["title"])),
        "POLICY": html.escape(policy),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": base64_text(pack_json(data)),
        "PROGRAMS": "".join(map(base64_text, contents.programs)),
        "WALKS": "".join(map(base64_text, contents.walks)),
    }
    # Split once: what is put in is never looked through for further places.
    pieces = _read("viewer.html").split("%%")
    return "".join(piece if number % 2 == 0 else values[piece] for number, piece in enumerate(pieces))


def _read(name: str) -> str:
    return (files("elm_rl.report.viewer") / "static" / name).read_text(encoding="utf-8").strip("\n")


def _hash(text: str) -> str:
    """How a policy names the only script, or the only style, that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
