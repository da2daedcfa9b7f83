"""What a policy was shown: the walkers of the tables and corpora that it learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from elm_rl.corpus.corpus import CORPUS_FILE, TRAIN, load_corpus
from elm_rl.corpus.cross_table import WALKERS_FILE
from elm_rl.errors import ElmError


def known_designs(folders: Sequence[Path]) -> frozenset[bytes]:
    """The walkers of finished cross tables, siblings and corpora, by 16 bytes that tell them apart.

    Raises:
        ElmError: A folder holds neither, or a file is damaged.
    """
    found: set[bytes] = set()
    for folder in folders:
        if (folder / CORPUS_FILE).exists():
            found.update(design for design in load_corpus(folder)[TRAIN]["design"] if design is not None)
            continue
        try:
            found.update(pq.read_table(folder / WALKERS_FILE)["design"].to_pylist())
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ElmError(
                f"'{folder}' holds neither a cross table nor a corpus that can be read ({reason}); make one with 'elm-rl "
                "cross-table' or 'elm-rl corpus'."
            ) from error
    return frozenset(found)
