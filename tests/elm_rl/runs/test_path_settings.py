"""Every config of a stage takes its paths as text."""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from elm_rl.cli import STAGES
from elm_rl.errors import ConfigError
from elm_rl.evolution.map_elites import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.mutation.training import MutationTrainingConfig

CONFIGS = [
    getattr(importlib.import_module(stage.module), stage.config)
    for name, stage in STAGES.items()
    if name != "operators"  # which has no path
]
ONE, SEVERAL = (Path, Path | None), tuple[Path, ...]


@pytest.mark.parametrize(
    "config", [*CONFIGS, MutationTrainingConfig], ids=lambda config: config.__name__
)
def test_text_is_taken_for_a_path_and_nothing_else_is(config: Any) -> None:
    hints = get_type_hints(config)
    settings: dict[str, Any] = {"model": "model", "measure": True} if "measure" in hints else {}
    settings |= {"terrain": "Flat"} if "improve" in hints else {}
    settings |= {"novelty": 0.5} if "novelty" in hints else {}
    paths = [field.name for field in fields(config) if hints[field.name] in (*ONE, SEVERAL)]
    assert paths
    made = config(**settings, **dict.fromkeys(paths, "some/where.png"))
    for name in paths:
        expected = Path("some/where.png")
        assert getattr(made, name) == ((expected,) if hints[name] == SEVERAL else expected)
    assert made == config(**settings, **{name: getattr(made, name) for name in paths})
    for name in paths:
        for wrong in (5, "", ["a", 3]):
            with pytest.raises(ConfigError, match=f"^{name} is .*; expected a path"):
                config(**settings, **{**dict.fromkeys(paths, "some/where.png"), name: wrong})


def test_a_run_is_made_where_the_text_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = EvolveConfig(out="run", seeds=("square",), iterations=0, duration=0.5, n_jobs=1, progress=False)  # type: ignore[arg-type]
    run_evolve(config)
    assert (tmp_path / "run" / "summary.json").exists()
