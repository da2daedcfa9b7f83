"""A real server, `transformers serve` with a model made here, in the loop: it evolves, and the run replays without it."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.evolution.seeds import load_seed
from elm_rl.runs.children_file import read_children

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")),
    reason="transformers serve needs fastapi and uvicorn: pip install 'transformers[serving]'",
)

SQUARE = load_seed("square")
CHILDREN = [SQUARE.replace("3.0, 4.0", f"3.0, {height}") for height in (2.5, 5.5)]
TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|answer|>{% endif %}"
)


def write_model(folder: Path) -> Path:
    """A model with the interface of any other that answers with one of two programs, each one token of its tokenizer.

    No layer does anything: the next token follows from the last one alone.
    """
    alphabet = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(alphabet, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|answer|>"]})
    answers = [f"```python\n{child}```" for child in CHILDREN]
    tokenizer.add_tokens(answers)
    tokenizer.chat_template = TEMPLATE
    size = len(tokenizer)
    config = LlamaConfig(
        vocab_size=size, hidden_size=size + size % 2, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=32_768, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.model.norm.weight.fill_(1.0)
        model.get_input_embeddings().weight.fill_diagonal_(1.0)
        after = model.get_output_embeddings().weight
        written = tokenizer.convert_tokens_to_ids(answers)
        after[written, tokenizer.convert_tokens_to_ids("<|answer|>")] = 10.0
        after[tokenizer.eos_token_id, written] = 10.0
    # This server samples only where the model's own settings say so.
    model.generation_config = GenerationConfig(do_sample=True, eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ready(process: subprocess.Popen[bytes], url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        assert process.poll() is None, "the server ended"
        return False


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    folder = write_model(tmp_path_factory.mktemp("served") / "two_programs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = folder.parent / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "transformers.cli.transformers", *arguments],
            stdout=output, stderr=output, env=os.environ | {"NO_PROXY": "127.0.0.1"},
        )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while not ready(process, f"http://127.0.0.1:{port}/health"):
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.5)
        yield f"{folder}@http://127.0.0.1:{port}/v1", process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("wait", ["yes", "no"])
def test_a_real_server_evolves_walkers_and_the_run_replays_without_it(
    source: tuple[str, subprocess.Popen[bytes]], tmp_path: Path, wait: str
) -> None:
    operators = (f"api:{source[0]},name=served,wait={wait},concurrency=2,price_in=1,price_out=2",)
    settings = {"seeds": ("square",), "operators": operators, "batch_size": 4, "n_jobs": 1, "progress": False}
    summary = run_evolve(EvolveConfig(out=tmp_path / "run", iterations=3, duration=1.0, **settings))
    counts = summary["operators"]["served"]
    assert counts["applied"] == counts["proposed"] > 2
    children = list(read_children(tmp_path / "run"))
    programs = [json.loads(line)["program"] for line in (tmp_path / "run" / "admitted.jsonl").read_text().splitlines()]
    assert set(programs[1:]) & set(CHILDREN)
    ledger = tmp_path / "run" / "requests" / "served.jsonl"
    for child in children:
        file, key = child["prompt"].split("#")
        assert tmp_path / "run" / file == ledger
        replies = [line for line in map(json.loads, ledger.read_text().splitlines()) if line.get("key") == key]
        assert replies[-1]["completion"] == 2
        assert child["cost"] == pytest.approx((replies[-1]["prompt"] + 4) / 1e6)
    # Nothing listens there:
    dead = (operators[0].replace(source[0].rpartition(":")[2], "9/v1"),)
    replayed = EvolveConfig(
        out=tmp_path / "replay", replay=tmp_path / "run", iterations=3, duration=1.0, **{**settings, "operators": dead}
    )
    run_evolve(replayed)
    again = list(read_children(tmp_path / "replay"))
    assert [child | {"time": 0.0} for child in again] == [child | {"time": 0.0} for child in children]
    admitted = [(tmp_path / run / "admitted.jsonl").read_bytes() for run in ("run", "replay")]
    assert admitted[0] == admitted[1]
