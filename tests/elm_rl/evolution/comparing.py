"""Runs to compare, and what of them must be the same to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from elm_rl.evolution.map_elites import EvolveConfig
from elm_rl.runs.run_directory import read_json, read_jsonl


def config_of(out: Path, **settings: Any) -> EvolveConfig:
    default = {"operators": ("gp",), "iterations": 6, "batch_size": 16, "duration": 2.0, "progress": False}
    return EvolveConfig(out=out, **{**default, **settings})


def without_timing(out: Path) -> tuple[bytes, list[dict[str, Any]], dict[str, Any]]:
    metrics = [{**line, "timing": None} for line in read_jsonl(out / "metrics.jsonl")]
    return (out / "admitted.jsonl").read_bytes(), metrics, {**read_json(out / "summary.json"), "timing": None}


def assert_same_archive(one: Any, other: Any) -> None:
    """Equal down to what pyribs keeps to itself; `occupied_list` means something only as far as niches are filled."""
    assert one.stats == other.stats
    assert one._rng.bit_generator.state == other._rng.bit_generator.state
    for kept, again in ((one._store._props, other._store._props), (one.data(), other.data())):
        assert kept.keys() == again.keys()
        for name in kept.keys() - {"occupied_list"}:
            np.testing.assert_array_equal(kept[name], again[name], err_msg=name)
    np.testing.assert_array_equal(one._store.occupied_list, other._store.occupied_list)
    for name, value in one.best_elite.items():
        np.testing.assert_array_equal(value, other.best_elite[name], err_msg=name)
