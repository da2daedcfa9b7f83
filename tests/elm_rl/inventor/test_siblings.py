"""Siblings: other walkers that go nearly as far, made by real changes and real roll-outs, for a policy to learn kinds from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elm_rl.corpus.cross_table import CrossTableConfig, load_cross_table, run_cross_table
from elm_rl.corpus.known_walkers import known_designs
from elm_rl.corpus.score_store import ScoreStore
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.siblings import SiblingsConfig, drift, load_siblings, run_siblings
from elm_rl.inventor.supervised import SupervisedConfig, run_supervised
from elm_rl.models.language_model import load_policy
from elm_rl.models.sampling import sample_completions
from elm_rl.models.tokenizer import decode_program
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.texts import terrain_from_text
from tests.elm_rl.inventor.crawlers import make_crawlers

DURATION = 3.0


@pytest.fixture(scope="module")
def crawlers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crawlers")
    make_crawlers(folder)
    run_cross_table(
        CrossTableConfig(
            evolution=(folder / "evolution",), out=folder / "wide", draws=12, robustness=1, duration=DURATION, n_jobs=1,
            progress=False,
        )
    )  # fmt: skip
    return folder


def config_of(crawlers: Path, out: Path, **changes: Any) -> SiblingsConfig:
    settings: dict[str, Any] = {
        "cross_table": crawlers / "wide", "out": out, "portfolio": 2, "count": 6, "children": 64, "terrains": 2,
        "n_jobs": 1, "progress": False,
    }  # fmt: skip
    return SiblingsConfig(**settings | changes)


def test_siblings_go_nearly_as_far_and_are_other_walkers(crawlers: Path, tmp_path: Path) -> None:
    found = run_siblings(config_of(crawlers, tmp_path, keep=0.8))
    table = load_cross_table(crawlers / "wide")
    assert len(found) == 2
    siblings = [sibling for kind in found.values() for sibling in kind]
    assert (
        len({sibling.design for sibling in siblings}) == len({sibling.program for sibling in siblings}) == len(siblings)
    )
    assert len(siblings) >= 6
    assert known_designs([tmp_path]) == {sibling.design for sibling in siblings}
    scores = tmp_path / "scores"
    assert scores.is_dir()
    for number, kind in found.items():
        assert kind[0].program == table.walkers[number].program
        assert kind[0].share == 1.0
        assert all(sibling.share >= 0.8 for sibling in kind)
    # Rolled out again, they do what is said of them.
    number, kind = next((number, kind) for number, kind in found.items() if len(kind) > 1)
    means = dict.fromkeys([kind[0].program, kind[-1].program], 0.0)
    rolled = [text for text in table.terrains if _tried(tmp_path, kind[-1].program, text)]
    assert len(rolled) == 2
    with Evaluator(n_jobs=1, duration=DURATION) as evaluator:
        for text in rolled:
            scored = evaluator.evaluate(list(means), terrain_from_text(text), robustness=1)
            for program, evaluation in zip(means, scored, strict=True):
                means[program] += evaluation.robust_fitness or 0.0
    first, last = means.values()
    assert last / first == pytest.approx(kind[-1].share, rel=1e-6)


def _tried(out: Path, program: str, text: str) -> bool:
    return ScoreStore(out / "scores", 1).get(program, text) is not None


def test_stopped_or_not_it_is_the_same_and_a_finished_one_is_reused(crawlers: Path, tmp_path: Path) -> None:
    whole = run_siblings(config_of(crawlers, tmp_path / "whole"))
    assert run_siblings(config_of(crawlers, tmp_path / "whole")) == whole
    run_siblings(config_of(crawlers, tmp_path / "part"))
    scores = sorted((tmp_path / "part" / "scores").iterdir())
    for path in (tmp_path / "part" / "walkers.parquet", *scores[len(scores) // 2 :]):
        path.unlink()  # what a run that was killed half way leaves
    with pytest.raises(ElmError, match="seed = 0, not 1"):
        run_siblings(config_of(crawlers, tmp_path / "part", seed=1))
    with pytest.raises(ElmError, match="siblings of another table"):
        run_siblings(config_of(crawlers, tmp_path / "part", cross_table=crawlers / "table"))
    assert run_siblings(config_of(crawlers, tmp_path / "part", n_jobs=2)) == whole
    assert run_siblings(config_of(crawlers, tmp_path / "other", seed=1)) != whole


def test_from_few_terrains_the_best_of_each_get_siblings_there(crawlers: Path, tmp_path: Path) -> None:
    found = run_siblings(
        config_of(crawlers, tmp_path, cross_table=crawlers / "table", portfolio=2, terrains=1, children=8)
    )
    table = load_cross_table(crawlers / "table")
    ranked = (-table.least).argsort(axis=1, kind="stable")
    assert len(found) == 2
    assert int(ranked[0, 0]) in found
    assert set(found) <= {*ranked[0, :1].tolist(), *ranked[1, :2].tolist()}
    for kind in found.values():
        assert sum(_tried(tmp_path, kind[0].program, text) for text in table.terrains) == 1


def test_a_policy_learns_the_kind_and_not_the_text(crawlers: Path, tmp_path: Path) -> None:
    found = run_siblings(config_of(crawlers, tmp_path / "siblings", keep=0.5, count=12, children=128))
    policy = tmp_path / "policy"
    settings: dict[str, Any] = {
        "cross_table": crawlers / "wide", "language_model": crawlers / "language_model", "out": policy,
        "siblings": tmp_path / "siblings", "per_terrain": 4, "max_steps": 150, "learning_rate": 1e-2,
        "terrain_encoder": "codes",
    }  # fmt: skip
    result = run_supervised(SupervisedConfig(**settings))
    assert result.programs <= 2
    text = next(iter(load_cross_table(crawlers / "wide").terrains))
    texts = {sibling.program for kind in found.values() for sibling in kind}
    assert len(_written(policy, text) & texts) > 2
    assert json.loads((policy / "training.json").read_text())["settings"]["siblings"]
    run_siblings(config_of(crawlers, tmp_path / "siblings_2", seed=1))
    with pytest.raises(ElmError, match="siblings = "):
        run_supervised(SupervisedConfig(**settings | {"siblings": tmp_path / "siblings_2"}))
    best = {number: sorted(kind[1:], key=lambda sibling: -sibling.share)[:1] for number, kind in found.items()}
    learnt = {sibling.program for number, kind in found.items() for sibling in (kind[0], *best[number])}
    run_supervised(SupervisedConfig(**settings | {"siblings_each": 2, "out": tmp_path / "few"}))
    assert len(_written(tmp_path / "few", text) & learnt) > 1, "the walker and the best of its siblings"
    assert not _written(tmp_path / "few", text) & (texts - learnt)


def _written(policy: Path, text: str) -> set[str | None]:
    """What a policy writes for a terrain in 40 tries."""
    model, tokenizer = load_policy(policy)
    prompt = [*model.prompt_ids(text), 1]
    ids = sample_completions(model, tokenizer, [prompt] * 40, max_new_tokens=200)
    return {decode_program(tokenizer, each) for each in ids}


def test_mistakes_are_explained(crawlers: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="portfolio is 0"):
        config_of(crawlers, tmp_path, portfolio=0)
    with pytest.raises(ConfigError, match="keep is 2"):
        config_of(crawlers, tmp_path, keep=2.0)
    with pytest.raises(ElmError, match=r"siblings\.json' does not exist"):
        load_siblings(tmp_path)
    (tmp_path / "siblings.json").write_text("{}")
    (tmp_path / "walkers.parquet").write_text("no table")
    with pytest.raises(ElmError, match="holds no siblings that can be read"):
        load_siblings(tmp_path)
    with pytest.raises(ConfigError, match="leave out portfolio"):
        SupervisedConfig(
            cross_table=crawlers / "wide", language_model=crawlers / "language_model", out=tmp_path, siblings=tmp_path,
            portfolio=2,
        )  # fmt: skip
    for changes, words in (
        ({"siblings_each": 2}, "name their folder"),
        ({"siblings": tmp_path, "siblings_each": -1}, "siblings_each is -1"),
    ):
        with pytest.raises(ConfigError, match=words):
            SupervisedConfig(
                cross_table=crawlers / "wide", language_model=crawlers / "language_model", out=tmp_path, **changes
            )
    out = tmp_path / "siblings"
    run_siblings(config_of(crawlers, out, children=1))
    with pytest.raises(ElmError, match="count = 6, not 7"):
        run_siblings(config_of(crawlers, out, children=1, count=7))
    with pytest.raises(ElmError, match="another cross table's walkers"):
        run_supervised(
            SupervisedConfig(
                cross_table=crawlers / "table", language_model=crawlers / "language_model", out=tmp_path / "policy",
                siblings=_of_other_walkers(out, tmp_path),
            )
        )  # fmt: skip


def _of_other_walkers(folder: Path, tmp_path: Path) -> Path:
    """Siblings whose walkers have other numbers than in any table here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "walkers.parquet").to_pylist()
    moved = tmp_path / "moved"
    moved.mkdir()
    pq.write_table(
        pa.Table.from_pylist([row | {"walker": row["walker"] + 1000} for row in rows]), moved / "walkers.parquet"
    )
    (moved / "siblings.json").write_text((folder / "siblings.json").read_text())
    return moved


def test_a_program_that_builds_no_walker_has_no_siblings(crawlers: Path, tmp_path: Path) -> None:
    with Evaluator(n_jobs=1, duration=1.0) as evaluator:
        found = drift("nonsense(", 0, ["Flat"], ScoreStore(tmp_path, 1), evaluator, config_of(crawlers, tmp_path))
    assert [sibling.program for sibling in found] == ["nonsense("]
