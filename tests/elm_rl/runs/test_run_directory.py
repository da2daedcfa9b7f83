"""Files a run leaves: whole or not there, one clear sentence when something is wrong."""

from __future__ import annotations

import errno
import json
import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from elm_rl.runs import run_directory
from elm_rl.runs.checkpoint import AppendLog, load_checkpoint, save_checkpoint
from elm_rl.errors import ElmError
from elm_rl.runs.run_directory import (
    can_resume,
    explained_disk_errors,
    open_run_directory,
    read_json,
    read_jsonl,
    replaced_folder,
    write_bytes,
    write_json,
)


@dataclass(frozen=True)
class Config:
    out: Path
    size: int = 3
    names: tuple[str, ...] = ("a", "b")
    threads: int = 1


# --- the folder -----------------------------------------------------------------------------------------------------


def test_new_run_leaves_its_config_and_versions(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    assert not can_resume(folder)
    assert open_run_directory(folder, Config(folder), resume=False) is False
    assert can_resume(folder)
    assert read_json(folder / "config.json") == {"out": str(folder), "size": 3, "names": ["a", "b"], "threads": 1}
    versions = read_json(folder / "versions.json")
    assert versions["packages"]["numpy"] == np.__version__
    assert set(versions) == {"python", "platform", "packages"}
    assert versions["platform"] == f"{platform.system()} {platform.machine()}"
    assert platform.release() not in str(versions)


def test_new_run_refuses_a_folder_that_is_not_empty_and_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ElmError, match=r"is not empty; name another folder, or continue .* with --resume"):
        open_run_directory(tmp_path, Config(tmp_path), resume=False)
    with pytest.raises(ElmError, match=r"holds 'thesis.txt' but no run to resume"):
        open_run_directory(tmp_path, Config(tmp_path), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_same_settings_resume_and_different_ones_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = Config(folder)
    open_run_directory(folder, config, resume=False)
    with pytest.raises(ElmError, match="not empty"):
        open_run_directory(folder, config, resume=False)
    assert open_run_directory(folder, config, resume=True) is True
    assert open_run_directory(folder, replace(config, threads=8), resume=True, may_change=("threads",)) is True
    with pytest.raises(ElmError, match=r"started with names = \['a', 'b'\], not \['a'\]; resume it with the same"):
        open_run_directory(folder, replace(config, names=("a",), threads=8), resume=True, may_change=("threads",))
    assert read_json(folder / "config.json")["names"] == ["a", "b"]


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match="There is no run to resume in"):
        open_run_directory(tmp_path / "typo", Config(tmp_path), resume=True)
    assert not (tmp_path / "typo").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ElmError, match="is a file; expected a folder"):
        open_run_directory(tmp_path / "file", Config(tmp_path), resume=False)


@pytest.mark.parametrize("resume", [False, True])
def test_run_killed_before_it_started_starts(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "versions.json").write_text("{}")
    (tmp_path / ".config.json.4711.tmp").write_text("{")
    assert open_run_directory(tmp_path, Config(tmp_path), resume=resume) is False
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "versions.json"]


# --- files that are replaced ----------------------------------------------------------------------------------------


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"best": np.float64(1.5), "niches": np.arange(2), "at": tmp_path})
    assert read_json(path) == {"best": 1.5, "niches": [0, 1], "at": str(tmp_path)}
    old = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_directory.os, "fsync", full)
    with pytest.raises(ElmError, match=r"^The disk is full: '.*summary.json' could not be written;.*--resume\.$"):
        write_json(path, {"best": 2.5})
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


def test_file_in_the_way_and_full_disk_reported_by_other_libraries(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "file", b"content")
    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    with pytest.raises(ElmError, match=r"file/other' could not be written \(.*\); check that its folder exists"):
        write_bytes(tmp_path / "new" / "file" / "other", b"")
    with pytest.raises(ElmError, match="The disk is full: 'model'"), explained_disk_errors(Path("model")):
        raise Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(ZeroDivisionError), explained_disk_errors(Path("model")):
        raise ZeroDivisionError


def test_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    model = tmp_path / "model"
    for text in ("first", "second"):
        with replaced_folder(model) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / text).write_text(text)
    assert [path.name for path in model.rglob("*")] == ["sub", "second"]
    with pytest.raises(ZeroDivisionError), replaced_folder(model) as folder:
        (folder / "half").write_text(str(1 / len((folder / "half").write_text("") * "")))
    assert [path.name for path in model.rglob("*")] == ["sub", "second"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_reading_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match=r"missing.json' does not exist; check the path"):
        read_json(tmp_path / "missing.json")
    with pytest.raises(ElmError, match=r"missing.jsonl' does not exist"):
        list(read_jsonl(tmp_path / "missing.jsonl"))
    for content in (b"{", b"\xff\xfe", b""):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(ElmError, match=r"bad.json' is damaged: expected JSON"):
            read_json(tmp_path / "bad.json")


def test_lines_of_a_run_that_goes_on_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id": 0}\n{"id": 1}\n{"id": 2, "prog')
    assert [record["id"] for record in read_jsonl(path)] == [0, 1]
    path.write_bytes(b'{"id": 0}\n{"id": 1, "prog\n{"id": 2}\n')
    with pytest.raises(ElmError, match="line 2 is not a JSON object"):
        list(read_jsonl(path))


# --- logs and checkpoints -------------------------------------------------------------------------------------------


def test_log_is_cut_back_to_its_mark_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AppendLog(path) as log:
        log.append_json({"x": 1})
        mark = log.mark()
        log.append(b"lost")
    with AppendLog(path) as log:
        log.cut(log.verified(mark))
        log.append_json({"x": 2})
        again = log.mark()
    assert path.read_bytes() == b'{"x": 1}\n{"x": 2}\n'
    with AppendLog(path) as log:
        assert log.verified(again) == path.read_bytes()
        path.write_bytes(b'{"x": 9}\n{"x": 2}\n')
        with pytest.raises(ElmError, match="is damaged: it is not what its checkpoint describes"):
            log.verified(mark)
        path.write_bytes(b'{"x"')
        with pytest.raises(ElmError, match="is damaged"):
            log.verified(mark)


def test_checkpoint_gives_back_exactly_what_was_saved(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    generator.random(3)
    state = {"rng": generator.bit_generator.state, "x": [0.1 + 0.2, 1e-320, 2**200], "text": "ü\ud800\n"}
    save_checkpoint(tmp_path, state)
    loaded: list[dict[str, object]] = []
    assert load_checkpoint(tmp_path, loaded.append)
    assert loaded == [state]


def test_every_changed_byte_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"iteration": 1, "x": 0.25})
    save_checkpoint(tmp_path, {"iteration": 2, "x": 0.5})
    path = tmp_path / "checkpoint.json"
    whole, previous = path.read_bytes(), (tmp_path / "checkpoint.previous.json").read_bytes()
    meaning = json.loads(whole)
    changed = 0
    for position in range(len(whole)):
        damaged = whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
        try:
            if json.loads(damaged) == meaning:
                continue  # white space
        except ValueError:
            pass
        changed += 1
        path.write_bytes(damaged)
        (tmp_path / "checkpoint.previous.json").write_bytes(previous)
        loaded: list[dict[str, object]] = []
        with pytest.warns(UserWarning, match="goes on from the checkpoint before it"):
            assert load_checkpoint(tmp_path, loaded.append)
        assert loaded == [{"iteration": 1, "x": 0.25}]
    assert changed > 90


def test_good_checkpoint_survives_the_save_after_a_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, {"iteration": 1})
    save_checkpoint(tmp_path, {"iteration": 2})
    (tmp_path / "checkpoint.json").write_bytes(b"rubbish")
    with pytest.warns(UserWarning, match="goes on"):
        load_checkpoint(tmp_path, lambda state: None)
    renamed = 0
    replace_file = os.replace

    def die_between_the_renames(source: Path, destination: Path) -> None:
        nonlocal renamed
        renamed += 1
        if renamed == 2:
            raise OSError(errno.EIO, "Input/output error")
        replace_file(source, destination)

    monkeypatch.setattr("elm_rl.runs.checkpoint.os.replace", die_between_the_renames)
    with pytest.raises(ElmError, match="Input/output error"):
        save_checkpoint(tmp_path, {"iteration": 2})
    loaded: list[dict[str, object]] = []
    assert load_checkpoint(tmp_path, loaded.append)
    assert loaded == [{"iteration": 1}]


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, lambda state: None) is False
