"""The policy that comes with the package: small, described, and of use on terrains of families that it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from elm_rl.inventor.builtin import BUILTIN_POLICY
from elm_rl.inventor.invent import InventConfig, run_invent
from elm_rl.inventor.ppo import FinetuneConfig, run_finetune
from elm_rl.models.language_model import load_policy

UNSEEN = "Pits,difficulty=0.4,seed=90210"


def test_it_is_small_and_has_a_card() -> None:
    files = {path.name: path.stat().st_size for path in BUILTIN_POLICY.iterdir()}
    assert "model.safetensors" in files
    assert sum(files.values()) <= 16e6
    assert '"/' not in (BUILTIN_POLICY / "config.json").read_text()  # no path of the machine that trained it
    card = (BUILTIN_POLICY / "README.md").read_text()
    assert all(f"elm-rl {stage} " in card for stage in ("evolve", "pretrain", "cross-table", "supervised"))


def test_it_invents_walkers_for_a_family_that_it_never_saw(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_invent(InventConfig(terrain=UNSEEN, count=4, samples=16, n_jobs=1))
    assert len(found) == 4
    assert found[0].least > 10.0
    assert capsys.readouterr().out.startswith("# 1: ")


def test_fine_tuning_starts_from_it(tmp_path: Path) -> None:
    config = FinetuneConfig(
        out=tmp_path, updates=1, terrains=1, samples=2, mini_batches=1, evaluation_terrains=2, evaluation_samples=4,
        robustness=0, duration=2.0, n_jobs=1, progress=False,
    )  # fmt: skip
    result = run_finetune(config)
    assert result.updates == 1
    policy, _ = load_policy(tmp_path)
    assert not policy.config.terrains  # it takes any
