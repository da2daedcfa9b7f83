"""Following a run that goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elm_rl.errors import ElmError
from elm_rl.evolution.map_elites import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.report.watch import WatchConfig, follow, has_ended, run_watch, sparkline
from elm_rl.runs.run_directory import METRICS_FILE, SUMMARY_FILE, read_json, write_json


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run that has ended. Read only."""
    out = tmp_path_factory.mktemp("evolution") / "run"
    run_evolve(
        EvolveConfig(
            out=out,
            seeds=("square",),
            operators=("gp",),
            iterations=4,
            batch_size=8,
            duration=1.0,
            n_jobs=1,
            progress=False,
        )
    )
    return out


@pytest.fixture
def growing(ended: Path, tmp_path: Path) -> Path:
    """The same run after its first iteration."""
    out = tmp_path / "run"
    out.mkdir()
    for name in ("config.json", "admitted.jsonl"):
        (out / name).write_bytes((ended / name).read_bytes())
    (out / METRICS_FILE).write_bytes(b"".join(_lines(ended)[:2]))
    return out


def _lines(run: Path) -> list[bytes]:
    return (run / METRICS_FILE).read_bytes().splitlines(keepends=True)


def _iterations(lines: list[dict[str, Any]]) -> list[int]:
    return [line["iteration"] for line in lines]


def test_iterations_are_told_as_they_come_and_once(ended: Path, growing: Path) -> None:
    looks = follow(growing, poll=0.0)
    assert _iterations(next(looks)) == [0, 1]
    assert next(looks) == []
    with open(growing / METRICS_FILE, "ab") as file:
        file.write(_lines(ended)[2] + _lines(ended)[3][:20])
        file.flush()
        assert _iterations(next(looks)) == [2], "a line that is being written is none yet"
        file.write(_lines(ended)[3][20:] + _lines(ended)[4])
    assert _iterations(next(looks)) == [3, 4]
    write_json(growing / SUMMARY_FILE, read_json(ended / SUMMARY_FILE))
    assert list(looks) == [[]], "then the run has ended"


def test_a_run_that_is_resumed_repeats_nothing(ended: Path, growing: Path) -> None:
    (growing / METRICS_FILE).write_bytes(b"".join(_lines(ended)[:4]))
    looks = follow(growing, poll=0.0)
    assert _iterations(next(looks)) == [0, 1, 2, 3]
    (growing / METRICS_FILE).write_bytes(b"".join(_lines(ended)[:2]))  # cut back to its checkpoint
    assert next(looks) == []
    (growing / METRICS_FILE).write_bytes(b"".join(_lines(ended)))
    assert _iterations(next(looks)) == [4]


def test_the_end_of_a_part_is_not_the_end(ended: Path, growing: Path) -> None:
    assert has_ended(ended)
    assert not has_ended(growing)
    (growing / METRICS_FILE).write_bytes(b"".join(_lines(ended)))
    write_json(growing / SUMMARY_FILE, read_json(ended / SUMMARY_FILE))
    assert has_ended(growing)
    settings = read_json(growing / "config.json")
    (growing / "config.json").write_text(json.dumps(settings | {"rounds": 1}), encoding="utf-8")
    assert not has_ended(growing), "a round of training comes next"
    write_json(growing / SUMMARY_FILE, read_json(ended / SUMMARY_FILE) | {"stopped": "1,000 evaluations are done"})
    assert has_ended(growing)


def test_watching_prints_iterations_and_leaves_a_page(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_watch(WatchConfig(run=ended, poll=0.01)) == ended
    assert len(capsys.readouterr().out.splitlines()) == 5
    page = run_watch(WatchConfig(run=ended, poll=0.01, page=True))
    assert page == ended / "index.html"
    assert page.is_file()


def test_a_terminal_shows_archives_and_operators(
    ended: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    run_watch(WatchConfig(run=ended, poll=0.01))
    shown = capsys.readouterr().out
    for words in ("iteration 4 of 4", "QD score", "square", "gp", "admitted"):
        assert words in shown


def test_wrong_settings_and_folders_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match=r"admitted\.jsonl"):
        run_watch(WatchConfig(run=tmp_path))
    for wrong in ({"poll": 0.0}, {"page_every": -1.0}, {"n_jobs": 0}):
        with pytest.raises(ElmError, match=next(iter(wrong))):
            WatchConfig(run=tmp_path, **wrong)  # type: ignore[arg-type]


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([]) == ""
    assert sparkline([0.0, 1.0]) == "▁█"
    assert len(sparkline([float(k) for k in range(1000)])) == 40
