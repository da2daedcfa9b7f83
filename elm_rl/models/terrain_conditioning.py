"""Telling a language model which terrain to write for: terrains as a virtual vocabulary in front of the program.

With a vocabulary of ``V`` tokens and ``P`` slots a terrain, the id ``V + terrain * P + slot`` selects one of the ``P``
prefix embeddings of a terrain. A sequence is the ``P`` ids of its terrain, then ``<bos> program <eos>``. The input
embedding sends ids below ``V`` to the ordinary table and ids from ``V`` on to a terrain encoder; the output head covers
``V`` tokens only, so that no sampler, however configured, can write a terrain. Because a terrain is nothing but ids,
every trainer, data loader and ``generate`` works without knowing about it.

The paper's discrete codes are a learned table (`DiscreteCodes`). A network over terrain profiles is another
`TerrainEncoder`: add it to `TERRAIN_ENCODERS` and name it in the configuration.

Importing this module registers the classes with ``transformers``; then ``AutoModelForCausalLM.from_pretrained(folder)``
loads a conditioned policy like any other model.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    LlamaPreTrainedModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from elm_rl.errors import ConfigError, ElmError

DEFAULT_TERRAINS = ("LeftWall", "RightWall", "Tunnel")
"""The paper's first set, chosen so that no single walker does well on all of it."""

DEFAULT_PREFIX_LENGTH = 4
"""Slots of a terrain. More slots carry more of the signal at the cost of a few positions."""

CODE_SPREAD = 0.3
"""How far new codes lie from the embedding of ``<bos>``, in standard deviations of the word embeddings. In small trials
0.3 left the loss of the stage 2 model as it was; at 1.0 some codes doubled it."""

UNSAMPLEABLE_LOGIT = -1e4
"""Logit of tokens that must not be sampled: their probability is exactly 0 in float32, and unlike minus infinity it
stays finite when trainers multiply it by that probability to get an entropy, or divide it by a temperature."""


class TerrainLlamaConfig(LlamaConfig):
    """A Llama configuration that also knows its terrains.

    Attributes:
        terrains: Names of the terrains, in the order of their ids.
        prefix_length: Slots ``P`` of each terrain.
        terrain_encoder: Name of the encoder in `TERRAIN_ENCODERS`.
        unsampleable_token_ids: Tokens that end no program and stand in none (padding, beginning, separator).
    """

    model_type = "terrain_llama"

    terrains: list[str] | None = None
    prefix_length: int = DEFAULT_PREFIX_LENGTH
    terrain_encoder: str = "codes"
    unsampleable_token_ids: list[int] | None = None

    def prompt_ids(self, terrain: str) -> list[int]:
        """The ``P`` virtual ids that stand for a terrain, in front of ``<bos>``.

        Raises:
            ConfigError: The model was not built for this terrain.
        """
        names = self.terrains or []
        if terrain not in names:
            raise ConfigError(
                f"The model knows the terrains {', '.join(names)}, but got {terrain!r}; use one of these."
            )
        first = self.vocab_size + names.index(terrain) * self.prefix_length
        return list(range(first, first + self.prefix_length))

    def terrain_of(self, ids: Sequence[int]) -> str:
        """The terrain that the first virtual id of a sequence belongs to.

        Raises:
            ConfigError: The sequence has no virtual id, or one that no terrain has.
        """
        first = next((int(i) for i in ids if i >= self.vocab_size), None)
        index = -1 if first is None else (first - self.vocab_size) // self.prefix_length
        if not 0 <= index < len(self.terrains or []):
            raise ConfigError(
                f"Expected a sequence that begins with terrain ids ({self.vocab_size} or more), but its first ids are "
                f"{[int(i) for i in ids[:4]]}; put prompt_ids(terrain) in front of it."
            )
        return (self.terrains or [])[index]


class TerrainEncoder(nn.Module, ABC):
    """Maps terrains to prefix embeddings; asked once a forward pass, about the distinct terrains of the batch."""

    @abstractmethod
    def forward(self, terrains: torch.Tensor) -> torch.Tensor:
        """Prefix embeddings of terrain indices: (n,) -> (n, slots, hidden)."""

    @abstractmethod
    def start_near(self, embedding: torch.Tensor, spread: float) -> None:
        """Makes all prefix embeddings start around one embedding (hidden,), ``spread`` (standard deviation) apart."""


class DiscreteCodes(TerrainEncoder):
    """A learned code for every slot of every terrain: the paper's discrete codes."""

    def __init__(self, config: TerrainLlamaConfig) -> None:
        super().__init__()
        self.shape = (config.prefix_length, config.hidden_size)
        self.table = nn.Embedding(len(config.terrains or []) * config.prefix_length, config.hidden_size)

    def forward(self, terrains: torch.Tensor) -> torch.Tensor:
        """Looks the codes up: (n,) -> (n, slots, hidden)."""
        return self.table.weight.view(-1, *self.shape)[terrains]

    @torch.no_grad()
    def start_near(self, embedding: torch.Tensor, spread: float) -> None:
        """Draws the codes around ``embedding`` from torch's global generator."""
        self.table.weight.copy_(embedding + spread * torch.randn_like(self.table.weight))


TERRAIN_ENCODERS: dict[str, Callable[[TerrainLlamaConfig], TerrainEncoder]] = {"codes": DiscreteCodes}
"""The encoders that a configuration can name."""


class TerrainEmbedding(nn.Embedding):
    """The input embedding: ordinary ids from its own table, virtual ids from the terrain encoder."""

    def __init__(self, config: TerrainLlamaConfig) -> None:
        super().__init__(config.vocab_size, config.hidden_size, config.pad_token_id)
        if config.terrain_encoder not in TERRAIN_ENCODERS:
            known = ", ".join(TERRAIN_ENCODERS)
            raise ConfigError(f"terrain_encoder is {config.terrain_encoder!r}, expected one of {known}.")
        self.encoder: TerrainEncoder = TERRAIN_ENCODERS[config.terrain_encoder](config)
        self.prefix_length = config.prefix_length

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Embeds ids (batch, length) -> (batch, length, hidden)."""
        virtual = input >= self.num_embeddings
        words = functional.embedding(input.masked_fill(virtual, 0), self.weight, self.padding_idx)
        if not bool(virtual.any()):  # every step of generation after the first
            return words
        places = input[virtual] - self.num_embeddings
        distinct, rows = (places // self.prefix_length).unique(return_inverse=True)
        codes = self.encoder(distinct)[rows, places % self.prefix_length]
        return words.index_put((virtual,), codes.to(words.dtype))


class SampleableHead(nn.Linear):
    """The output head: logits of the vocabulary, with the unsampleable tokens pushed out of every distribution.

    The mask sits here and not in the sampler, because a policy gradient needs the distribution that is trained to be
    the one that was sampled from.
    """

    def __init__(self, config: TerrainLlamaConfig) -> None:
        super().__init__(config.hidden_size, config.vocab_size, bias=False)
        self.unsampleable = list(config.unsampleable_token_ids or [])

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Logits of hidden states: (..., hidden) -> (..., vocabulary)."""
        return _without(super().forward(input), self.unsampleable)


class TerrainLlamaModel(LlamaModel):
    """The backbone: a Llama whose input embedding understands terrain ids."""

    config: TerrainLlamaConfig

    def __init__(self, config: TerrainLlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = TerrainEmbedding(config)
        self.post_init()


class TerrainLlamaForCausalLM(LlamaForCausalLM):
    """The policy: terrain in, program out."""

    config: TerrainLlamaConfig
    config_class = TerrainLlamaConfig

    def __init__(self, config: TerrainLlamaConfig) -> None:
        super().__init__(config)
        self.model = TerrainLlamaModel(config)
        self.lm_head = SampleableHead(config)
        self.post_init()

    def prompt_ids(self, terrain: str) -> list[int]:
        """The virtual ids of a terrain; see `TerrainLlamaConfig.prompt_ids`."""
        return self.config.prompt_ids(terrain)


class TerrainLlamaForValue(LlamaPreTrainedModel):
    """The critic of PPO: a backbone with terrain codes of its own, and one number per position.

    TRL reads ``base_model_prefix`` (``"model"``) and ``score`` from it, and calls nothing else.
    """

    config: TerrainLlamaConfig
    config_class = TerrainLlamaConfig

    def __init__(self, config: TerrainLlamaConfig) -> None:
        super().__init__(config)
        self.model = TerrainLlamaModel(config)
        self.score = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, **inputs: Any) -> torch.Tensor:
        """Values of ids (batch, length) -> (batch, length)."""
        return self.score(self.model(**inputs).last_hidden_state).squeeze(-1)


class TerrainBlindModel(nn.Module):
    """A language model that takes conditioned sequences and answers as if the terrain were not there.

    PPO measures how far the policy has gone from the stage 2 model; that model never saw a terrain, so its answer to
    "terrain, <bos> program" is its answer to "<bos> program". The virtual ids are hidden from the attention, and
    positions are counted without them.

    Args:
        language_model: Any causal language model.
        vocab_size: Ids from here on are terrain ids.
        unsampleable: Tokens that the policy cannot sample either, so that both distributions are over the same tokens.
    """

    def __init__(self, language_model: PreTrainedModel, vocab_size: int, unsampleable: Sequence[int] = ()) -> None:
        super().__init__()
        self.language_model = language_model
        self.vocab_size = vocab_size
        self.unsampleable = list(unsampleable)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> CausalLMOutputWithPast:
        """Logits of ids (batch, length) -> (batch, length, vocabulary); those at virtual ids mean nothing."""
        visible = input_ids < self.vocab_size
        mask = visible if attention_mask is None else attention_mask.bool() & visible
        output = self.language_model(
            input_ids=input_ids.masked_fill(~visible, 0),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        )
        return CausalLMOutputWithPast(logits=_without(output.logits, self.unsampleable))


def condition(
    language_model: PreTrainedModel,
    terrains: Sequence[str] = DEFAULT_TERRAINS,
    *,
    prefix_length: int = DEFAULT_PREFIX_LENGTH,
    unsampleable: Sequence[int] | None = None,
    seed: int = 0,
) -> TerrainLlamaForCausalLM:
    """Gives a stage 2 language model terrain codes; everything else of it is copied.

    The codes start beside the embedding of ``<bos>``, which the model is used to see in front of a program, so that the
    untrained prefix disturbs it as little as possible.

    Args:
        language_model: A Llama causal language model; it is not changed.
        terrains: Names of the terrains, all different.
        prefix_length: Slots of each terrain.
        unsampleable: Tokens never to be sampled (see `unsampleable_ids`); by default the padding and beginning tokens
            that the model's configuration names.
        seed: Seed of the initial codes; torch's global generator is left as it was.

    Raises:
        ConfigError: The model is no Llama, terrains are missing or doubled, or ``prefix_length`` is below 1.
    """
    if not isinstance(language_model, LlamaForCausalLM) or isinstance(language_model, TerrainLlamaForCausalLM):
        raise ConfigError(
            "Only a plain Llama language model, such as 'elm-rl pretrain' makes, can be given terrain codes, but got a "
            f"{type(language_model).__name__}."
        )
    names = list(terrains)
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"Expected one or more different terrain names, but got {names}.")
    if prefix_length < 1:
        raise ConfigError(f"prefix_length is {prefix_length}, but a terrain needs at least 1 slot.")
    base = language_model.config
    if unsampleable is None:
        unsampleable = [i for i in (base.pad_token_id, base.bos_token_id) if i is not None and i != base.eos_token_id]
    settings = {k: v for k, v in base.to_dict().items() if k not in ("model_type", "architectures")}
    config = TerrainLlamaConfig(
        **settings, terrains=names, prefix_length=prefix_length, unsampleable_token_ids=sorted(set(unsampleable))
    )
    weights = language_model.state_dict()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        policy = TerrainLlamaForCausalLM(config)
        policy.load_state_dict(weights, strict=False)
        words = policy.model.embed_tokens.weight.detach()
        near = words[base.bos_token_id] if base.bos_token_id is not None else words.mean(0)
        policy.model.embed_tokens.encoder.start_near(near, CODE_SPREAD * float(words.std()))
    policy.generation_config = copy.deepcopy(language_model.generation_config)
    policy.to(language_model.device, language_model.dtype)
    return policy.train(language_model.training)


def make_value_model(policy: TerrainLlamaForCausalLM) -> TerrainLlamaForValue:
    """The critic for a policy: a copy of its backbone and codes, and a head that starts at zero everywhere."""
    with torch.random.fork_rng():
        value = TerrainLlamaForValue(copy.deepcopy(policy.config))
    value.model.load_state_dict(policy.model.state_dict())
    nn.init.zeros_(value.score.weight)
    nn.init.zeros_(value.score.bias)
    return value.to(policy.device, policy.dtype)


def unsampleable_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the special tokens that must not appear in a program: all but the end token."""
    return sorted(set(tokenizer.all_special_ids) - {tokenizer.eos_token_id})


def weights_digest(folder: Path) -> str:
    """SHA-256 of a model's weights, by which a stage notices that the model it started from has changed.

    Raises:
        ElmError: The folder holds no model.
    """
    try:
        return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    except OSError as error:
        raise ElmError(
            f"'{folder}' holds no model (model.safetensors: {error.strerror}); give the folder of a trained model."
        ) from error


def _without(logits: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    if not ids:
        return logits
    return logits.index_fill(-1, torch.tensor(ids, device=logits.device), UNSAMPLEABLE_LOGIT)


AutoConfig.register(TerrainLlamaConfig.model_type, TerrainLlamaConfig, exist_ok=True)
AutoModelForCausalLM.register(TerrainLlamaConfig, TerrainLlamaForCausalLM, exist_ok=True)
