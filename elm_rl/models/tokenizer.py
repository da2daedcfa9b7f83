"""Programs as tokens.

The tokenizer is a byte-level BPE whose only fixed boundary is the end of a line, so one token may stand for a whole
line of a program. That makes programs several times shorter than the usual split into words does, and short programs
are what a model of a million parameters can learn to finish without a syntax error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from elm_rl.errors import ConfigError, ElmError

PAD, BOS, EOS, SEP = SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<sep>")
"""The four special tokens, with ids 0 to 3. ``<sep>`` is free for prompts made of several texts."""

DEFAULT_VOCABULARY = 1024
DEFAULT_CONTEXT = 512


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = DEFAULT_VOCABULARY, *, context: int = DEFAULT_CONTEXT
) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer that splits only after newlines.

    All 256 bytes are in the vocabulary, so any text encodes and decodes to itself. Special tokens are never recognised
    inside text: ``<eos>`` in a program is five ordinary characters, and no program can end its own sequence early.

    Args:
        texts: The programs to learn merges from.
        vocab_size: Tokens in all, special tokens and bytes included. A small corpus may yield fewer.
        context: Longest sequence the model will take, recorded as ``model_max_length``.

    Returns:
        A tokenizer that adds no special tokens by itself: ``tokenizer.encode(text)`` is the text and nothing else.

    Raises:
        ConfigError: ``vocab_size`` leaves no room for the bytes and the special tokens.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise ConfigError(
            f"vocab_size must be at least {smallest}, for 256 bytes and {len(SPECIAL_TOKENS)} special tokens; "
            f"got {vocab_size}."
        )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "merged_with_previous"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        sep_token=SEP,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_max_length=context,
    )


def known_tokens_only(tokenizer: PreTrainedTokenizerBase, known: int) -> PreTrainedTokenizerBase:
    """A tokenizer without the added tokens that its model does not know.

    Reading a GGUF file, transformers adds end marks of its own where the file has others; a model cannot read them.

    Args:
        tokenizer: Any; one without such tokens is returned as it is.
        known: How many tokens the model knows.
    """
    if len(tokenizer) <= known or not isinstance(tokenizer, PreTrainedTokenizerFast):
        return tokenizer
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < known]
    left = Tokenizer.from_str(json.dumps(content))
    roles = {
        role: token for role, token in tokenizer.special_tokens_map.items() if left.token_to_id(str(token)) is not None
    }
    return PreTrainedTokenizerFast(tokenizer_object=left, chat_template=tokenizer.chat_template, **roles)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of ``text`` alone, without special tokens, for our own and for downloaded tokenizers."""
    return list(tokenizer.encode(text, add_special_tokens=False))


def start_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id every sequence begins with: ``<bos>``, or the end token for models that have no beginning token."""
    identifier = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if identifier is None:
        raise ElmError(
            "The tokenizer has neither a beginning nor an end token; use a causal language model that has one."
        )
    return int(identifier)


def decode_program(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of a generated sequence: up to the first end token, without special tokens and without terrain ids.

    Args:
        tokenizer: The tokenizer of the model that wrote ``ids``.
        ids: Token ids, with or without the beginning of the sequence.
    """
    words = [int(i) for i in ids if i < len(tokenizer)]
    if words and words[0] in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        words = words[1:]  # some models begin with their end token, which must not end the text at once
    if tokenizer.eos_token_id in words:
        words = words[: words.index(tokenizer.eos_token_id)]
    # Some tokenizers otherwise join what stands apart in a program, such as "x ,".
    return str(tokenizer.decode(words, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def unsampleable_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the special tokens that must not appear in a program: all but the end token."""
    return sorted(set(tokenizer.all_special_ids) - {tokenizer.eos_token_id})
