from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elm_rl.cli import STAGES, main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def one_sentence(text: str) -> bool:
    """One line, said by the program, with no traceback."""
    return text.startswith("elm-rl: ") and text.count("\n") == 1 and "Traceback" not in text


def test_the_overview_names_every_stage_without_loading_torch():
    code = (
        "import sys; from elm_rl.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in STAGES)
    assert done.stdout.strip().endswith("False")


@pytest.mark.parametrize("stage", STAGES)
def test_help_of_a_stage_teaches_with_an_example(capsys, stage):
    status, out, _ = run(capsys, stage, "--help")
    assert status == 0
    assert f"Example: elm-rl {stage}" in " ".join(out.split())


@pytest.mark.parametrize("stage", STAGES)
def test_examples_use_flags_that_exist(capsys, stage):
    _, out, _ = run(capsys, stage, "--help")
    flags = [word for word in STAGES[stage].example.split() if word.startswith("--")]
    assert flags or stage in ("operators", "lineage", "ledger", "corpus stats")  # what these take has no flag
    described = out.split("Example:")[0] + out.split(STAGES[stage].example.split()[-1], 1)[-1]
    assert [flag for flag in flags if flag not in described] == []


EVOLVE_ONCE = "evolve --out run --seeds square --iterations 1 --batch-size 2 --duration 0.1 --no-progress"


@pytest.mark.skipif(os.name != "posix", reason="tells by what POSIX says of pipes")
@pytest.mark.parametrize(
    ("command", "stream"),
    [("--help", "stdout"), ("report --help", "stdout"), ("report --run missing", "stderr"), (EVOLVE_ONCE, "stdout")],
)
def test_output_that_nobody_reads_ends_without_a_word(tmp_path, command, stream):
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = [sys.executable, "-m", "elm_rl.cli", *command.split()]
    done = subprocess.run(run, **streams, text=True, cwd=tmp_path, env=environment)
    os.close(writer)
    assert (done.stdout or "") + (done.stderr or "") == ""
    assert done.returncode == 141
    assert (tmp_path / "run" / "summary.json").exists() == (command == EVOLVE_ONCE)


def test_no_stage_prints_the_overview_and_fails(capsys):
    status, out, _ = run(capsys)
    assert status == 2
    assert "usage: elm-rl" in out


def test_an_unknown_stage_is_one_sentence(capsys):
    status, _, err = run(capsys, "evolv")
    assert status == 2
    assert one_sentence(err)
    assert "'evolv'" in err
    assert "evolve" in err


def test_a_broken_flag_fails_and_is_named(capsys, tmp_path):
    status, _, err = run(capsys, "evolve", "--out", str(tmp_path / "run"), "--iteration-count", "3")
    assert status == 2
    assert "--iteration-count" in err
    assert not (tmp_path / "run").exists()


def test_a_wrong_value_fails_and_is_named(capsys, tmp_path):
    status, _, err = run(capsys, "evolve", "--out", str(tmp_path / "run"), "--terrain", "Moon")
    assert status != 0
    assert "Moon" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("stage", "flags"),
    [
        ("corpus", ["--evolution", "missing", "--out", "out"]),
        ("pretrain", ["--corpus", "missing", "--out", "out"]),
        ("mutation-model", ["--evolution", "missing", "--out", "out"]),
        ("finetune", ["--start", "missing", "--out", "out"]),
        ("sample", ["--model", "missing"]),
        ("report", ["--run", "missing"]),
        ("lineage", ["missing"]),
    ],
)
def test_a_missing_file_is_one_sentence(capsys, tmp_path, monkeypatch, stage, flags):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, stage, *flags)
    assert status == 1
    assert one_sentence(err), err
    assert "missing" in err
    assert list(tmp_path.iterdir()) == []


EVOLVE = (
    "evolve", "--operators", "gp", "--seeds", "square", "--iterations", "2", "--batch-size", "4", "--duration", "0.5",
    "--no-progress",
)  # fmt: skip


def test_corrupt_checkpoints_are_one_sentence_and_nothing_is_lost(capsys, tmp_path):
    out = tmp_path / "run"
    assert run(capsys, *EVOLVE, "--out", str(out))[0] == 0
    before = (out / "admitted.jsonl").read_bytes()
    for checkpoint in out.glob("checkpoint*.json"):
        checkpoint.write_text(checkpoint.read_text()[:-20])
    status, _, err = run(capsys, *EVOLVE, "--out", str(out), "--resume")
    assert status == 1
    assert "Traceback" not in err
    assert "checkpoint" in err.splitlines()[-1]
    assert (out / "admitted.jsonl").read_bytes() == before


def test_a_full_folder_is_not_overwritten(capsys, tmp_path):
    out = tmp_path / "run"
    assert run(capsys, *EVOLVE, "--out", str(out))[0] == 0
    status, _, err = run(capsys, *EVOLVE, "--out", str(out))
    assert status == 1
    assert one_sentence(err)
    assert "--resume" in err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a file-size limit is a POSIX feature")
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(tmp_path):
    """A file-size limit makes the system refuse writes, as a full disk does; the log outgrows it in mid-run."""
    out = tmp_path / "run"
    flags = [
        "evolve",
        "--operators",
        "gp",
        "--seeds",
        "square",
        "--batch-size",
        "16",
        "--duration",
        "0.5",
        "--no-progress",
        "--out",
        str(out),
    ]
    code = (
        "import resource, signal, sys; from elm_rl.cli import main; import elm_rl.evolution.map_elites\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))\n"
        "main(sys.argv[1:])"
    )
    limited = subprocess.run(
        [sys.executable, "-c", code, *flags, "--iterations", "40"], capture_output=True, text=True, check=False
    )
    assert limited.returncode == 1
    assert one_sentence(limited.stderr), limited.stderr
    kept = [json.loads(line) for line in (out / "admitted.jsonl").read_text().splitlines() if line.endswith("}")]
    assert len(kept) > 5
    more = subprocess.run(
        [sys.executable, "-m", "elm_rl.cli", *flags, "--iterations", "12", "--resume"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert more.returncode in (0, 1)
    if more.returncode == 1:  # it had come further than 12 iterations already
        assert one_sentence(more.stderr), more.stderr
    after = [json.loads(line) for line in (out / "admitted.jsonl").read_text().splitlines()]
    assert after[: min(len(kept), len(after)) - 20] == kept[: min(len(kept), len(after)) - 20]


def test_a_stage_without_its_packages_says_what_to_install(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "elm_rl.report.page", None)
    status, _, err = run(capsys, "report", "--run", str(Path(tmp_path)))
    assert status == 1
    assert one_sentence(err)
    assert "pip install 'sodarace-gym[elm]'" in err
