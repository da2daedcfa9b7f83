"""The supervised start: real roll-outs, a real table, and a policy that writes what is best on the terrain it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elm_rl.corpus.cross_table import CrossTable, load_cross_table
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.encoder_lesson import drawn_kinds, kinds_of, teach_encoder
from elm_rl.inventor.supervised import SupervisedConfig, chosen_targets, examples_for, run_supervised
from elm_rl.inventor.targets import Target
from elm_rl.models.conditioning import condition
from elm_rl.models.language_model import load_language_model, load_policy
from elm_rl.models.sampling import sample_completions
from elm_rl.models.tokenizer import decode_program, encode_text
from tests.elm_rl.inventor.crawlers import PROGRAMS, TERRAINS, make_crawlers


@pytest.fixture(scope="module")
def crawlers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crawlers")
    make_crawlers(folder)
    return folder


def config_of(crawlers: Path, out: Path, **changes: Any) -> SupervisedConfig:
    settings: dict[str, Any] = {
        "cross_table": crawlers / "table", "language_model": crawlers / "language_model", "out": out, "per_terrain": 3,
        "max_steps": 80, "learning_rate": 1e-2,
    }  # fmt: skip
    return SupervisedConfig(**settings | changes)


def best_of(table: CrossTable, row: int, count: int) -> list[str]:
    return [table.walkers[number].program for number in (-table.least[row]).argsort(kind="stable")[:count]]


@pytest.mark.parametrize("encoder", ["codes", "profile", "text"])
def test_the_policy_writes_the_best_walkers_of_the_terrain_it_is_asked_for(
    crawlers: Path, tmp_path: Path, encoder: str
) -> None:
    result = run_supervised(config_of(crawlers, tmp_path, terrain_encoder=encoder))
    table = load_cross_table(crawlers / "table")
    policy, tokenizer = load_policy(tmp_path)
    best = {name: best_of(table, row, 3) for row, name in enumerate(TERRAINS)}
    assert result.terrains == 2
    assert result.programs == len({*best["LeftWall"], *best["RightWall"]})
    for name in TERRAINS:
        prompt = [*policy.prompt_ids(name), 1]
        ids = sample_completions(policy, tokenizer, [prompt] * 20, max_new_tokens=60)
        programs = [decode_program(tokenizer, completion) for completion in ids]
        assert sum(program in best[name] for program in programs) >= 15
    saved = json.loads((tmp_path / "targets.json").read_text())
    assert list(saved["targets"]) == list(TERRAINS)
    written = [table.walkers[number].program for number, _ in saved["targets"]["LeftWall"]]
    assert written == best["LeftWall"]


def test_the_first_band_is_asked_for(crawlers: Path, tmp_path: Path) -> None:
    run_supervised(config_of(crawlers, tmp_path, terrain_encoder="codes", bands=2, max_steps=700))
    table = load_cross_table(crawlers / "table")
    policy, tokenizer = load_policy(tmp_path)
    for row, name in enumerate(TERRAINS):
        ranked = best_of(table, row, 6)
        for band in range(2):
            prompt = [*policy.prompt_ids(name, band), 1]
            ids = sample_completions(policy, tokenizer, [prompt] * 20, max_new_tokens=60)
            programs = [decode_program(tokenizer, completion) for completion in ids]
            assert sum(program in ranked[3 * band : 3 * band + 3] for program in programs) >= 13
    with pytest.raises(ConfigError, match="leave out prefix_length"):
        config_of(crawlers, tmp_path, terrain_encoder="text", prefix_length=8)
    with pytest.raises(ConfigError, match="bands is 1"):
        config_of(crawlers, tmp_path, bands=1)


def test_every_terrain_is_learnt_as_often(crawlers: Path) -> None:
    language_model, tokenizer = load_language_model(crawlers / "language_model")
    policy = condition(language_model, TERRAINS)
    targets = [
        Target("LeftWall", [4, 9], [2.0, 1.0]),
        Target("RightWall", [13], [2.0]),
    ]
    texts = {number: [program] for number, program in enumerate(PROGRAMS)}
    examples = examples_for(policy, tokenizer, targets, texts, 5, np.random.default_rng(0))
    assert [prompt for prompt, _ in examples] == [[*policy.prompt_ids(name), 1] for name in TERRAINS for _ in range(5)]
    assert [completion for _, completion in examples] == [
        [*encode_text(tokenizer, PROGRAMS[number]), tokenizer.eos_token_id] for number in (4, 9, 4, 9, 4, *[13] * 5)
    ]


def test_the_encoder_is_taught_first_which_walkers_suit_which_terrain(crawlers: Path) -> None:
    language_model, _ = load_language_model(crawlers / "language_model")
    slopes = [f"UpSlope,difficulty={number / 40},seed={number}" for number in range(40)]
    targets = [Target(text, [3 if number < 20 else 8, 5], [2.0, 1.0]) for number, text in enumerate(slopes)]
    kinds = kinds_of(targets, 1)
    assert kinds == [3, 8]
    state = torch.get_rng_state()
    for encoder in ("profile", "image"):
        policy = condition(language_model, slopes, encoder=encoder, kinds=2)
        before = {name: weights.clone() for name, weights in policy.state_dict().items()}
        assert teach_encoder(policy, targets, kinds, 1, steps=150) < 0.2  # a coin would have 0.69
        changed = {name for name, weights in policy.state_dict().items() if not torch.equal(weights, before[name])}
        assert changed
        assert all(".encoder." in name and ".kinds." not in name for name in changed)
        learnt = chosen_targets(policy, targets, kinds, 1, np.random.default_rng(0))
        assert sum(new.walkers == old.walkers for new, old in zip(learnt, targets, strict=True)) >= 36
        assert all(target.walkers[1:] == [5] for target in learnt), "other bands stay as they are"
    assert torch.equal(torch.get_rng_state(), state)


def test_kinds_are_drawn_as_they_weigh_in_what_the_policy_is_told(crawlers: Path) -> None:
    language_model, _ = load_language_model(crawlers / "language_model")
    policy = condition(language_model, [], encoder="profile", kinds=5, seed=3)
    target = Target("Hills,difficulty=0.5,seed=3", [0], [1.0])
    drawn = drawn_kinds(policy, [target], 40_000, np.random.default_rng(0))[0]
    with torch.no_grad():
        chances = policy.encoder.chances(torch.tensor([policy.book.number(target.text)]))[0]
        told = policy.encoder(torch.tensor([policy.book.number(target.text)]))[0].flatten()
    assert np.bincount(drawn, minlength=5) / len(drawn) == pytest.approx(chances.numpy(), abs=0.01)
    torch.testing.assert_close(told, chances @ policy.encoder.kinds.weight)


def test_what_the_encoder_chooses_stays_while_the_language_model_learns(crawlers: Path, tmp_path: Path) -> None:
    run_supervised(config_of(crawlers, tmp_path / "few", max_steps=1))
    run_supervised(config_of(crawlers, tmp_path / "many", max_steps=30))
    few, many = (load_policy(tmp_path / name)[0].state_dict() for name in ("few", "many"))
    same = {name for name in few if torch.equal(few[name], many[name])}
    network = {name for name in few if ".encoder." in name and ".kinds." not in name}
    assert network
    assert same == network


def test_a_finished_run_is_reused_and_one_with_other_settings_is_not(crawlers: Path, tmp_path: Path) -> None:
    first = run_supervised(config_of(crawlers, tmp_path, max_steps=2))
    modified = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run_supervised(config_of(crawlers, tmp_path, max_steps=2)) == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == modified
    with pytest.raises(ElmError, match="score = 'least', not 'plain'"):
        run_supervised(config_of(crawlers, tmp_path, max_steps=2, score="plain"))
    other = tmp_path / "other"
    make_crawlers(other, TERRAINS[:1])
    with pytest.raises(ElmError, match="cross_table = "):
        run_supervised(config_of(crawlers, tmp_path, max_steps=2, cross_table=other / "table"))


def test_mistakes_are_explained(crawlers: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Codes are learnt for the terrains of the table alone"):
        config_of(crawlers, tmp_path, terrain_encoder="codes", labelled=5)
    with pytest.raises(ConfigError, match="lesson_steps is -1"):
        config_of(crawlers, tmp_path, lesson_steps=-1)
    with pytest.raises(ConfigError, match="prefix_length is 0"):
        config_of(crawlers, tmp_path, prefix_length=0)
    with pytest.raises(ElmError, match="no cross table that can be read"):
        run_supervised(config_of(tmp_path, tmp_path / "out"))
    with pytest.raises(ElmError, match="10 terrains or more"):
        run_supervised(config_of(crawlers, tmp_path / "out", smoothed=True))
    assert not (tmp_path / "out").exists()
