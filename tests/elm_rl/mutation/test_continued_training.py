"""A pretrained model learns mutation and says afterwards how it is to be asked: all weights or adapters, plain or chat."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from elm_rl.cli import main
from elm_rl.errors import ConfigError, ElmError
from elm_rl.models import training_progress
from elm_rl.models.language_model import load_language_model, save_language_model
from elm_rl.mutation.examples import MutationExample, encode_example, encode_prompt, format_example
from elm_rl.mutation.language_model import LanguageModelMutation, ModelOptions
from elm_rl.mutation.operator import COMMIT_MESSAGES, parents_of
from elm_rl.mutation.trained_format import MUTATION_FILE, TrainedFormat, read_mutation_format
from elm_rl.mutation.training import (
    MutationModelConfig,
    MutationTrainingConfig,
    run_mutation_training,
    train_mutation_model,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from gguf_files import small_llama, small_tokenizer, write_gguf

PARENT = "def make_walker():\n    size = 1\n    return size\n"
CHILD = "def make_walker():\n    size = 7\n    return size\n"
TRIPLES = [
    MutationExample(PARENT, message, CHILD, f"0/square/{number}") for number, (message, _) in enumerate(COMMIT_MESSAGES)
]
QUICK: dict[str, Any] = {"batch_size": 3, "held_out": 0.0, "learning_rate": 1e-2, "checkpoint_seconds": None}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


@pytest.fixture(scope="module")
def start(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start")
    save_language_model(small_llama(tokenizer), tokenizer, folder)
    return str(folder)


@pytest.fixture
def loud_start(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> str:
    """Adapters leave the embeddings alone, and with those of an untrained model no token can become likely."""
    model = small_llama(tokenizer)
    with torch.no_grad():
        model.model.embed_tokens.weight *= 14
    save_language_model(model, tokenizer, tmp_path / "start")
    return str(tmp_path / "start")


@pytest.mark.parametrize(
    ("layout", "format", "settings"),
    [
        ("plain", "whole", {"max_steps": 80}),
        ("chat", "search_replace", {"max_steps": 80, "learn_parents": True}),
        ("chat", "whole", {"max_steps": 160, "lora_rank": 16}),
    ],
)
def test_what_was_learnt_by_heart_comes_back(
    start: str, loud_start: str, tmp_path: Path, layout: str, format: str, settings: dict[str, Any]
) -> None:
    """Only if training and asking agree on format and layout, which the folder has to say, can it."""
    begin = loud_start if "lora_rank" in settings else start
    config = MutationModelConfig(**{**QUICK, "start": begin, "layout": layout, "format": format, **settings})
    train_mutation_model(TRIPLES, tmp_path, config)
    assert read_mutation_format(tmp_path) == TrainedFormat(format, layout)
    operator = LanguageModelMutation(tmp_path, ModelOptions(temperature=0.0, dtype="float32"))
    assert operator.format == format
    children = operator.mutate(parents_of([PARENT] * 4), np.random.default_rng(0))
    assert [child.program for child in children] == [CHILD] * 4


def test_an_adapter_is_merged_and_can_be_kept(start: str, tmp_path: Path) -> None:
    """The saved model needs no peft, and is what start and adapter are together."""
    from peft import PeftModel

    lora = MutationModelConfig(**QUICK, start=start, lora_rank=2, keep_adapter=True, max_steps=5)
    small = train_mutation_model(TRIPLES, tmp_path / "lora", lora)
    full = train_mutation_model(TRIPLES, tmp_path / "full", MutationModelConfig(**QUICK, start=start, max_steps=1))
    assert small.parameters < 0.3 * full.parameters
    before, after = (load_file(folder / "model.safetensors") for folder in (Path(start), tmp_path / "lora"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "proj" in name}
    ids = torch.tensor([[5, 6, 7]])
    adapted = PeftModel.from_pretrained(load_language_model(start)[0], str(tmp_path / "lora" / "adapter"))
    with torch.no_grad():
        assert torch.allclose(adapted(ids).logits, load_language_model(tmp_path / "lora")[0](ids).logits, atol=1e-5)


def test_a_training_of_adapters_goes_on_after_a_kill(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = MutationModelConfig(
        **{**QUICK, "batch_size": 1}, start=start, lora_rank=2, max_steps=7, checkpoint_steps=2, precision="bfloat16"
    )
    train_mutation_model(TRIPLES, tmp_path / "whole", config)
    step = training_progress.Recorder.on_step_end

    def stop(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step == 6:
            raise KeyboardInterrupt
        step(self, args, state, control, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(training_progress.Recorder, "on_step_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train_mutation_model(TRIPLES, tmp_path / "parts", config)
    assert [path.name for path in (tmp_path / "parts" / "checkpoints").iterdir()] == ["checkpoint-4"]
    train_mutation_model(TRIPLES, tmp_path / "parts", config)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_gguf_file_is_a_start_and_the_stage_has_a_command(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result is an ordinary model folder, in the type that was asked for."""
    gguf = write_gguf(small_llama(tokenizer), tokenizer, tmp_path / "small.gguf", quantized=True)
    run = tmp_path / "run"
    run.mkdir()
    record = {"id": 0, "archive": "square", "program": PARENT, "parent": None, "message": "", "root": 0, "iteration": 0}
    child = {**record, "id": 1, "program": CHILD, "parent": 0, "message": COMMIT_MESSAGES[0][0]}
    (run / "admitted.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (record, child)))
    with pytest.raises(SystemExit) as stop:
        main(
            ["mutation-model", "--evolution", str(run), "--out", str(tmp_path / "out"), "--start", str(gguf), "--max-steps",
             "2", "--save-dtype", "bfloat16", "--held-out", "0", "--batch-size", "1", "--gradient-accumulation", "2"]
        )  # fmt: skip
    assert stop.value.code == 0, capsys.readouterr().err
    assert capsys.readouterr().out == f"Done: {tmp_path / 'out'}\n"
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}
    model, again = load_language_model(tmp_path / "out")
    assert model.num_parameters() == small_llama(tokenizer).num_parameters()
    assert encode_prompt(again, PARENT, "m", "whole", "plain") == encode_prompt(
        tokenizer, PARENT, "m", "whole", "plain"
    )


def test_the_loss_is_on_the_answer_unless_set(
    start: str, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("elm_rl.mutation.training.train_causal_lm", lambda *given, **_: seen.append(given[2]))
    for learn in (None, False, True):
        train_mutation_model(TRIPLES, tmp_path, MutationModelConfig(**QUICK, start=start, learn_parents=learn))
    answer = [encode_example(tokenizer, triple, "whole", "plain") for triple in TRIPLES]
    assert seen[0] == seen[1] == answer
    assert seen[2] == [(prompt[:1], [*prompt[1:], *completion]) for prompt, completion in answer]


@pytest.mark.parametrize("layout", ["plain", "chat"])
def test_an_example_is_what_is_asked_then_the_answer_then_the_end(
    tokenizer: PreTrainedTokenizerFast, layout: str
) -> None:
    for format in ("whole", "search_replace", "unified_diff"):
        prompt, completion = encode_example(tokenizer, TRIPLES[0], format, layout)
        assert prompt == encode_prompt(tokenizer, PARENT, TRIPLES[0].message, format, layout)
        assert completion[-1] == tokenizer.eos_token_id
        shown, answer = format_example(PARENT, TRIPLES[0].message, CHILD, format, layout)
        assert tokenizer.decode(completion[:-1]) == answer
        if layout == "plain":
            assert tokenizer.decode(prompt) == shown
        else:
            question, _, fence = shown.rstrip("\n").rpartition("\n")
            begin, end = tokenizer.bos_token, tokenizer.eos_token
            wanted = f"{begin}user\n{question}{end}\n{begin}assistant\n{fence}\n"
            assert tokenizer.decode(prompt, skip_special_tokens=False) == wanted


def test_examples_beyond_the_context_that_was_set_are_left_out(
    start: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    long = dataclasses.replace(TRIPLES[0], child=CHILD * 2)
    context = max(sum(map(len, encode_example(tokenizer, triple, "whole", "plain"))) for triple in TRIPLES)
    config = MutationModelConfig(**QUICK, start=start, context=context, max_steps=1)
    result = train_mutation_model([*TRIPLES, long], tmp_path, config)
    assert (result.examples, result.too_long) == (3, 1)


def test_every_wrong_start_is_one_sentence_and_nothing_is_written(
    start: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    mute = tmp_path / "mute"
    silent = small_tokenizer()
    save_language_model(small_llama(silent), silent, mute)
    for settings, words in (
        ({"start": str(tmp_path / "nowhere")}, "no model folder"),
        ({"start": start, "layout": "tokens"}, "lacks its marks; use the layout plain"),
        ({"start": str(mute), "layout": "chat"}, "no chat template; use the layout plain"),
        ({"start": start, "context": 20}, "exceed the context of 20 tokens"),
    ):
        with pytest.raises(ElmError, match=words):
            train_mutation_model(TRIPLES, tmp_path / "out", MutationModelConfig(**{**QUICK, **settings}))
    assert {path.name for path in tmp_path.iterdir()} - {"out"} == {"mute"}
    with pytest.raises(ElmError, match="holds no admitted"):
        run_mutation_training(MutationTrainingConfig(evolution=(tmp_path,), out=tmp_path / "out", start=start))
    (mute / MUTATION_FILE).write_text('{"format": "whole", "layout": "verse"}')
    with pytest.raises(ElmError, match="names no known layout"):
        LanguageModelMutation(mute)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"start": "x", "size": "5M"}, "size and vocab_size"),
        ({"lora_rank": 4}, "need a pretrained model"),
        ({"layout": "chat"}, "need a pretrained model"),
        ({"layout": "verse", "start": "x"}, "tokens, plain, chat"),
        ({"start": "x", "lora_alpha": 3.0}, "set lora_rank too"),
        ({"start": "x", "keep_adapter": True}, "set lora_rank too"),
        ({"start": "x", "lora_rank": 0}, "lora_rank must be at least 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MutationModelConfig(**wrong)


def test_defaults_follow_from_the_start() -> None:
    def chosen(**settings: Any) -> tuple[Any, ...]:
        config = MutationModelConfig(**settings).complete()
        assert config.complete() == config
        names = ("learning_rate", "max_epochs", "max_seconds", "learn_parents", "layout", "context", "precision")
        return tuple(getattr(config, name) for name in names)

    assert chosen() == (3e-3, 30.0, 75.0, True, "tokens", 512, "float32")
    assert chosen(start="x") == (3e-4, 3.0, None, False, "plain", None, "auto")
    assert chosen(start="x", lora_rank=4) == (1e-3, 3.0, None, False, "plain", None, "auto")
    assert chosen(start="x", learning_rate=1e-5, max_seconds=9.0)[:3] == (1e-5, 3.0, 9.0)
