"""The rank policy gradient on real roll-outs: what it learns, what it keeps, and what is left of a run that was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from elm_rl.corpus.drawn_terrains import DrawnTerrains
from elm_rl.corpus.known_walkers import known_designs
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor import policy_watch, rank_gradient
from elm_rl.inventor.policy_update import PolicyUpdate, UpdateSettings, WrittenPrograms
from elm_rl.inventor.policy_watch import PolicyWatch, WatchSettings
from elm_rl.inventor.rank_gradient import RankGradientConfig, run_rank_gradient
from elm_rl.inventor.rank_reward import RankReward, rank_advantages
from elm_rl.models.conditioning import condition
from elm_rl.models.language_model import load_language_model, load_policy, make_model, save_language_model
from elm_rl.models.sampling import Completion
from elm_rl.models.tokenizer import train_tokenizer, unsampleable_ids
from sodarace_gym.evaluation import Evaluator
from tests.elm_rl.inventor.crawlers import PROGRAMS, make_start


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that writes all crawlers of the table alike, on every terrain."""
    return make_start(tmp_path_factory.mktemp("crawlers"))


def config_of(start: Path, out: Path, **changes: Any) -> RankGradientConfig:
    settings: dict[str, Any] = {
        "start": start, "out": out, "updates": 8, "samples": 12, "longest": 60, "robustness": 1, "duration": 3.0,
        "learning_rate": 2e-3, "kl": 0.02, "mini_batch": 24, "evaluate_every": 2, "evaluation_samples": 48,
        "least_designs": 0.05, "n_jobs": 1, "progress": False,
    }  # fmt: skip
    return RankGradientConfig(**settings | changes)


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_policy_gets_better_and_the_best_one_is_kept(start: Path, tmp_path: Path) -> None:
    result = run_rank_gradient(config_of(start, tmp_path))
    lines = lines_of(tmp_path)
    looks = [line["validation"] | {"update": line["update"]} for line in lines if "validation" in line]
    assert result.kept.mean > 1.2 * result.start.mean
    assert [look["update"] for look in looks] == [0, 2, 4, 6, 8]
    assert result.kept.mean == max(look["mean"] for look in looks)
    assert result.kept.update == max(looks, key=lambda look: look["mean"])["update"]
    assert result.evaluations == lines[-1]["evaluations"] == 8 * 2 * 12 + 5 * 48
    assert not (tmp_path / "checkpoint.pt").exists()
    policy, _ = load_policy(tmp_path, ["LeftWall", "RightWall"])
    assert policy.prompt_ids("RightWall")


def test_terrains_that_are_named_are_the_only_ones(start: Path, tmp_path: Path) -> None:
    result = run_rank_gradient(config_of(start, tmp_path, updates=2, only=("RightWall",)))
    assert result.evaluations == 2 * 12 + 2 * 48
    language_model, tokenizer = load_language_model(start.parent / "language_model")
    looking = condition(language_model, encoder="profile", unsampleable=unsampleable_ids(tokenizer))
    save_language_model(looking, tokenizer, tmp_path / "looking")
    out = tmp_path / "out"
    changes = {"terrains": 3, "only": ("RightWall", "Flat"), "updates": 1, "evaluate_every": 1}
    result = run_rank_gradient(config_of(tmp_path / "looking", out, **changes))
    assert result.evaluations == 2 * 12 + 2 * 48
    policy, _ = load_policy(tmp_path / "looking")
    assert config_of(tmp_path, out, **changes).fixed(policy) == ["RightWall", "Flat"]
    assert config_of(tmp_path, out).fixed(policy) == []
    with pytest.raises(ConfigError, match="no code for Tunnel; it knows LeftWall, RightWall"):
        run_rank_gradient(config_of(start, tmp_path / "none", only=("Tunnel",)))
    assert not any((tmp_path / "none").glob("*.json*"))


def test_what_was_shown_earns_less(start: Path, tmp_path: Path) -> None:
    table = start.parent / "table"
    shown = known_designs((table,))
    assert len(shown) == 18
    with Evaluator(n_jobs=1, duration=3.0) as evaluator:
        new = PROGRAMS[0].replace("4, 0", "4.5, 0")
        batch = [PROGRAMS[0], new, PROGRAMS[5], "no program"]
        plain = RankReward(evaluator, 0).score(batch, ["Flat"] * 4)
        half = RankReward(evaluator, 0, shown, 0.5).score(batch, ["Flat"] * 4)
        none = RankReward(evaluator, 0, shown, 1.0).score(batch, ["Flat"] * 4)
    assert (plain.known, half.known) == (0.0, 0.5)
    for row in (0, 2):
        reward = plain.rewards[row]
        assert half.rewards[row] == pytest.approx(reward * (0.5 if reward > 0 else 1.0))
        assert none.rewards[row] == min(reward, 0.0)
    assert half.rewards[1] == none.rewards[1] == plain.rewards[1]
    assert half.rewards[3] == plain.rewards[3] == -1.0
    run_rank_gradient(config_of(start, tmp_path / "run", updates=2, known=(table,), novelty=0.8))
    assert all(0.0 < line["known"] <= 1.0 for line in lines_of(tmp_path / "run") if "known" in line)
    with pytest.raises(ConfigError, match="novelty needs known"):
        config_of(start, tmp_path, novelty=0.5)
    with pytest.raises(ElmError, match="holds neither a cross table nor a corpus"):
        run_rank_gradient(config_of(start, tmp_path / "other", known=(tmp_path / "nothing",), novelty=0.5))
    assert not (tmp_path / "other").exists()


def test_a_stopped_run_ends_as_one_that_was_not(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_rank_gradient(config_of(start, tmp_path / "whole", updates=5))
    sample, calls = rank_gradient.sample_answers, 0

    def stopping(*arguments: Any, **settings: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (4, 6):
            raise KeyboardInterrupt
        return sample(*arguments, **settings)

    monkeypatch.setattr(rank_gradient, "sample_answers", stopping)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_rank_gradient(config_of(start, tmp_path / "stopped", updates=5))
    again = run_rank_gradient(config_of(start, tmp_path / "stopped", updates=5))
    assert (again.start, again.kept, again.updates, again.tokens) == (
        whole.start,
        whole.kept,
        whole.updates,
        whole.tokens,
    )
    assert lines_of(tmp_path / "stopped") == lines_of(tmp_path / "whole")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_half_finished_run_says_what_does_not_fit(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any, **settings: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(rank_gradient, "sample_answers", stop)
    with pytest.raises(KeyboardInterrupt):
        run_rank_gradient(config_of(start, tmp_path))
    with pytest.raises(ElmError, match=r"half-finished training with clip = 0\.2, not 0\.1"):
        run_rank_gradient(config_of(start, tmp_path, clip=0.1))
    (tmp_path / "checkpoint.pt").write_bytes(b"cut")
    with pytest.raises(ElmError, match="cannot be read; delete it to train from the start"):
        run_rank_gradient(config_of(start, tmp_path))


def test_a_policy_that_writes_one_walker_for_all_is_not_kept(start: Path, tmp_path: Path) -> None:
    # The bound is what the start has: fewer different walkers than that is a collapse.
    result = run_rank_gradient(
        config_of(start, tmp_path, updates=30, kl=0.0, learning_rate=1e-2, evaluate_every=1, least_designs=1.0)
    )
    assert result.stopped == "collapsed"
    assert result.kept.designs >= result.start.designs
    assert result.updates < 30


def test_different_walkers_are_counted_on_the_terrain_that_has_the_fewest(
    start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, tokenizer = load_policy(start)
    alike, different = PROGRAMS[:1] * 4, PROGRAMS[:4]
    written = [Completion(tokenizer(text)["input_ids"], True) for text in (*alike, *different)]
    monkeypatch.setattr(policy_watch, "sample_answers", lambda *_, **__: written)
    settings = WatchSettings(evaluation_samples=8)
    with Evaluator(n_jobs=1, duration=1.0) as evaluator:
        watch = PolicyWatch(
            policy,
            tokenizer,
            evaluator,
            settings,
            DrawnTerrains().distribution("train"),
            fixed=["LeftWall", "RightWall"],
            longest=60,
            robustness=0,
        )
        assert len(watch.texts) == 2
        watch.look(0)
    assert watch.last.designs == 1 / 4
    assert watch.last.valid == 1.0
    written[0] = Completion(written[0].ids, False)
    with Evaluator(n_jobs=1, duration=1.0) as watch._evaluator:
        watch.look(1)
    assert watch.last.valid == 7 / 8, "what was cut counts as none"


def test_a_finished_run_is_reused_and_one_with_other_settings_is_not(start: Path, tmp_path: Path) -> None:
    first = run_rank_gradient(config_of(start, tmp_path, updates=1))
    modified = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run_rank_gradient(config_of(start, tmp_path, updates=1)) == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == modified
    with pytest.raises(ElmError, match=r"kl = 0\.02, not 0\.3"):
        run_rank_gradient(config_of(start, tmp_path, updates=1, kl=0.3))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"updates": 0}, "updates is 0"),
        ({"samples": 1}, "samples is 1; expected 2 or more"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"kl": -1.0}, "kl is -1.0"),
        ({"least_designs": 2.0}, "least_designs is 2.0"),
        ({"families": ("Hillz",)}, "Hillz"),
        ({"only": ("Hillz",)}, "Hillz"),
        ({"only": ("Flat", "Flat")}, "names a terrain twice"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(tmp_path, tmp_path / "out", **setting)


def test_a_start_that_is_no_policy_is_explained_before_anything_is_written(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ElmError, match="holds no model"):
        run_rank_gradient(config_of(tmp_path / "nothing", tmp_path / "out"))
    with pytest.raises(ElmError, match="a policy that is told the terrain was expected"):
        run_rank_gradient(config_of(start.parent / "language_model", tmp_path / "out"))
    assert not any((tmp_path / "out").glob("*.json*"))


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(-1, 4), min_size=n, max_size=n),
            st.lists(st.sampled_from([b"a", b"b", b"c", None]), min_size=n, max_size=n),
        )
    )
)
def test_advantages_follow_the_ranks_and_are_shared_among_copies(drawn: tuple[list[int], list[bytes | None]]) -> None:
    scores, walkers = np.array(drawn[0], dtype=float), drawn[1]
    found = rank_advantages(scores, walkers)
    free = rank_advantages(scores, [None] * len(walkers))
    assert np.all(np.abs(free) <= 1)
    assert abs(free.sum()) < 1e-9
    for i in range(len(scores)):
        for j in range(len(scores)):
            if scores[i] > scores[j]:
                assert free[i] > free[j]
            elif scores[i] == scores[j]:
                assert free[i] == free[j]
        copies = walkers.count(walkers[i]) if walkers[i] is not None else 1
        assert found[i] == pytest.approx(free[i] / copies if free[i] > 0 else free[i])


def test_a_step_makes_good_programs_likelier_and_bad_ones_less_likely() -> None:
    tokenizer = train_tokenizer(["ab"], 260, context=16)
    model = make_model("0.1M", tokenizer, context=16)
    reference = make_model("0.1M", tokenizer, context=16)
    reference.load_state_dict(model.state_dict())
    batch = WrittenPrograms.of([[1], [1]], [[70, 71, 2], [80, 2]])

    def likelihoods() -> torch.Tensor:
        said = model(input_ids=batch.ids, attention_mask=batch.mask).logits[:, :-1].log_softmax(-1)
        tokens = said.gather(-1, batch.ids[:, 1:, None]).squeeze(-1)
        return (tokens * batch.learnt).sum(1).detach()

    before = likelihoods()
    update = PolicyUpdate(model, reference, UpdateSettings(learning_rate=1e-3, mini_batch=1, kl=0.1))
    first = update.step(batch, np.array([1.0, -1.0]), seed=0)
    good, bad = (likelihoods() - before).tolist()
    assert good > 0 > bad
    assert first["kl"] >= 0
    later = update.step(batch, np.array([1.0, -1.0]), seed=0)
    assert later["kl"] > first["kl"]


def test_the_divergence_pulls_a_policy_back_to_the_reference() -> None:
    tokenizer = train_tokenizer(["ab"], 260, context=16)
    model, reference = (make_model("0.1M", tokenizer, context=16, seed=seed) for seed in (0, 1))
    batch = WrittenPrograms.of([[1]], [[70, 71, 2]])
    update = PolicyUpdate(model, reference, UpdateSettings(learning_rate=1e-3, kl=1.0))
    apart = [update.step(batch, np.array([0.0]), seed=0)["kl"] for _ in range(10)]
    assert apart[-1] < 0.5 * apart[0]
