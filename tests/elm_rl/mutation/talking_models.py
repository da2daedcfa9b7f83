"""Tiny models that answer what a test has them answer, with tokenizers in which a line of that is one token."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from elm_rl.models.language_model import save_language_model

BEGIN, END_OF_TURN, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}" + BEGIN + "{{ m['role'] }}\n{{ m['content'] }}" + END_OF_TURN + "\n{% endfor %}"
    "{% if add_generation_prompt %}" + BEGIN + "assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n{% endif %}{% endif %}"
)
GENERATION_PROMPT = "</think>\n"


def line_tokenizer(
    text: str, template: str | None = CHAT_TEMPLATE, others: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A tokenizer in which each line of a text is one token, and others are short; its end token is not that of a turn."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "merged_with_previous"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=[BEGIN, END_OF_TURN, END_OF_TEXT],
    )  # fmt: skip
    inner.train_from_iterator([*[text, GENERATION_PROMPT] * 20, *others], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token=END_OF_TEXT, additional_special_tokens=[BEGIN, END_OF_TURN]
    )
    tokenizer.chat_template = template
    return tokenizer


def small_llama(tokens: int, context: int, hidden: int = 32) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=tokens, hidden_size=hidden, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=context,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config)


def babbler(tokenizer: PreTrainedTokenizerFast, folder: Path, context: int = 8192) -> Path:
    """Saves a model that says anything."""
    save_language_model(small_llama(len(tokenizer), context), tokenizer, folder)
    return folder


def parrot(tokenizer: PreTrainedTokenizerFast, spoken: Sequence[str], folder: Path, context: int = 8192) -> Path:
    """Saves a model that goes on with some texts as they go on: each token of them has one that follows it.

    Its attention and its feed-forward block say nothing; a token is a direction, and that is the row of its successor.
    """
    chains = [tokenizer.encode(text, add_special_tokens=False) for text in spoken]
    follows = {token: after for chain in chains for token, after in pairwise(chain)}
    assert all(follows[token] == after for chain in chains for token, after in pairwise(chain))
    model = small_llama(len(tokenizer), context, hidden=64)
    with torch.no_grad():
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for direction, (token, after) in enumerate(follows.items()):
            model.model.embed_tokens.weight[token, direction] = 1.0
            model.lm_head.weight[after, direction] = 1.0
    save_language_model(model, tokenizer, folder)
    return folder
