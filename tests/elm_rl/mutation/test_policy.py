"""A policy as operator: it writes for the terrain of the archive, in a real run, and again the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elm_rl.errors import ConfigError
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.mutation.operator import CUT, Parent
from elm_rl.mutation.policy import PolicyMutation, PolicyOptions
from elm_rl.runs.run_directory import ADMITTED_FILE, read_jsonl
from tests.elm_rl.inventor.crawlers import PROGRAMS, TERRAINS, make_start


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_start(tmp_path_factory.mktemp("policy"))


def test_it_writes_for_the_terrain_of_each_parent(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = PolicyMutation(policy, PolicyOptions(temperature=0.5, batch_size=3))
    parents = [Parent("whatever", terrain=TERRAINS[number % 2]) for number in range(8)]
    asked: list[str] = []
    prompt_ids = operator._policy.prompt_ids

    def noted(text: str) -> list[int]:
        asked.append(text)
        return prompt_ids(text)

    monkeypatch.setattr(operator._policy, "prompt_ids", noted)
    children = operator.mutate(parents, np.random.default_rng(0))
    assert asked == [parent.terrain for parent in parents]
    assert sum(child.program in PROGRAMS for child in children) >= 4
    assert children == operator.mutate(parents, np.random.default_rng(0))
    assert children != operator.mutate(parents, np.random.default_rng(1))
    short = PolicyMutation(policy, PolicyOptions(max_new_tokens=3))
    assert {child.failure for child in short.mutate(parents, np.random.default_rng(0))} == {CUT}


def test_evolution_takes_what_it_writes(policy: Path, tmp_path: Path) -> None:
    run_evolve(
        EvolveConfig(
            out=tmp_path / "run", seeds=("square",), terrains=TERRAINS, maps="terrain", iterations=4, batch_size=16,
            operators=("gp", f"policy:{policy},name=inventor"), shares=(0.5, 0.5), duration=1.0, n_jobs=1, progress=False,
        )
    )  # fmt: skip
    written = [r for r in read_jsonl(tmp_path / "run" / ADMITTED_FILE) if r["operator"] == "inventor"]
    assert any(record["program"] in PROGRAMS for record in written)
    with pytest.raises(ConfigError, match="The model knows the terrains LeftWall, RightWall, but got 'Tunnel'"):
        run_evolve(
            EvolveConfig(out=tmp_path / "other", terrains=("Tunnel",), operators=(f"policy:{policy}",), progress=False)
        )
    assert not (tmp_path / "other").exists()


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size is 0"):
        PolicyOptions(batch_size=0)
    with pytest.raises(ConfigError, match="temperature"):
        PolicyOptions(temperature=-1.0)
