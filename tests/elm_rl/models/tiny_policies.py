"""Policies in tiny decoders of several architectures, with what they are made of."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from elm_rl.models.conditioning import (
    TerrainPolicy,
    condition,
)
from elm_rl.models.tokenizer import train_tokenizer, unsampleable_ids
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain

TOKENIZER = train_tokenizer(["a = 1\nb = 2\n"], 270, context=64)
VOCABULARY = len(TOKENIZER)
PAD, BOS, EOS, SEP = 0, 1, 2, 3
HILLS = make_terrain("Hills", 5, 0.5)

_ALL = {
    "vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS,
    # Large weights: with the usual 0.02 an untrained model of this size writes the same token whatever it is asked.
    "initializer_range": 0.5,
}  # fmt: skip
_WIDE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_FEW = {"num_key_value_heads": 1, "max_position_embeddings": 64}
DECODERS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**_ALL, **_WIDE, max_position_embeddings=64, tie_word_embeddings=False),
    "llama, tied": LlamaConfig(**_ALL, **_WIDE, max_position_embeddings=64, tie_word_embeddings=True),
    "gpt2": GPT2Config(**_ALL, n_embd=16, n_layer=2, n_head=2, n_positions=64),
    "qwen2": Qwen2Config(**_ALL, **_WIDE, **_FEW),
    "gemma2": Gemma2Config(**_ALL, **_WIDE, **_FEW, head_dim=8),
    "gpt_neox": GPTNeoXConfig(**_ALL, **_WIDE, max_position_embeddings=64),
}


def language_model(decoder: str = "llama, tied", seed: int = 0) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(copy.deepcopy(DECODERS[decoder])).eval()


def policy_of(model: PreTrainedModel, encoder: str = "codes", prefix_length: int = 3, seed: int = 0) -> TerrainPolicy:
    return condition(
        model, encoder=encoder, prefix_length=prefix_length, unsampleable=unsampleable_ids(TOKENIZER), seed=seed
    )


def logits(model: torch.nn.Module, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits[0]


WORDS = train_tokenizer([" ".join(map(str, range(-32, 33)))] * 20, 400, context=512)


def roomy_model(decoder: str = "llama, tied") -> PreTrainedModel:
    config = copy.deepcopy(DECODERS[decoder])
    config.vocab_size = len(WORDS)
    config.max_position_embeddings = 1024
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


def told_policy(decoder: str = "llama, tied") -> TerrainPolicy:
    model = roomy_model(decoder)
    return condition(model, encoder="text", unsampleable=unsampleable_ids(WORDS), tokenizer=WORDS)


def wall_at(left: bool, at: float) -> Terrain:
    wall = Terrain("wall", np.array([[-50.0, 0.0], [at, 0.0], [at, 40.0], [900.0, 40.0]]))
    return wall.mirrored() if left else wall
