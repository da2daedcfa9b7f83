"""The ledger says what the stages wrote down, and adds it up."""

from __future__ import annotations

from pathlib import Path

import pytest

from elm_rl.corpus.corpus import CorpusConfig, run_corpus
from elm_rl.corpus.cross_table import CrossTableConfig, run_cross_table
from elm_rl.errors import ElmError
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.inventor.rank_gradient import RankGradientConfig, run_rank_gradient
from elm_rl.inventor.siblings import SiblingsConfig, run_siblings
from elm_rl.inventor.supervised import SupervisedConfig, run_supervised
from elm_rl.models.pretraining import PretrainConfig, run_pretrain
from elm_rl.report.ledger import LedgerConfig, run_ledger


def test_every_stage_is_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evolved = run_evolve(
        EvolveConfig(
            out=tmp_path / "flat", operators=("gp",), iterations=2, batch_size=16, duration=1.0, progress=False
        )
    )
    run_corpus(CorpusConfig(evolution=(tmp_path / "flat",), out=tmp_path / "corpus"))
    trained = run_pretrain(PretrainConfig(corpus=tmp_path / "corpus", out=tmp_path / "lm", size="0.1M", max_steps=3))
    table = run_cross_table(
        CrossTableConfig(
            evolution=(tmp_path / "flat",), out=tmp_path / "table", walkers=4, probes=1, terrains=("LeftWall", "Tunnel"),
            draws=0, robustness=1, duration=1.0, progress=False,
        )
    )  # fmt: skip
    assert len(table.walkers) == 4
    siblings = run_siblings(
        SiblingsConfig(
            cross_table=tmp_path / "table",
            out=tmp_path / "siblings",
            portfolio=2,
            children=8,
            terrains=1,
            progress=False,
        )
    )
    taught = run_supervised(
        SupervisedConfig(
            cross_table=tmp_path / "table", language_model=tmp_path / "lm", siblings=tmp_path / "siblings",
            out=tmp_path / "policies" / "start", max_steps=2, per_terrain=2, lesson_steps=2,
        )
    )  # fmt: skip
    climbed = run_rank_gradient(
        RankGradientConfig(
            start=tmp_path / "policies" / "start", out=tmp_path / "policies" / "better", updates=1, terrains=2, samples=2,
            mini_batch=4, evaluation_terrains=2, evaluation_samples=4, robustness=0, duration=1.0, longest=16, progress=False,
        )
    )  # fmt: skip
    capsys.readouterr()
    entries = {
        entry.place.relative_to(tmp_path).as_posix(): entry for entry in run_ledger(LedgerConfig(folder=tmp_path))
    }
    assert list(entries) == ["flat", "lm", "policies/better", "policies/start", "siblings", "table"]
    assert entries["flat"].evaluations == evolved["evaluations"]
    assert entries["lm"][3:] == (trained.seconds, trained.tokens)
    assert entries["policies/start"].tokens == taught.training.tokens
    assert entries["policies/better"].evaluations == climbed.evaluations == 2 * 2 + 2 * 4
    assert entries["policies/better"].seconds == pytest.approx(sum(climbed.seconds.values()))
    pairs = entries["table"].evaluations
    assert pairs is not None
    assert pairs >= 8
    children = entries["siblings"].evaluations
    assert children is not None
    assert sum(map(len, siblings.values())) <= children <= 2 * (1 + 8)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 8
    total = evolved["evaluations"] + climbed.evaluations + pairs + children
    assert printed[-1].split()[:2] == ["all", f"{total:,}"]


def test_a_folder_without_results_is_said_to_be(tmp_path: Path) -> None:
    for name in ("rank_gradient.json", "training.json"):
        (tmp_path / name).write_text(
            '{"one": [1.0]}', encoding="utf-8"
        )  # of something else, under the name of a result
    with pytest.raises(ElmError, match="Nothing in"):
        run_ledger(LedgerConfig(folder=tmp_path))
    with pytest.raises(ElmError, match="is no folder"):
        run_ledger(LedgerConfig(folder=tmp_path / "none"))
