"""The tables of the studies of stage 3: what counts as reached, and how seeds and groups of terrains come together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks import paper_sets, policy_judging, zero_shot, zero_shot_variants
from elm_rl.judging.terrain_scores import TerrainScore


def score(mean: float, **changes: float) -> TerrainScore:
    figures = {
        "samples": 64, "mean": mean, "plain": mean + 5, "best": 2 * mean, "valid": 0.9, "designs": 20, "copies": 0.5,
        "near_copies": 0.1, "novel": mean / 2, "novel_valid": 0.8,
    }  # fmt: skip
    return TerrainScore(**figures | changes)  # type: ignore[arg-type]


def judged(means: list[float], best: list[float], support: float) -> paper_sets.Judged:
    return paper_sets.Judged([asdict(score(mean)) for mean in means], best, support, 12.0, "updates")


def test_a_seed_reaches_the_best_of_many_only_where_it_does_on_every_terrain() -> None:
    nothing = float("nan")
    found = {
        paper_sets.FLAT: [judged([1, 1, 1], [50, 40, 30], nothing), judged([1, 1, 1], [60, 60, 60], nothing)],
        paper_sets.BOTH: [judged([1, 1, 1], [50, 40, 30], nothing), judged([1, 1, 1], [60, 60, 50], nothing)],
        "rank_gradient": [judged([50, 41, 31], [70, 60, 50], 100.0), judged([99, 99, 59], [99, 99, 80], 90.0)],
    }
    distances, others = paper_sets.rows_of(found, ("LeftWall", "RightWall", "Tunnel"))
    assert [row[-2:] for row in distances] == [["", ""], ["", ""], ["1 of 2", "2 of 2"]]
    assert distances[2][1].startswith("74.5 [50.0, 99.0]")
    (row,) = others
    assert row[0] == "rank_gradient"
    assert row[7] == "1 of 2"  # diagonal in 95% of the resamplings
    assert row[6] == "20"


def test_what_was_judged_is_not_judged_again(tmp_path) -> None:
    first = judged([1.0], [2.0], float("nan"))
    calls = []

    def judge() -> paper_sets.Judged:
        calls.append(1)
        return first

    for _ in range(2):
        again = paper_sets.judged(tmp_path / "judged.json", judge)
        assert again.scores == first.scores
        assert np.isnan(again.support)
    assert len(calls) == 1


def test_a_row_that_was_judged_is_read_as_it_was(tmp_path: Path) -> None:
    first = policy_judging.Row(
        np.array([1.5, 2.0]), np.array([3.0, 4.0]), [score(1.0, novel=float("nan"))], np.array([])
    )
    calls = []

    def judge() -> policy_judging.Row:
        calls.append(1)
        return first

    for _ in range(2):
        again = policy_judging.judged(tmp_path / "row.json", judge)
        assert again.one.tolist() == [1.5, 2.0]
        assert again.swapped.size == 0
        assert again.scores[0].mean == 1.0
        assert np.isnan(again.scores[0].novel)
    assert len(calls) == 1


def row(one: list[float], swapped: list[float]) -> policy_judging.Row:
    return policy_judging.Row(np.array(one), 2 * np.array(one), [score(mean) for mean in one], np.array(swapped))


def test_groups_of_terrains_are_told_apart_and_seeds_averaged() -> None:
    groups = {"seen": ["a", "b"], "unseen": ["c"]}
    rows = {
        "best single walker": [row([10, 20, 30], [0, 0, 0])],
        "regressor": [row([12, 22, 32], [1, 2, -3])],
        "ppo": [row([20, 30, 60], [5, -1, 2]), row([30, 40, 80], [5, -1, 2])],
    }
    text = zero_shot.page(rows, groups, zero_shot.SMALL)
    assert "| ppo | 30.0 | 70.0 | 43.3 | 86.7 | 36.7 / 50.0 |" in text
    assert "| ppo | best single walker | +15.0 [+15.0, +15.0] | +40.0 [+40.0, +40.0] |" in text
    assert "| best single walker | 0% (+0.0) | 0% (+0.0) | 0% (+0.0) |" in text, "a tie is not better"
    assert "| regressor | 100% (+1.5) | 0% (-3.0) | 67% (+0.0) |" in text
    assert "| ppo | 50% (+2.0) | 100% (+2.0) | 67% (+2.0) | 90 | 50 | 10 |" in text


def test_variants_are_paired_with_the_base() -> None:
    count = sum(map(len, zero_shot.test_terrains().values()))

    def outcome(one: float, better_on: int) -> dict[str, object]:
        swapped = [1.0] * better_on + [-1.0] * (count - better_on)
        return {
            "parameters": 1_000_000, "one": [one] * count, "best": [2 * one] * count, "swapped": swapped, "valid": 0.9,
            "copies": 0.25, "novel": float("nan") if one == 20 else 7.0,
        }  # fmt: skip

    found = {
        "base": [outcome(20, count), outcome(30, count)],
        "text": [outcome(40, count // 2), outcome(20, count // 2)],
    }
    study = zero_shot_variants.Study(Path("study"), Path("out"), 60.0, 1)
    text = zero_shot_variants.page(found, study)
    assert (
        "| base | 1,000,000 | 25.0 | 25.0 | 25.0 | 25.0 | 20.0 / 30.0 | 50.0 |  | 100 [100, 100] | 90 | 25 | 7.0 |"
        in text
    )
    assert "| 40.0 / 20.0 | 60.0 | +5.0 [+5.0, +5.0] | 50 [50, 50] |" in text


def test_variants_differ_from_the_base_in_one_thing() -> None:
    base = asdict(zero_shot_variants.BASE)
    for name, variant in zero_shot_variants.VARIANTS.items():
        # With fewer labels there are more programs a terrain, so that there are about as many examples.
        changed = [key for key, value in asdict(variant).items() if value != base[key] and key != "per_terrain"]
        assert len(changed) == {"base": 0, "as rolled out": 2, "no siblings": 2, "4 bands": 4}.get(name, 1)


@pytest.mark.parametrize("group", ["seen", "harder", "unseen"])
def test_test_terrains_are_of_the_test_split_and_of_their_group(group: str) -> None:
    from elm_rl.corpus.drawn_terrains import HELD_OUT_FAMILIES
    from sodarace_gym.terrains.distribution import SPLITS

    texts = zero_shot.test_terrains()[group]
    assert len(texts) == len(set(texts)) == zero_shot.TEST_TERRAINS[group]
    for text in texts:
        family, difficulty, seed = text.split(",")
        assert (family in HELD_OUT_FAMILIES) == (group == "unseen")
        assert (float(difficulty.partition("=")[2]) >= 0.9) == (group == "harder")
        assert int(seed.partition("=")[2]) in SPLITS["test"]
