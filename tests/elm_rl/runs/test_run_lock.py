"""A place has one writer at a time, whatever the stage, and nobody ever has to remove a lock by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from elm_rl.errors import ElmError
from elm_rl.runs import run_lock as module
from elm_rl.runs.run_directory import LOCK_FILE
from elm_rl.runs.run_lock import file_lock, opened_run, run_lock

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

HOLD = """
import sys, time
from pathlib import Path
from elm_rl.errors import ElmError
from elm_rl.runs.run_lock import file_lock, run_lock
sys.stdin.readline()  # until told, so that several can begin at once
try:
    with (file_lock if sys.argv[1] == "file" else run_lock)(Path(sys.argv[2])):
        print("held", flush=True)
        sys.stdin.readline()
except ElmError as error:
    print(error, flush=True)
"""


def start(place: Path, kind: str = "folder") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, kind, str(place)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@contextmanager
def held_by_another(place: Path, kind: str = "folder") -> Iterator[subprocess.Popen[str]]:
    process = start(place, kind)
    tell(process)
    assert answer(process) == "held"
    try:
        yield process
    finally:
        kill(process)


def foreign(path: Path, *, seconds_old: float) -> None:
    """A lock file as a process of another host leaves it."""
    record = {"host": "alpha", "kernel": "other", "pid": 4711, "since": "2026-11-26 06:00:00", "token": "theirs"}
    path.write_text(json.dumps(record))
    now = time.time()
    os.utime(path, (now - seconds_old, now - seconds_old))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWAL", 0.05)
    monkeypatch.setattr(module, "SILENCE", 0.6)
    monkeypatch.setattr(module, "SETTLING", 0.05)


# --- processes of one machine ---------------------------------------------------------------------------------------


def test_of_several_started_at_once_one_writes_and_the_others_name_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    processes = [start(folder) for _ in range(5)]
    for process in processes:
        tell(process)
    answers = [answer(process) for process in processes]
    (winner,) = [process for process, said in zip(processes, answers, strict=True) if said == "held"]
    for said in answers:
        assert said == "held" or said.startswith(f"'{folder}' is in use: process {winner.pid} on this machine (since ")
    tell(winner)
    for process in processes:
        process.communicate()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_made_folders_that_stay_empty_are_removed(tmp_path: Path) -> None:
    with run_lock(tmp_path / "runs" / "one"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_killed_process_leaves_nothing_to_do(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        with pytest.raises(ElmError, match=f"in use: process {process.pid} on this machine"), run_lock(tmp_path):
            pass
        kill(process)
        assert (tmp_path / LOCK_FILE).exists()
        with run_lock(tmp_path):
            assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 3}'])
def test_damaged_lock_file_of_a_killed_process_is_taken_over(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_FILE).write_text(content)
    with run_lock(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK_FILE).exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_forked_by_a_killed_process_does_not_keep_its_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from elm_rl.runs.run_lock import run_lock\n"
        "with run_lock(Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if child == 0: time.sleep(60); os._exit(0)\n"
        "    print(child, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    child = int(answer(process))
    try:
        process.kill()
        process.wait()
        with run_lock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_thread_that_has_a_lock_has_it_and_another_has_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with run_lock(tmp_path):
                pass
        except ElmError as error:
            refused.append(str(error))

    (tmp_path / "link").symlink_to(tmp_path)
    with run_lock(tmp_path):
        with run_lock(tmp_path / "link"), run_lock(tmp_path / "stage"), file_lock(tmp_path / "figures.json"):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        assert (tmp_path / LOCK_FILE).exists()
        assert not (tmp_path / "stage").exists()
    assert len(refused) == 1
    assert f"process {os.getpid()}" in refused[0]


def test_a_run_is_locked_with_all_that_lies_in_it_and_nothing_beside_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held_by_another(run) as process:
        for lock, place in ((run_lock, run / "deep" / "stage"), (file_lock, run / "programs.json")):
            refusal = rf"process {process.pid} .* writes to '.*run', which holds it"
            with pytest.raises(ElmError, match=refusal), lock(place):
                pass
        assert [path.name for path in run.iterdir()] == [LOCK_FILE]
        with run_lock(tmp_path / "beside"), file_lock(tmp_path / "programs.json"):
            pass


def test_files_of_one_folder_are_locked_one_by_one(tmp_path: Path) -> None:
    with held_by_another(tmp_path / "a.json", "file"):
        with pytest.raises(ElmError, match=r"a\.json' is in use"), file_lock(tmp_path / "a.json"):
            pass
        with file_lock(tmp_path / "b.json"):
            pass


def test_nothing_to_resume_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match="no run to resume"), opened_run(tmp_path / "typo", None, resume=True):
        pass
    assert list(tmp_path.iterdir()) == []


# --- other hosts ----------------------------------------------------------------------------------------------------


def test_long_silent_lock_of_another_host_is_taken_at_once(tmp_path: Path, quick: None) -> None:
    foreign(tmp_path / LOCK_FILE, seconds_old=5.0)
    with run_lock(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_lock_of_a_process_just_killed_on_another_host_is_waited_for(tmp_path: Path, quick: None) -> None:
    foreign(tmp_path / LOCK_FILE, seconds_old=-1000.0)  # its clock may be ahead, too
    with pytest.warns(UserWarning, match="process 4711 on the machine 'alpha'"), run_lock(tmp_path):
        pass


@pytest.mark.filterwarnings("ignore:.*was last written to by")
@pytest.mark.parametrize("place", ["", "stage"])
def test_renewed_lock_of_another_host_is_respected(tmp_path: Path, quick: None, place: str) -> None:
    foreign(tmp_path / LOCK_FILE, seconds_old=0.0)
    over = threading.Event()

    def renew() -> None:
        while not over.wait(0.02):
            os.utime(tmp_path / LOCK_FILE)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(ElmError, match="process 4711 on the machine 'alpha'"), run_lock(tmp_path / place):
            pass
    finally:
        over.set()
        thread.join()
    assert "alpha" in (tmp_path / LOCK_FILE).read_text()


@pytest.mark.filterwarnings("ignore:.*was last written to by")
def test_file_system_without_locks_still_has_one_writer(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "lock_descriptor", lambda descriptor, share=False: False)
    refused: list[ElmError] = []

    def other() -> None:
        try:
            with run_lock(tmp_path):
                pass
        except ElmError as error:
            refused.append(error)

    with run_lock(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    (tmp_path / LOCK_FILE).write_text(json.dumps({**MINE, "pid": 1}))  # killed without giving it back
    with run_lock(tmp_path):
        pass


MINE = {"host": "here", "kernel": module._kernel(), "since": "2026-11-26 06:00:00", "token": "theirs"}


def test_process_that_slept_while_another_host_took_over_stops(tmp_path: Path, quick: None) -> None:
    def work() -> None:
        with run_lock(tmp_path):
            foreign(tmp_path / LOCK_FILE, seconds_old=0.0)
            for _ in range(3000):  # the renewing thread interrupts it
                time.sleep(0.01)

    with pytest.raises(ElmError, match=r"was taken over by process 4711 on the machine 'alpha'"):
        work()
    assert "alpha" in (tmp_path / LOCK_FILE).read_text()


# --- stages ---------------------------------------------------------------------------------------------------------


def test_second_evolve_is_refused_and_the_first_can_be_killed_and_resumed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = [
        "--seeds",
        "square",
        "--batch-size",
        "4",
        "--duration",
        "0.5",
        "--n-jobs",
        "1",
        "--no-progress",
        "--operators",
        "gp",
        "--seed",
        "3",
    ]
    command = [sys.executable, "-m", "elm_rl.cli", "evolve", "--out", str(out), *flags]
    endless = subprocess.Popen([*command, "--iterations", "1000000"], stderr=subprocess.PIPE, env=ENVIRONMENT)
    try:
        while not (out / "checkpoint.json").exists() and endless.poll() is None:
            time.sleep(0.05)
        again = [*command, "--iterations", "2", "--resume"]
        second = subprocess.run(again, capture_output=True, text=True, env=ENVIRONMENT)
        assert endless.poll() is None
        assert second.returncode == 1
        assert second.stderr.startswith(f"elm-rl: '{out}' is in use: process {endless.pid} on this machine")
        assert second.stderr.count("\n") == 1
    finally:
        endless.kill()
        endless.communicate()
    done = (out / "metrics.jsonl").read_bytes().count(b"\n")
    command += ["--iterations", str(done + 2), "--resume"]
    third = subprocess.run(command, capture_output=True, env=ENVIRONMENT)
    assert third.returncode == 0, third.stderr
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == list(range(done + 3))
    assert not (out / LOCK_FILE).exists()


def stages(inputs: Path, out: Path) -> dict[str, Callable[[], Any]]:
    """Every stage with inputs that are good, writing to `out`; the models are as small as they can be."""
    from elm_rl.corpus.corpus import CorpusConfig, run_corpus
    from elm_rl.evolution.map_elites import EvolveConfig
    from elm_rl.evolution.stage import run_evolve
    from elm_rl.inventor.ppo import FinetuneConfig, run_finetune
    from elm_rl.inventor.rank_gradient import RankGradientConfig, run_rank_gradient
    from elm_rl.judging.sample_quality import SampleConfig, run_sample
    from elm_rl.models.pretraining import PretrainConfig, run_pretrain
    from elm_rl.mutation.training import MutationTrainingConfig, run_mutation_training
    from elm_rl.pipeline import PipelineConfig, run_pipeline
    from elm_rl.report import ReportConfig, run_report

    evolution, corpus, model = inputs / "evolution", inputs / "corpus", inputs / "model"
    pretrain = {"corpus": corpus, "size": "0.1M", "vocab_size": 300, "max_steps": 1}
    return {
        "evolve": lambda: run_evolve(EvolveConfig(out=out, seeds=("square",), iterations=1, progress=False)),
        "corpus": lambda: run_corpus(CorpusConfig(evolution=(evolution,), out=out)),
        "pretrain": lambda: run_pretrain(PretrainConfig(**pretrain, out=out)),
        "mutation": lambda: run_mutation_training(MutationTrainingConfig(evolution=(evolution,), out=out, max_steps=1)),
        "rank gradient": lambda: run_rank_gradient(RankGradientConfig(start=model, out=out)),
        "finetune": lambda: run_finetune(FinetuneConfig(start=model, out=out)),
        "sample": lambda: run_sample(
            SampleConfig(model=str(model), count=1, max_new_tokens=4, out=out / "programs.json")
        ),
        "report": lambda: run_report(ReportConfig(run=out)),
        "pipeline": lambda: run_pipeline(PipelineConfig(out=out, preset="smoke", progress=False)),
    }


def test_every_stage_is_refused_before_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from elm_rl.corpus.corpus import CorpusConfig, run_corpus
    from elm_rl.evolution.map_elites import EvolveConfig
    from elm_rl.evolution.stage import run_evolve
    from elm_rl.models.language_model import make_model, save_language_model
    from elm_rl.models.tokenizer import train_tokenizer

    inputs, out = tmp_path / "inputs", tmp_path / "out"
    run_evolve(
        EvolveConfig(
            out=inputs / "evolution",
            seeds=("square", "radial"),
            iterations=2,
            batch_size=16,
            duration=1.0,
            progress=False,
        )
    )
    run_corpus(CorpusConfig(evolution=(inputs / "evolution",), out=inputs / "corpus", threshold_percent=0.0))
    tokenizer = train_tokenizer(["x = 1\n"], 300)
    save_language_model(make_model("0.1M", tokenizer), tokenizer, inputs / "model")
    out.mkdir()
    (out / "summary.json").write_text('{"stage1": {}}')
    for name, run in stages(inputs, out).items():
        with held_by_another(out) as process:
            with pytest.raises(ElmError, match=f"process {process.pid} on this machine"):
                run()
            assert sorted(path.name for path in out.iterdir()) == [LOCK_FILE, "summary.json"], name
    capsys.readouterr()
