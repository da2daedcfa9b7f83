"""A training run goes on after a kill to the same end, and its options do what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from elm_rl.models.language_model import make_model
from elm_rl.models.supervised_training import Example, TrainConfig, TrainResult, train_causal_lm
from elm_rl.models.tokenizer import encode_text, train_tokenizer


def program(joints: int, amplitude: float) -> str:
    lines = ["def make_walker():", "    wc = walker_creator()", "    hub = wc.add_joint(5, 5)"]
    for k in range(joints):
        lines.append(f"    wc.add_muscle(wc.add_joint({k}, {k % 3}), hub, False, {amplitude}, {k / 4})")
    return "\n".join([*lines, "    return wc.get_walker()"]) + "\n"


PROGRAMS = [program(joints, amplitude / 4) for joints in range(2, 10) for amplitude in range(8)]
TOKENIZER = train_tokenizer(PROGRAMS, 400, context=64)
EXAMPLES: list[Example] = [([1], [*encode_text(TOKENIZER, text), 2]) for text in PROGRAMS]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(folder: Path, examples: list[Example] = EXAMPLES, **settings: Any) -> TrainResult:
    held_out, dropout = settings.pop("held_out", EXAMPLES[:8]), settings.pop("dropout", 0.0)
    config = TrainConfig(**{"batch_size": 16, "learning_rate": 1e-2, "max_steps": 12, "seed": 3, **settings})
    model = make_model("0.1M", TOKENIZER, context=64)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = dropout
    return train_causal_lm(model, TOKENIZER, examples[8:], folder, config, held_out=held_out)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of the metrics file without what the clock decides, and without the last one, of this process alone."""
    timed = ("seconds", "runtime", "per_second", "total_flos")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if not any(word in key for word in timed)} for line in lines[:-1]]


def test_the_loss_of_a_run_is_what_it_was_before_checkpoints_and_options(tmp_path: Path) -> None:
    """Recorded with the first version of the trainer, which had neither."""
    train(tmp_path)
    losses = [line["loss"] for line in metrics(tmp_path) if "loss" in line]
    held_out = [line["eval_loss"] for line in metrics(tmp_path) if "eval_loss" in line]
    assert losses[:6] == pytest.approx([5.998501, 5.619843, 5.212073, 4.856875, 4.474536, 4.330823], rel=1e-3)
    assert losses[6:] == pytest.approx([4.136000, 4.063142, 3.926549, 3.847355, 3.812102, 3.755248], rel=1e-3)
    assert held_out[0::3] == pytest.approx([5.135198, 4.124891, 3.677004, 3.617244], rel=1e-3)


# One process trains in parts, each in a fork of its own, because importing torch takes longer than all of them together.
KILLED_TRAINING = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
import test_supervised_training as test
from elm_rl.models import training_progress
from elm_rl.runs import run_directory

def train(stop):
    count, kind = 0, stop and stop[0]
    def killing(function):
        def wrapped(*arguments, **named):
            nonlocal count
            count += 1
            if count == stop[1]:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)
        return wrapped
    if kind == "step":
        training_progress.Recorder.on_step_end = killing(training_progress.Recorder.on_step_end)
    if kind == "file of a checkpoint":
        torch.save = killing(torch.save)
    if kind == "last file of a checkpoint":
        run_directory.os.replace = killing(os.replace)
    test.train(Path(sys.argv[1]), checkpoint_steps=3, dropout=0.1)

for stop in [("step", 5), ("file of a checkpoint", 6), ("last file of a checkpoint", 1), None]:
    if (child := os.fork()) == 0:
        train(stop)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) == (stop is not None), (stop, status)
    print(stop, sorted(path.name for path in Path(sys.argv[1], "checkpoints").glob("checkpoint-*")), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_killed_run_ends_as_an_unkilled_one(tmp_path: Path) -> None:
    """Weights, figures and metrics; killed between two checkpoints, in the second epoch, and twice within a checkpoint."""
    train(tmp_path / "whole", dropout=0.1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", KILLED_TRAINING, str(tmp_path / "parts"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")
    figures = [json.loads((tmp_path / name / "training.json").read_text())["figures"] for name in ("whole", "parts")]
    assert figures[0] | {"seconds": 0} == figures[1] | {"seconds": 0}
    assert not (tmp_path / "parts" / "checkpoints").exists()
