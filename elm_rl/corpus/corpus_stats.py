"""What a corpus holds, for somebody who is about to train on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from elm_rl.corpus.corpus import CORPUS_FILE, SPLITS, load_corpus
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import read_json


@dataclass(frozen=True, kw_only=True)
class CorpusStatsConfig:
    """Settings of ``elm-rl corpus stats``."""

    corpus: Annotated[Path, tyro.conf.Positional]
    """Folder that 'elm-rl corpus' has written."""

    def __post_init__(self) -> None:
        take_paths(self)


def run_corpus_stats(config: CorpusStatsConfig) -> None:
    """Prints where the programs of a corpus come from, and how long, how different and how good they are.

    Raises:
        ElmError: The folder holds no corpus, or a damaged one.
    """
    figures = read_json(config.corpus / CORPUS_FILE)["figures"]
    splits = {name: split.to_dict() for name, split in load_corpus(config.corpus).items()}
    print(corpus_page(figures, splits))


def corpus_page(figures: Mapping[str, Any], splits: Mapping[str, Mapping[str, Sequence[Any]]]) -> str:
    """The statistics as text.

    Args:
        figures: Those of ``corpus.json``.
        splits: The columns of each split.
    """
    kept = (
        ("admitted by the runs", "admitted"), ("left after exclusion", "after_exclusion"),
        ("good enough for their niches", "above_threshold"), ("different texts", "distinct_texts"),
        ("different walkers", "distinct"), ("to train on", SPLITS[0]), ("held out", SPLITS[1]),
        ("lineages", "lineages"), ("held-out lineages", "held_out_lineages"), ("niches", "niches"),
    )  # fmt: skip
    lines = [f"{meaning:32}{figures[name]:>9,}" for meaning, name in kept if name in figures]
    for name, columns in splits.items():
        if columns["program"]:
            lines += ["", f"{name}: {len(columns['program']):,} programs", *_split(columns)]
    return "\n".join(lines)


def _split(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    texts = columns["program"]
    spans = {
        "lines": [text.count("\n") for text in texts],
        "characters": [len(text) for text in texts],
        "distance walked": columns["fitness"],
        "height": columns["height"],
        "width": columns["width"],
        "mass": columns["mass"],
    }
    lines = [f"  {'':16}{'median':>9}{'5%':>9}{'95%':>9}{'most':>9}"]
    for name, values in spans.items():
        low, middle, high = np.percentile(values, [5, 50, 95])
        lines.append(f"  {name:16}{middle:>9.1f}{low:>9.1f}{high:>9.1f}{max(values):>9.1f}")
    lines.append(f"  {'archive':32}{'programs':>9}{'niches':>9}{'best':>9}")
    for archive in sorted(set(columns["archive"])):
        rows = [row for row, name in enumerate(columns["archive"]) if name == archive]
        niches = len({columns["niche"][row] for row in rows})
        best = max(columns["fitness"][row] for row in rows)
        lines.append(f"  {archive:32}{len(rows):>9,}{niches:>9,}{best:>9.1f}")
    makers = Counter(columns["operator"]).most_common()
    lines.append("  written by " + ", ".join(f"{name} ({100 * count / len(texts):.0f}%)" for name, count in makers))
    return lines
