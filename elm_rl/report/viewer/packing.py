"""Packed data in a page: compressed, and written with characters that mean nothing to HTML."""

from __future__ import annotations

import base64
import gzip
from typing import Any

from elm_rl.runs.run_directory import to_json


def pack_json(value: Any) -> bytes:
    """JSON, compressed as gzip; the same bytes for the same value."""
    return gzip.compress(to_json(value).encode("ascii"), compresslevel=9, mtime=0)


def base64_size(data: bytes) -> int:
    """Characters that bytes take as base64, padding included."""
    return 4 * -(-len(data) // 3)


def base64_text(data: bytes) -> str:
    """Bytes as base64, padded, so that texts in a row can be cut apart by their sizes."""
    return base64.b64encode(data).decode("ascii")
