"""Parquet files, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from elm_rl.runs.run_directory import explained_disk_errors, temporary_path


def write_parquet(path: Path, table: pa.Table) -> None:
    """Writes a table; its folder is made if there is none.

    Raises:
        ElmError: The disk is full.
    """
    temporary = temporary_path(path)
    with explained_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            pq.write_table(table, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
