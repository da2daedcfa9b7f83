"""Policies: any causal language model that is told, in front of the program, which terrain to write for.

With a vocabulary of ``V`` tokens and ``P`` slots a terrain, the id ``V + number * P + slot`` selects one of the ``P`` prefix
embeddings of a terrain; where bands of distance are told apart, there is a slot for each behind these, of which a prompt has
one. A sequence is the ids of its terrain, then ``<bos> program <eos>``. The input embedding (`terrain_words`) sends ids below
``V`` to the ordinary table and ids from ``V`` on to a terrain encoder, which gives embeddings, or, for terrains told as text,
the ordinary ids to look up instead. The output head covers ``V`` tokens only, so that no sampler, however configured, can
write a terrain. Because a terrain is nothing but ids, every trainer, data loader and ``generate`` works without knowing it.

Importing this module registers the classes with ``transformers``; then ``AutoModelForCausalLM.from_pretrained(folder)`` loads a
policy like any other model, whatever decoder is in it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from elm_rl.errors import ConfigError
from elm_rl.models.conditioning.config import (
    DEFAULT_KINDS,
    DEFAULT_PREFIX_LENGTH,
    TEXT,
    TerrainPolicyConfig,
    check_encoder,
)
from elm_rl.models.conditioning.encoders import CODES, TerrainEncoder
from elm_rl.models.conditioning.terrain_book import TerrainBook
from elm_rl.models.conditioning.terrain_text import TerrainText, spell_pieces, text_length
from elm_rl.models.conditioning.terrain_words import teach_terrains
from elm_rl.models.sampling import context_length
from elm_rl.models.tokenizer import start_id
from sodarace_gym.terrains.terrain import Terrain

DEFAULT_TERRAINS = ("LeftWall", "RightWall", "Tunnel")
"""The paper's first set, chosen so that no single walker does well on all of it."""

CODE_SPREAD = 0.3
"""How far new codes lie from the embedding of ``<bos>``, in standard deviations of the word embeddings. In small trials
0.3 left the loss of the stage 2 model as it was; at 1.0 some codes doubled it."""

UNSAMPLEABLE_LOGIT = -1e4
"""Logit of tokens that must not be sampled: their probability is exactly 0 in float32, and unlike minus infinity it
stays finite when trainers multiply it by that probability to get an entropy, or divide it by a temperature."""


class TerrainPolicy(PreTrainedModel, GenerationMixin):
    """Terrain in, program out: a causal language model whose input embedding understands terrains."""

    config: TerrainPolicyConfig
    config_class = TerrainPolicyConfig
    base_model_prefix = "policy"
    _supports_sdpa = True
    _supports_flash_attn = True
    supports_gradient_checkpointing = True

    def __init__(self, config: TerrainPolicyConfig) -> None:
        super().__init__(config)
        self.decoder = AutoModelForCausalLM.from_config(config.text_config)
        self.book = teach_terrains(self.decoder, config)
        self.post_init()

    @property
    def encoder(self) -> TerrainEncoder | TerrainText:
        """What turns terrains into embeddings, or into words."""
        return cast("TerrainEncoder | TerrainText", self.get_input_embeddings().encoder)

    def get_input_embeddings(self) -> nn.Module:
        """The decoder's."""
        return self.decoder.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """The decoder's."""
        return self.decoder.get_output_embeddings()

    def prompt_ids(self, terrain: Terrain | str, band: int = 0) -> list[int]:
        """The virtual ids that stand for a terrain, in front of ``<bos>``.

        Args:
            terrain: Any terrain, or a text that names one, as in ``Hills,difficulty=0.5,seed=3``.
            band: Which walkers are asked for, of a policy that was taught several bands: 0 for the best.

        Raises:
            ConfigError: The text names none, or the model has codes for other terrains only.
        """
        first = self.config.vocab_size + self.book.number(terrain) * self.config.stride
        behind = first + self.config.prefix_length
        return [*range(first, behind), *([behind + band] if self.config.bands else [])]

    def terrain_of(self, ids: Sequence[int]) -> str:
        """What names the terrain that the first virtual id of a sequence belongs to.

        Raises:
            ConfigError: The sequence has no virtual id, or one that no terrain has.
        """
        first = next((int(i) for i in ids if i >= self.config.vocab_size), None)
        number = -1 if first is None else (first - self.config.vocab_size) // self.config.stride
        if not 0 <= number < len(self.book):
            raise ConfigError(
                f"Expected a sequence that begins with terrain ids ({self.config.vocab_size} or more), but its first ids are "
                f"{[int(i) for i in ids[:4]]}; put prompt_ids(terrain) in front of it."
            )
        return self.book.texts[number]

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **settings: Any,
    ) -> CausalLMOutputWithPast:
        """What the decoder says to ids (batch, length) of terrains and programs.

        The unsampleable tokens are pushed out of every distribution here, and not by the sampler, because a policy gradient
        needs the distribution that is trained to be the one that was sampled from.
        """
        output: CausalLMOutputWithPast = self.decoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **settings,
        )
        output.logits = without(output.logits, self.config.unsampleable_token_ids)
        return output


class TerrainValue(PreTrainedModel):
    """The critic of PPO: a backbone with a terrain encoder of its own, and one number per position.

    TRL reads ``base_model_prefix`` (``"backbone"``) and ``score`` from it, and calls nothing else.
    """

    config: TerrainPolicyConfig
    config_class = TerrainPolicyConfig
    base_model_prefix = "backbone"
    _supports_sdpa = True

    def __init__(self, config: TerrainPolicyConfig) -> None:
        super().__init__(config)
        model = AutoModelForCausalLM.from_config(config.text_config)
        self.book = teach_terrains(model, config)
        self.backbone = model.base_model
        self.score = nn.Linear(self.backbone.get_input_embeddings().embedding_dim, 1)
        self.post_init()

    @property
    def encoder(self) -> TerrainEncoder | TerrainText:
        """What turns terrains into embeddings, or into words."""
        return cast("TerrainEncoder | TerrainText", self.backbone.get_input_embeddings().encoder)

    def forward(self, **inputs: Any) -> torch.Tensor:
        """Values of ids (batch, length) -> (batch, length)."""
        values: torch.Tensor = self.score(self.backbone(**inputs).last_hidden_state).squeeze(-1)
        return values


def condition(
    language_model: PreTrainedModel,
    terrains: Sequence[Terrain | str] = DEFAULT_TERRAINS,
    *,
    encoder: str = CODES,
    prefix_length: int = DEFAULT_PREFIX_LENGTH,
    kinds: int = DEFAULT_KINDS,
    bands: int = 0,
    unsampleable: Sequence[int] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    seed: int = 0,
) -> TerrainPolicy:
    """Gives a language model a terrain encoder; everything else of it is copied.

    The prefix starts beside the embedding of ``<bos>``, which the model is used to see in front of a program, so that an
    untrained one disturbs it as little as possible.

    Args:
        language_model: Any causal language model of transformers with one embedding table; it is not changed.
        terrains: The terrains, or texts that name them. Codes are learnt for these and no others, so that they have to be
            different; the other encoders take any terrain at any time.
        encoder: Name of the encoder: codes, profile or image; or text, which tells the terrain in the model's own words.
        prefix_length: Slots of each terrain; a text takes as many tokens as it needs.
        kinds: Kinds of walkers among which an encoder that looks chooses.
        bands: Bands of distance that it is to tell apart; 0 for none.
        unsampleable: Tokens never to be sampled (see `unsampleable_ids`); by default the padding and beginning tokens
            that the model's configuration names.
        tokenizer: The model's, which writes the text.
        seed: Seed of what the encoder begins with; torch's global generator is left as it was.

    Raises:
        ConfigError: The model is conditioned already or no causal language model, terrains of codes are missing or doubled,
            there is no such encoder, or ``prefix_length`` is below 1.
    """
    if isinstance(language_model, TerrainPolicy) or language_model.get_output_embeddings() is None:
        raise ConfigError(
            f"Only a plain causal language model can be given a terrain encoder, but got a {type(language_model).__name__}."
        )
    check_encoder(encoder)
    book = TerrainBook()
    for terrain in terrains:
        book.number(terrain)
    if encoder == CODES and (len(book) != len(terrains) or not terrains):
        named = ", ".join(each if isinstance(each, str) else each.name for each in terrains)
        raise ConfigError(f"Expected one or more different terrains, but got {named or 'none'}.")
    if prefix_length < 1:
        raise ConfigError(f"prefix_length is {prefix_length}, but a terrain needs at least 1 slot.")
    if kinds < 1:
        raise ConfigError(f"kinds is {kinds}; expected 1 or more.")
    if bands < 0 or bands == 1:
        raise ConfigError(f"bands is {bands}; expected 2 or more, or 0 for none.")
    words = {}
    if encoder == TEXT:
        if tokenizer is None:
            raise ConfigError("A terrain told as text is written by the model's tokenizer; give condition() one.")
        words = spell_pieces(tokenizer)
        prefix_length = text_length(words)
        if 2 * prefix_length > context_length(language_model):
            raise ConfigError(
                f"A terrain takes {prefix_length} tokens as text, and the model reads {context_length(language_model)} in all; "
                "use a model with a longer context, or terrain_encoder profile."
            )
    base = language_model.config
    if unsampleable is None:
        unsampleable = [i for i in (base.pad_token_id, base.bos_token_id) if i is not None and i != base.eos_token_id]
    decoder = copy.deepcopy(base)
    decoder.name_or_path = ""  # a configuration within another is saved with it, and where it lay is nobody's business
    config = TerrainPolicyConfig(
        text_config=decoder,
        terrain_encoder=encoder,
        prefix_length=prefix_length,
        kinds=kinds,
        bands=bands,
        terrains=[(text, book[number].to_dict()) for number, text in enumerate(book.texts)] if encoder == CODES else (),
        terrain_words=words,
        unsampleable_token_ids=sorted(set(unsampleable)),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        policy = TerrainPolicy(config)
        policy.decoder.load_state_dict(language_model.state_dict(), strict=False)
        embedding = policy.get_input_embeddings()
        table = cast(torch.Tensor, embedding.weight).detach()
        near = table[base.bos_token_id] if base.bos_token_id is not None else table.mean(0)
        spread = CODE_SPREAD * float(table.std())
        if isinstance(policy.encoder, TerrainEncoder):
            policy.encoder.start_near(near, spread)
        if isinstance(embedding.bands, nn.Embedding):
            nn.init.normal_(embedding.bands.weight, std=spread)
            with torch.no_grad():
                embedding.bands.weight.add_(near)
    policy.generation_config = copy.deepcopy(language_model.generation_config)
    policy.to(language_model.device, language_model.dtype)
    for terrain in terrains:
        policy.book.number(terrain)
    return policy.train(language_model.training)


def make_value_model(policy: TerrainPolicy) -> TerrainValue:
    """The critic for a policy: a copy of its backbone and encoder, and a head that starts at zero everywhere."""
    with torch.random.fork_rng():
        value = TerrainValue(copy.deepcopy(policy.config))
    value.backbone.load_state_dict(policy.decoder.base_model.state_dict())
    value.book = value.encoder.book = policy.book
    nn.init.zeros_(value.score.weight)
    nn.init.zeros_(value.score.bias)
    nn.Module.to(value, device=policy.device, dtype=policy.dtype)
    return value.train(policy.training)


def prompts_of(
    policy: TerrainPolicy, tokenizer: PreTrainedTokenizerBase, terrains: Sequence[Terrain | str]
) -> list[list[int]]:
    """What a policy is asked with for each terrain, up to the beginning of the program."""
    return [[*policy.prompt_ids(terrain), start_id(tokenizer)] for terrain in terrains]


def without(logits: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """Logits in which some tokens cannot be sampled."""
    if not ids:
        return logits
    return logits.index_fill(-1, torch.tensor(ids, device=logits.device), UNSAMPLEABLE_LOGIT)


AutoConfig.register(TerrainPolicyConfig.model_type, TerrainPolicyConfig, exist_ok=True)
AutoModelForCausalLM.register(TerrainPolicyConfig, TerrainPolicy, exist_ok=True)
