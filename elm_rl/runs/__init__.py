"""Run directories: what a stage leaves on disk, and how it survives being killed.

`run_directory` opens folders and writes files whole or not at all, `run_lock` gives them one writer at a time (`os_lock` is
the system's part of it), `path_settings` takes paths as text, `checkpoint` keeps what a resumed run continues from, and
`tensorboard` logs scalars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.runs.checkpoint import AppendLog as AppendLog
    from elm_rl.runs.checkpoint import load_checkpoint as load_checkpoint
    from elm_rl.runs.checkpoint import save_checkpoint as save_checkpoint
    from elm_rl.runs.run_directory import open_run_directory as open_run_directory
    from elm_rl.runs.run_directory import read_json as read_json
    from elm_rl.runs.run_directory import write_json as write_json
    from elm_rl.runs.tensorboard import ScalarLog as ScalarLog

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "checkpoint": ["AppendLog", "load_checkpoint", "save_checkpoint"],
        "run_directory": ["open_run_directory", "read_json", "write_json"],
        "tensorboard": ["ScalarLog"],
    },
)
