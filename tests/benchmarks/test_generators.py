from __future__ import annotations

from benchmarks.generators import about_the_models, ppo_evaluations, published_summaries
from benchmarks.tables import RESULTS


def test_the_committed_result_says_what_the_models_had_cost():
    published = published_summaries()
    summary = next(run for run in published if run["seed"] == 1)
    text = about_the_models(summary, published)
    assert text in (RESULTS / "generators.md").read_text(encoding="utf-8")
    assert "48,635" in text  # the evolution
    assert "4,500" in text  # the warm start
    assert "73 / 59 / 55, with seed 0 33 / 27 / 20: the best of 2 runs was taken" in text
    assert "of 192 samples a terrain only 6 / 7 / 13 (LeftWall, RightWall, Tunnel) are distinct" in text


def test_only_the_better_run_is_called_so():
    published = published_summaries()
    worse = next(run for run in published if run["seed"] == 0)
    assert "was taken" not in about_the_models(worse, published)


def test_ppo_pays_for_its_scales_its_batches_and_its_matrices():
    # 128 programs on 3 terrains, 50 batches of 48, 11 matrices of 32 programs for and on each of 3 terrains.
    assert ppo_evaluations({"terrains": ["a", "b", "c"], "updates": 50}) == 128 * 3 + 50 * 48 + 11 * 32 * 9
    # Stopped between two matrices a run is measured once more at its end.
    assert ppo_evaluations({"terrains": ["a"], "updates": 7}) == 128 + 7 * 48 + 3 * 32
