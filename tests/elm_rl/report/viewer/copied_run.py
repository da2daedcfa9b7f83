"""What the tests of the page share."""

from __future__ import annotations

import json
from pathlib import Path

from elm_rl.runs.run_directory import ADMITTED_FILE

HOSTILE = (
    "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'><!-- %%DATA%% \u2028 \x1b[2J"
)
"""What must stay text wherever it comes from."""


def copied_run(run: Path, folder: Path, **settings: object) -> Path:
    """A copy of a run's log and settings, with other settings."""
    folder.mkdir(parents=True)
    (folder / ADMITTED_FILE).write_bytes((run / ADMITTED_FILE).read_bytes())
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | settings), encoding="utf-8")
    return folder
