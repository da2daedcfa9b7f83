"""Which policy a fine-tuning run keeps and when it stops: the monitor alone, fed with matrices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

from elm_rl.inventor.monitor import Best, Budget, FinetuneMonitor, matrix_score
from elm_rl.inventor.reward import RewardScale

TERRAINS = ("LeftWall", "Tunnel")
SCALES = {name: RewardScale(mean=2.0, std=1.0, invalid=-3.0) for name in TERRAINS}


def followed(
    matrices: Sequence[Sequence[Sequence[float]]], out: Path, **budget: Any
) -> tuple[FinetuneMonitor, list[int]]:
    """A monitor that meets these matrices, the first at the start; and the updates it stopped or kept at."""
    kept: list[int] = []
    rest = [np.array(matrix)[:, :, None] for matrix in matrices]  # of one program each
    monitor = FinetuneMonitor(
        out,
        {name: RewardScale(0.0, std, -1.0) for name, std in zip(TERRAINS, (10.0, 1.0), strict=True)},
        Budget(updates=len(matrices) - 1, evaluate_every=1, **budget),
        lambda: None,
        lambda: rest.pop(0),
        lambda best: kept.append(best.update),
        progress=False,
    )
    monitor.start()
    control = TrainerControl()
    while not control.should_training_stop:
        control = monitor.on_step_end(None, TrainerState(), control)
    monitor.close()
    return monitor, kept


def test_a_conditional_policy_beats_a_better_one_that_is_not(tmp_path: Path) -> None:
    plain, conditional, stronger = [[5, 1], [6, 1]], [[4, 0.5], [3, 0.6]], [[50, 9], [60, 8]]
    monitor, kept = followed([plain, conditional, stronger], tmp_path)
    assert kept == [0, 1]
    assert monitor.best.conditional
    assert monitor.best.update == 1
    assert monitor.stopped == "updates"


def test_an_easy_terrain_cannot_hide_a_failed_one(tmp_path: Path) -> None:
    """Both are conditional; the second is 5 units better on the easy terrain and 1 worse on the hard one."""
    _, kept = followed([[[20, 0], [0, 2]], [[25, 0], [0, 1]], [[15, 0], [0, 3]]], tmp_path)
    assert kept == [0, 2]


def test_patience_ends_a_run_that_has_stopped_improving(tmp_path: Path) -> None:
    better, worse = [[9, 0], [0, 9]], [[8, 0], [0, 8]]
    monitor, kept = followed([worse, better, worse, worse, worse, worse], tmp_path, patience=2)
    assert kept == [0, 1]
    assert (monitor.update, monitor.stopped) == (3, "patience")


def test_a_new_run_starts_its_metrics_anew(tmp_path: Path) -> None:
    for _ in range(2):
        followed([[[1, 0], [0, 1]], [[2, 0], [0, 2]]], tmp_path)
    assert len((tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_the_score_is_in_the_units_of_each_terrain() -> None:
    assert matrix_score(np.array([[4, 0], [9, 6]]), list(SCALES.values())) == pytest.approx((2 + 4) / 2)


def test_a_surely_conditional_policy_beats_a_better_one_that_may_be_lucky() -> None:
    sure, lucky, not_at_all = (
        Best(matrix=np.eye(2), conditional=conditional, support=support, score=score)
        for conditional, support, score in ((True, 99.0, 1.0), (True, 60.0, 2.0), (False, 40.0, 3.0))
    )
    assert Best().beaten_by(not_at_all)
    assert lucky.beaten_by(not_at_all), "luck is worth nothing"
    assert lucky.beaten_by(sure)
    assert not_at_all.beaten_by(sure)
    assert not sure.beaten_by(lucky)
    assert not sure.beaten_by(sure)
