"""Inventing: what a policy writes is ranked by real roll-outs, and improving it makes it no worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elm_rl.corpus.known_walkers import known_designs
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.invent import InventConfig, run_invent
from elm_rl.models.conditioning import condition
from elm_rl.models.language_model import make_model, save_language_model
from elm_rl.models.tokenizer import train_tokenizer, unsampleable_ids
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics.robustness import design_digest
from tests.elm_rl.inventor.crawlers import PROGRAMS, make_start


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_start(tmp_path_factory.mktemp("crawlers"))


def config_of(policy: Path, **changes: Any) -> InventConfig:
    settings: dict[str, Any] = {
        "model": policy, "terrain": "LeftWall", "count": 4, "samples": 24, "robustness": 1, "duration": 3.0, "n_jobs": 1,
    }  # fmt: skip
    return InventConfig(**settings | changes)


def test_the_best_different_walkers_are_given_back_best_first(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_invent(config_of(policy, check_copies=0, out=tmp_path / "out"))
    assert len(found) == 4
    assert [each.least for each in found] == sorted((each.least for each in found), reverse=True)
    with Evaluator(n_jobs=1, duration=3.0, robustness=1) as evaluator:
        scored = evaluator.evaluate([each.program for each in found], "LeftWall")
    assert [each.least for each in found] == [each.robust_fitness for each in scored]
    assert [each.distance for each in found] == [each.fitness for each in scored]
    assert len({each.design for each in scored}) == 4
    printed = capsys.readouterr().out
    assert printed.startswith(f"# 1: {found[0].least:.1f} units")
    assert (tmp_path / "out" / "1.py").read_text() == found[0].program
    assert (tmp_path / "out" / "race.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((tmp_path / "out" / "inventions.json").read_text())
    assert [each["program"] for each in content["walkers"]] == [each.program for each in found]


def test_the_best_are_checked_with_further_copies(policy: Path) -> None:
    unchecked = run_invent(config_of(policy, check_copies=0, count=8))
    found = run_invent(config_of(policy, check_copies=6, count=1))
    with Evaluator(n_jobs=1, duration=3.0, robustness=7) as evaluator:
        scored = evaluator.evaluate([each.program for each in unchecked], "LeftWall")
    assert len(found) == 1
    assert found[0].least == max(each.score for each in scored), "the best of all finalists, however few are wanted"
    assert [each.score for each in scored] != [each.least for each in unchecked], "the check makes a difference"
    plain = run_invent(config_of(policy, robustness=0))
    assert [each.least for each in plain] == [each.distance for each in plain], "without copies nothing is checked"


def test_improving_makes_them_better_and_is_repeatable(policy: Path) -> None:
    plain = run_invent(config_of(policy))
    better, again = (run_invent(config_of(policy, improve=48)) for _ in range(2))
    assert better == again
    assert better[0].least > plain[0].least
    assert sum(each.least for each in better) > sum(each.least for each in plain)
    assert any(each.by == "gp" and each.program not in PROGRAMS for each in better)


def test_known_walkers_are_parents_and_not_given_back(policy: Path) -> None:
    table = policy.parent / "table"
    shown = known_designs((table,))
    found = run_invent(config_of(policy, known=(table,), improve=48))
    with Evaluator(n_jobs=1, duration=3.0) as evaluator:
        designs = [each.design for each in evaluator.evaluate([each.program for each in found], "LeftWall")]
    assert len(found) == 4
    assert not {design_digest(design) for design in designs if design is not None} & shown
    assert [each.least for each in found] == sorted((each.least for each in found), reverse=True)
    with pytest.raises(ElmError, match="All walkers that were found are known"):
        run_invent(config_of(policy, known=(table,), samples=4, temperature=0.0))


def test_mistakes_are_one_sentence(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Hillz"):
        config_of(policy, terrain="Hillz")
    with pytest.raises(ConfigError, match="count is 0"):
        config_of(policy, count=0)
    with pytest.raises(ConfigError, match="check_copies is -1"):
        config_of(policy, check_copies=-1)
    with pytest.raises(ConfigError, match="The model knows the terrains LeftWall, RightWall, but got 'Tunnel'"):
        run_invent(config_of(policy, terrain="Tunnel"))
    with pytest.raises(ElmError, match="a policy that is told the terrain was expected"):
        run_invent(config_of(policy.parent / "language_model"))


def test_a_policy_that_writes_no_walker_is_said_to(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(PROGRAMS, 400, context=64)
    model = make_model("0.1M", tokenizer, context=64)
    save_language_model(
        condition(model, encoder="profile", unsampleable=unsampleable_ids(tokenizer)), tokenizer, tmp_path
    )
    with pytest.raises(ElmError, match="None of 3 programs makes a walker"):
        run_invent(config_of(tmp_path, samples=3, terrain="Hills,difficulty=0.5,seed=3", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
