"""The cross table: real walkers on real terrains, chosen fairly, never rolled out twice, stopped and extended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from elm_rl.corpus.cross_table import CrossTableConfig, load_cross_table, run_cross_table
from elm_rl.corpus.score_store import ScoreStore
from elm_rl.corpus.walker_choice import best_in_turn, read_elites
from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution import EvolveConfig, run_evolve
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.distribution import SPLITS
from sodarace_gym.terrains.texts import terrain_from_text

DURATION = 1.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cross") / "evolution"
    run_evolve(
        EvolveConfig(
            out=out, operators=("gp",), iterations=4, batch_size=24, duration=DURATION, n_jobs=1, progress=False
        )
    )
    return out


def config_of(run: Path, out: Path, **changes: Any) -> CrossTableConfig:
    settings: dict[str, Any] = {
        "evolution": (run,), "out": out, "walkers": 12, "probes": 2, "terrains": ("Tunnel",), "draws": 3, "robustness": 2,
        "duration": DURATION, "n_jobs": 1, "progress": False,
    }  # fmt: skip
    return CrossTableConfig(**settings | changes)


def test_a_table_says_what_the_evaluator_says(run: Path, tmp_path: Path) -> None:
    config = config_of(run, tmp_path)
    table = run_cross_table(config)
    assert len(table.walkers) == 12
    assert next(iter(table.terrains)) == "Tunnel"
    assert len(table.terrains) == 4
    assert table.distances.shape == (4, 12, 3)
    with Evaluator(n_jobs=1, duration=DURATION, robustness=2) as evaluator:
        for row, terrain in enumerate(table.terrains.values()):
            found = evaluator.evaluate([walker.program for walker in table.walkers], terrain)
            assert np.allclose(table.plain[row], [each.fitness for each in found], rtol=1e-6)
            assert np.allclose(table.least[row], [each.robust_fitness for each in found], rtol=1e-6)
            assert np.allclose(table.mean[row], [np.mean(each.copy_distances or 0) for each in found], rtol=1e-6)
    assert (table.least <= table.plain).all()
    again = load_cross_table(tmp_path)
    assert again.walkers == table.walkers
    assert list(again.terrains) == list(table.terrains)
    assert np.array_equal(again.distances, table.distances)
    assert "12 Sodarace walkers" in (tmp_path / "README.md").read_text()


def test_drawn_terrains_are_ones_to_train_on() -> None:
    config = CrossTableConfig(evolution=(Path("run"),), out=Path("never"), draws=50, most_difficult=0.5)
    texts = config.texts()
    assert len(texts) == 50 == len(set(texts))
    for text in texts:
        name, difficulty, seed = text.split(",")
        assert name not in ("Pits", "Burrow", "Mixed")
        assert float(difficulty.removeprefix("difficulty=")) <= 0.5
        assert int(seed.removeprefix("seed=")) in SPLITS["train"]
        assert terrain_from_text(text).name == name
    assert replace(config, seed=1).texts() != texts
    assert replace(config, draws=20).texts() == texts[:20]


class Counting(Evaluator):
    """Counts the programs that it was asked about, and may be interrupted."""

    asked = 0
    limit = 10**9

    def evaluate(self, programs: Any, terrain: Any, **settings: Any) -> Any:
        if Counting.asked >= Counting.limit:
            raise KeyboardInterrupt
        Counting.asked += len(programs)
        return super().evaluate(programs, terrain, **settings)


def test_no_pair_is_rolled_out_twice(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elm_rl.corpus.cross_table.Evaluator", Counting)
    whole = run_cross_table(config_of(run, tmp_path / "whole"))
    elites = len(read_elites([run]))
    assert Counting.asked == 2 * elites + 2 * 12  # all on the two probes, the chosen ones on the others

    Counting.asked, Counting.limit = 0, elites + 1
    stopped = config_of(run, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        run_cross_table(stopped)
    with pytest.raises(ElmError, match="no cross table that can be read"):
        load_cross_table(tmp_path / "stopped")
    done, Counting.limit = Counting.asked, 10**9
    table = run_cross_table(stopped)
    assert Counting.asked == 2 * elites + 2 * 12
    assert 0 < done < Counting.asked
    assert np.array_equal(table.distances, whole.distances)

    Counting.asked = 0
    assert np.array_equal(run_cross_table(stopped).distances, whole.distances)
    assert Counting.asked == 0
    larger = run_cross_table(replace(stopped, draws=5, probes=1))
    assert len(larger.terrains) == 6
    assert 0 < Counting.asked <= 12 * 6


def test_terrains_take_turns_and_a_design_is_chosen_once() -> None:
    distances = np.array([[9.0, 8.0, 7.0, 0.0, 1.0, 6.0], [1.0, 2.0, 3.0, 0.0, 4.0, 9.0]])
    designs: Sequence[bytes | None] = [b"a", b"a", b"b", b"c", b"d", None]
    assert best_in_turn(distances, designs, 10) == [0, 4, 2]
    assert best_in_turn(distances, designs, 2) == [0, 4]
    assert best_in_turn(0 * distances, designs, 2) == []


def test_mistakes_are_explained(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="walkers is 0"):
        config_of(run, tmp_path, walkers=0)
    with pytest.raises(ConfigError, match="no terrains"):
        config_of(run, tmp_path, draws=0, terrains=())
    with pytest.raises(ConfigError, match="Moon"):
        config_of(run, tmp_path, terrains=("Moon",))
    with pytest.raises(ConfigError, match="families"):
        config_of(run, tmp_path, families=("Moon",))
    with pytest.raises(ElmError, match=r"holds no admitted\.jsonl"):
        run_cross_table(config_of(tmp_path, tmp_path / "out"))
    run_cross_table(config_of(run, tmp_path / "out", draws=1, walkers=2, robustness=1))
    with pytest.raises(ElmError, match="robustness = 1, not 2"):
        run_cross_table(config_of(run, tmp_path / "out", draws=1, walkers=2))
    first = sorted((tmp_path / "out" / "scores").glob("*.parquet"))[0]
    first.write_bytes(b"PAR1")
    with pytest.raises(ElmError, match=r"000000\.parquet' cannot be read"):
        load_cross_table(tmp_path / "out")
    first.unlink()
    with pytest.raises(ElmError, match="not finished"):
        load_cross_table(tmp_path / "out")


def test_every_file_opens_as_a_data_set(run: Path, tmp_path: Path) -> None:
    run_cross_table(config_of(run, tmp_path, draws=1, walkers=3))
    scores = pq.read_table(tmp_path / "scores")
    assert scores.column_names == ["terrain", "program", "design", "distances"]
    assert set(map(len, scores["distances"].to_pylist())) == {3}
    store = ScoreStore(tmp_path / "scores", 2)
    walker = load_cross_table(tmp_path).walkers[0]
    score = store.get(walker.program, "Tunnel")
    assert score is not None
    assert score.design is not None
    assert store.get("no such program", "Tunnel") is None
