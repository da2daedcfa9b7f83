"""A training run goes on after a kill to the same end, and its options do what they say."""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models import supervised_training, training_progress
from elm_rl.models.language_model import make_model
from elm_rl.models.supervised_training import Example, TrainConfig, TrainResult, load_finished, train_causal_lm
from elm_rl.models.tokenizer import encode_text, train_tokenizer


def program(joints: int, amplitude: float) -> str:
    lines = ["def make_walker():", "    wc = walker_creator()", "    hub = wc.add_joint(5, 5)"]
    for k in range(joints):
        lines.append(f"    wc.add_muscle(wc.add_joint({k}, {k % 3}), hub, False, {amplitude}, {k / 4})")
    return "\n".join([*lines, "    return wc.get_walker()"]) + "\n"


PROGRAMS = [program(joints, amplitude / 4) for joints in range(2, 10) for amplitude in range(8)]
TOKENIZER = train_tokenizer(PROGRAMS, 400, context=64)
EXAMPLES: list[Example] = [([1], [*encode_text(TOKENIZER, text), 2]) for text in PROGRAMS]

TWICE_32 = [*EXAMPLES[:8], *EXAMPLES]  # 64 to learn from, for batches that are all full


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


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that were saved, with the output's under its own name too."""
    found = load_file(folder / "model.safetensors")
    return found | {"lm_head.weight": found["model.embed_tokens.weight"]}


def run_python(code: str, *arguments: object) -> str:
    """Runs a script that is given the first argument, the folder of this file, and the other arguments."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    first, *others = (str(argument) for argument in arguments)
    command = [sys.executable, "-c", code, first, str(Path(__file__).parent), *others]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
import json, os, signal, sys
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
    test.train(Path(sys.argv[1]), checkpoint_steps=int(sys.argv[3]), dropout=0.1)

for stop in [*json.loads(sys.argv[4]), None]:
    if (child := os.fork()) == 0:
        train(stop)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) == (stop is not None), (stop, status)
    print(stop, sorted(path.name for path in Path(sys.argv[1], "checkpoints").glob("checkpoint-*")), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("checkpoint_steps", "stops"),
    [
        # Between two checkpoints, in the second epoch, and twice within a checkpoint.
        (3, [("step", 5), ("file of a checkpoint", 6), ("last file of a checkpoint", 1)]),
        # After a checkpoint at the end of the first epoch (4 steps), and again in the second one.
        (2, [("step", 5), ("step", 3)]),
    ],
)
def test_a_killed_run_ends_as_an_unkilled_one(
    tmp_path: Path, checkpoint_steps: int, stops: list[tuple[str, int]]
) -> None:
    """Weights, figures and metrics."""
    train(tmp_path / "whole", dropout=0.1)
    run_python(KILLED_TRAINING, tmp_path / "parts", checkpoint_steps, json.dumps(stops))
    whole, parts = (weights(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")
    figures = [json.loads((tmp_path / name / "training.json").read_text())["figures"] for name in ("whole", "parts")]
    assert figures[0] | {"seconds": 0} == figures[1] | {"seconds": 0}
    assert not (tmp_path / "parts" / "checkpoints").exists()


# Each writes its figures to a file: what the libraries print to the same pipe can come between.
TWO_PROCESSES = """
import json, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
import test_supervised_training as test

children = []
for rank in range(2):
    if (child := os.fork()) == 0:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[3]}
        os.environ |= {name: str(value) for name, value in place.items()}
        result = test.train(Path(sys.argv[1]), test.TWICE_32, batch_size=8, checkpoint_steps=5, max_epochs=3, max_steps=None)
        figures = json.dumps([result.steps, result.tokens, result.held_out_loss])
        Path(f"{sys.argv[1]}-{rank}.json").write_text(figures)
        torch.distributed.destroy_process_group()
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """As one process does with twice the batch; only the first of them writes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_python(TWO_PROCESSES, tmp_path / "two", str(port))
    one = train(tmp_path / "one", TWICE_32, max_steps=None, max_epochs=3)
    two = [json.loads((tmp_path / f"two-{rank}.json").read_text()) for rank in range(2)]
    assert [figures[:2] for figures in two] == [[one.steps, one.tokens]] * 2
    assert [figures[2] for figures in two] == pytest.approx([one.held_out_loss or 0] * 2, rel=1e-2)
    assert [line["step"] for line in metrics(tmp_path / "two")] == [line["step"] for line in metrics(tmp_path / "one")]
    assert load_finished(tmp_path / "two", json.loads((tmp_path / "two" / "training.json").read_text())["settings"])


def test_a_half_finished_run_is_not_continued_with_other_settings_or_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(supervised_training, "save_language_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, checkpoint_steps=5)
    for wrong, words in (
        ({"learning_rate": 2e-2}, r"half-finished training with learning_rate = 0\.01, not 0\.02"),
        ({"examples": EXAMPLES[:-1]}, "half-finished training with examples"),
    ):
        with pytest.raises(ElmError, match=words):
            train(tmp_path, **wrong)
    assert (
        train(tmp_path, checkpoint_seconds=None).steps == 12
    )  # how often checkpoints are made has no part in the result
    settings = json.loads((tmp_path / "training.json").read_text())["settings"]
    assert load_finished(tmp_path, settings | {"checkpoint_steps": 1}) is not None


def test_time_that_was_spent_before_a_kill_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a budget of 20 s, 1 s a step, 12 are spent when the run is killed, of which the last checkpoint knows 10."""

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock, seen = Clock(), training_progress.Recorder.on_step_end
    stop_at = 12

    def step(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        clock.now += 1.0
        if state.global_step == stop_at:
            raise KeyboardInterrupt
        seen(self, args, state, control, **rest)

    monkeypatch.setattr(training_progress, "time", clock)
    monkeypatch.setattr(training_progress.Recorder, "on_step_end", step)
    settings: dict[str, Any] = {"max_steps": None, "max_epochs": 100, "max_seconds": 20, "checkpoint_seconds": 5}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, **settings)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-11"]
    stop_at, clock.now = 0, 1000.0
    result = train(tmp_path, **settings)
    assert (result.steps, result.seconds) == (21, pytest.approx(21.0))


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, files = torch.save, 0

    def full(*arguments: Any, **named: Any) -> None:
        nonlocal files
        files += 1
        if files > 8:
            raise RuntimeError(
                "[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"
            )  # torch's words for it
        save(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(ElmError, match="checkpoints' could not be written; is the disk"):
            train(tmp_path, checkpoint_steps=3)
    assert train(tmp_path, checkpoint_steps=3).steps == 12
    train(tmp_path / "whole")
    assert torch.equal(weights(tmp_path)["lm_head.weight"], weights(tmp_path / "whole")["lm_head.weight"])


def test_batches_add_up_to_one_step(tmp_path: Path) -> None:
    """Four batches of 4 give the gradient of one of 16, also where their tokens differ in number."""
    kept: dict[str, TrainResult] = {}
    for name, size, times in (("large", 16, 1), ("small", 4, 4)):
        kept[name] = train(tmp_path / name, batch_size=size, gradient_accumulation=times, max_steps=None, max_epochs=2)
    assert kept["small"].steps == kept["large"].steps == 8
    assert kept["small"].tokens == kept["large"].tokens
    assert kept["small"].train_loss == pytest.approx(kept["large"].train_loss, rel=1e-4)
    assert kept["small"].held_out_loss == pytest.approx(kept["large"].held_out_loss, rel=1e-4)


def test_a_batch_holds_several_completions_where_the_prompt_decides_between_them(tmp_path: Path) -> None:
    two: list[Example] = [([1, 5 + kind], [20 + kind] * (4 + 40 * kind)) for kind in range(2) for _ in range(64)]
    met: dict[bool, list[int]] = {True: [], False: []}
    for by_length, seen in met.items():
        model = make_model("0.1M", TOKENIZER, context=64)
        model.register_forward_pre_hook(
            lambda _, __, inputs, seen=seen: seen.append(len(inputs["input_ids"][:, 1].unique())), with_kwargs=True
        )
        config = TrainConfig(batch_size=16, max_steps=8)
        train_causal_lm(model, TOKENIZER, two, tmp_path / str(by_length), config, by_length=by_length)
    assert set(met[False]) == {2}
    assert 1 in met[True]


def test_weights_are_kept_in_float32_and_saved_as_asked(tmp_path: Path) -> None:
    """Learning in bfloat16 still moves weights by less than bfloat16 could tell, and leaves a model as it was."""
    train(tmp_path / "exact", precision="float32")
    train(tmp_path / "fast", precision="bfloat16")
    train(tmp_path / "small", save_dtype="bfloat16")
    exact, fast, small = (weights(tmp_path / name) for name in ("exact", "fast", "small"))
    for name in exact:
        assert (exact[name].dtype, fast[name].dtype, small[name].dtype) == (
            torch.float32,
            torch.float32,
            torch.bfloat16,
        )
        assert not torch.equal(exact[name], fast[name])
        assert torch.equal(exact[name].bfloat16(), small[name])
        assert not torch.equal(fast[name], fast[name].bfloat16().float())
    assert (tmp_path / "small" / "model.safetensors").stat().st_size < 0.6 * (
        tmp_path / "exact" / "model.safetensors"
    ).stat().st_size
    model = make_model("0.1M", TOKENIZER, context=64)
    train_causal_lm(
        model, TOKENIZER, EXAMPLES, tmp_path / "again", TrainConfig(max_steps=1, precision="bfloat16", batch_size=4)
    )
    assert "forward" not in vars(model)
    assert model(torch.tensor([[1, 5]])).logits.dtype == torch.float32
    assert torch.equal(model(torch.tensor([[1, 5]])).logits, copy.deepcopy(model)(torch.tensor([[1, 5]])).logits)


@pytest.mark.parametrize(
    "wrong",
    [{"precision": "half"}, {"save_dtype": "int8"}, {"gradient_accumulation": 0}, {"checkpoint_steps": 0},
     {"checkpoint_seconds": -1.0}],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainConfig(**wrong)
