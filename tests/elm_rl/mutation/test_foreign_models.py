"""Models of others as mutation operators: what they lack is handled, or said in one sentence before a run begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from elm_rl.errors import ElmError
from elm_rl.evolution.map_elites import EvolveConfig, run_evolution
from elm_rl.evolution.seeds import load_seed
from elm_rl.evolution.stage import run_evolve
from elm_rl.models.language_model import save_language_model
from elm_rl.models.sampling import end_ids, sample_answers
from elm_rl.models.supervised_training import TrainConfig, train_causal_lm
from elm_rl.mutation.examples import encode_prompt
from elm_rl.mutation.language_model import LanguageModelMutation, ModelOptions
from elm_rl.mutation.operator import COMMIT_MESSAGES, CUT, TOO_LONG, parents_of
from sodarace_gym.evaluation import Evaluator

PARENT = "def make_walker():\n    size = 1\n    return size\n"
CHILD = "def make_walker():\n    size = 7\n    return size\n"


def bare_tokenizer(*, lower: bool = False, vocab_size: int = 400, **tokens: str) -> PreTrainedTokenizerFast:
    """An ordinary byte-level tokenizer, with no special tokens but those given."""
    inner = Tokenizer(models.BPE())
    inner.normalizer = normalizers.Lowercase() if lower else None
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=list(tokens.values()),
    )  # fmt: skip
    inner.train_from_iterator([PARENT, CHILD, "Commit message: ", *(text for text, _ in COMMIT_MESSAGES)] * 2, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, **tokens)


def gpt2(tokens: int, context: int = 512) -> GPT2LMHeadModel:
    config = GPT2Config(vocab_size=tokens, n_positions=context, n_embd=32, n_layer=2, n_head=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GPT2LMHeadModel(config)


def saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    save_language_model(model, tokenizer, folder)
    return folder


def test_a_model_without_cache_and_a_tokenizer_without_end_token_write_children(tmp_path: Path) -> None:
    tokenizer = bare_tokenizer()
    assert tokenizer.eos_token_id is None
    config = OpenAIGPTConfig(
        vocab_size=len(tokenizer), n_positions=512, n_embd=48, n_layer=2, n_head=2, resid_pdrop=0.0
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OpenAIGPTLMHeadModel(config)
    answer = tokenizer.encode(f"{CHILD}```\nThat was it.\n")
    prompts = [encode_prompt(tokenizer, PARENT, message, "whole", "plain") for message, _ in COMMIT_MESSAGES]
    examples = [(prompt, answer) for prompt in prompts]
    training = TrainConfig(batch_size=3, max_steps=120, learning_rate=1e-2)
    train_causal_lm(model, tokenizer, examples, tmp_path, training)
    operator = LanguageModelMutation(
        tmp_path, ModelOptions(prompt="commit", temperature=0.0, max_new_tokens=len(answer) + 10)
    )
    children = operator.mutate(parents_of([PARENT] * 3), np.random.default_rng(0))
    assert [(child.program, child.applied) for child in children] == [(CHILD, True)] * 3
    short = LanguageModelMutation(tmp_path, ModelOptions(prompt="commit", temperature=0.0, max_new_tokens=4)).mutate(
        parents_of([PARENT]), np.random.default_rng(0)
    )
    assert (short[0].program, short[0].applied, short[0].failure) == (None, False, CUT)


def test_without_a_cache_the_same_is_sampled() -> None:
    class Forgetful(LlamaForCausalLM):
        def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any) -> Any:
            return super().forward(
                input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
            )

    tokenizer = bare_tokenizer(eos_token="<end>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.lm_head.weight.data[tokenizer.eos_token_id] *= 4  # so that some rows end early
    forgetful = Forgetful(config)
    forgetful.load_state_dict(model.state_dict())
    prompts = [[5, 6, 7], [8], [9, 10, 11, 12, 13]] * 4
    answers = sample_answers(model, tokenizer, prompts, max_new_tokens=50, seed=3)
    assert sample_answers(forgetful, tokenizer, prompts, max_new_tokens=50, seed=3) == answers
    assert {answer.ended for answer in answers} == {True, False}
    assert all(answer.ended == (len(answer.ids) < 50) for answer in answers)


def test_end_marks_that_only_the_model_names_end_an_answer_and_foreign_ids_do_not() -> None:
    tokenizer = bare_tokenizer(eos_token="<end>", unk_token="<turn>")
    model = gpt2(len(tokenizer))
    model.generation_config.eos_token_id = [tokenizer.unk_token_id, 300]
    assert end_ids(model, tokenizer) == {tokenizer.eos_token_id, tokenizer.unk_token_id}
    assert end_ids(gpt2(400), bare_tokenizer()) == set()


def test_what_every_text_begins_with_begins_the_prompt() -> None:
    tokenizer = bare_tokenizer(bos_token="<s>", eos_token="</s>")
    plain = encode_prompt(tokenizer, PARENT, "m", "whole", "plain")
    ids = [("<s>", tokenizer.bos_token_id), ("</s>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ids)
    assert encode_prompt(tokenizer, PARENT, "m", "whole", "plain") == [tokenizer.bos_token_id, *plain]


def test_the_limit_of_an_answer_follows_its_own_parent_in_the_models_tokens(tmp_path: Path) -> None:
    """A byte a token: a child of the seed takes some 500, one of a small parent little."""
    tokenizer = bare_tokenizer(vocab_size=257, eos_token="<end>")
    operator = LanguageModelMutation(saved(gpt2(len(tokenizer), 4096), tokenizer, tmp_path))
    seen: list[list[int]] = []

    def sample(*_: Any, max_new_tokens: list[int], **__: Any) -> list[Any]:
        seen.append(max_new_tokens)
        raise InterruptedError

    programs = [PARENT, load_seed("square")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elm_rl.mutation.language_model.sample_answers", sample)
        with pytest.raises(InterruptedError):
            operator.mutate(parents_of(programs), np.random.default_rng(0))
    for limit, program in zip(seen[0], programs, strict=True):
        assert 1.5 * len(program) < limit < 2 * len(program) + 100


def test_what_cannot_work_is_one_sentence_before_anything_is_written(tmp_path: Path) -> None:
    good = bare_tokenizer(eos_token="<end>")
    lower = saved(gpt2(400), bare_tokenizer(lower=True, eos_token="<end>"), tmp_path / "lower")
    small = saved(gpt2(len(good) - 5), good, tmp_path / "small")
    short = saved(gpt2(len(good), context=64), good, tmp_path / "short")
    bare = tmp_path / "bare"
    llama = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(llama).save_pretrained(bare)
    gpt = tmp_path / "gpt"
    gpt2(300).save_pretrained(gpt)
    for folder, words in {
        bare: "tokenizer",
        gpt: "tokenizer",
        lower: "keeps case, spaces and line ends",
        small: f"has {len(good)} tokens and its model knows {len(good) - 5}",
        short: "reads 64 tokens, and the shortest of the programs to begin with takes [0-9]+ with its question",
    }.items():
        out = tmp_path / "run"
        with pytest.raises(ElmError, match=words) as caught:
            run_evolve(EvolveConfig(out=out, seeds=("square",), operators=("gp", f"model:{folder}"), progress=False))
        assert "\n" not in str(caught.value)
        assert not out.exists()


def test_a_run_counts_what_was_cut_and_what_could_not_be_read(tmp_path: Path) -> None:
    tokenizer = bare_tokenizer(eos_token="<end>")
    model = saved(gpt2(len(tokenizer), 2048), tokenizer, tmp_path / "model")
    operator = LanguageModelMutation(model, ModelOptions(prompt="commit", max_new_tokens=3))
    (child,) = operator.mutate(parents_of(["x = 1\n" * 900]), np.random.default_rng(0))
    assert (child.applied, child.failure) == (False, TOO_LONG)
    with pytest.raises(ElmError, match="reads 2048 tokens"):
        operator.check_parents(["x = 1\n" * 900])
    operator.check_parents(["x = 1\n" * 900, PARENT])
    config = EvolveConfig(
        out=tmp_path / "run", seeds=("square",), operators=(f"model:{model}",), iterations=1, batch_size=3, duration=0.5,
        progress=False,
    )  # fmt: skip
    with Evaluator(n_jobs=1, duration=0.5) as evaluator:
        summary = run_evolution(config, [operator], evaluator).summary
    counts = summary["operators"]["language_model"]
    assert (counts["proposed"], counts["applied"]) == (3, 0)
    assert summary["errors"] == {"cut": 3}
