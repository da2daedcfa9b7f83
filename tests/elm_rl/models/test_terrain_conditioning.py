from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.language_model import load_policy, save_language_model
from elm_rl.models.sampling import sample_completions
from elm_rl.models.terrain_conditioning import (
    CODE_SPREAD,
    DEFAULT_TERRAINS,
    TerrainBlindModel,
    TerrainLlamaForCausalLM,
    condition,
    make_value_model,
    unsampleable_ids,
    weights_digest,
)
from elm_rl.models.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(["a = 1\nb = 2\n"], 270, context=64)
VOCABULARY = len(TOKENIZER)
PAD, BOS, EOS, SEP = 0, 1, 2, 3


def language_model(tied: bool = True, seed: int = 0) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        # Large weights: with the usual 0.02 an untrained model of this size writes the same token whatever it is asked.
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def policy_of(model: LlamaForCausalLM, prefix_length: int = 3, seed: int = 0) -> TerrainLlamaForCausalLM:
    return condition(model, prefix_length=prefix_length, unsampleable=unsampleable_ids(TOKENIZER), seed=seed)


def logits(model: torch.nn.Module, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits[0]


def test_a_terrain_is_a_run_of_ids_beyond_the_vocabulary() -> None:
    policy = policy_of(language_model())
    prompts = [policy.prompt_ids(terrain) for terrain in DEFAULT_TERRAINS]
    assert [i for prompt in prompts for i in prompt] == list(range(VOCABULARY, VOCABULARY + 9))
    for terrain, prompt in zip(DEFAULT_TERRAINS, prompts, strict=True):
        assert policy.config.terrain_of([PAD, *prompt, BOS, 17]) == terrain


def test_the_program_part_of_the_language_model_is_copied_exactly() -> None:
    model = language_model()
    policy = policy_of(model)
    weights = policy.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    allowed = [i for i in range(VOCABULARY) if i not in (PAD, BOS, SEP)]
    ids = [BOS, 20, 21, 22]
    torch.testing.assert_close(logits(policy, ids)[:, allowed], logits(model, ids)[:, allowed])
    assert policy.lm_head.out_features == VOCABULARY


@pytest.mark.parametrize("tied", [True, False])
def test_greedy_output_does_not_depend_on_the_cache_or_on_left_padding(tied: bool) -> None:
    policy = policy_of(language_model(tied))
    prompts = {terrain: [*policy.prompt_ids(terrain), BOS] for terrain in DEFAULT_TERRAINS}
    written = {}
    for terrain, prompt in prompts.items():
        outputs = []
        for cached in (True, False):
            for padding in (0, 4):
                ids = torch.tensor([[PAD] * padding + prompt])
                mask = torch.tensor([[0] * padding + [1] * len(prompt)])
                generated = policy.generate(
                    ids, attention_mask=mask, max_new_tokens=12, do_sample=False, use_cache=cached
                )
                outputs.append(generated[0, ids.shape[1] :].tolist())
        assert all(output == outputs[0] for output in outputs[1:])
        ours = sample_completions(policy, TOKENIZER, [prompt], max_new_tokens=12, temperature=0)[0]
        assert outputs[0][: len(ours)] == ours
        written[terrain] = tuple(outputs[0])
    assert len(set(written.values())) == 3, "the terrains must make a difference"


@pytest.mark.parametrize("tied", [True, False])
def test_saving_loading_and_copying_are_exact(tmp_path: Path, tied: bool) -> None:
    policy = policy_of(language_model(tied))
    save_language_model(policy, TOKENIZER, tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    ids = [*policy.prompt_ids("Tunnel"), BOS, 30, 31]
    for twin in (AutoModelForCausalLM.from_pretrained(tmp_path), copy.deepcopy(policy), load_policy(tmp_path)[0]):
        assert type(twin) is TerrainLlamaForCausalLM
        assert twin.prompt_ids("Tunnel") == policy.prompt_ids("Tunnel")
        assert twin.lm_head.unsampleable == [PAD, BOS, SEP]
        assert (twin.lm_head.weight is twin.model.embed_tokens.weight) == tied
        assert torch.equal(logits(twin, ids), logits(policy, ids))


def test_gradients_reach_the_codes_of_the_terrain_that_was_asked_for() -> None:
    policy = policy_of(language_model())
    value = make_value_model(policy)
    ids = torch.tensor([[*policy.prompt_ids("RightWall"), BOS, 30, 31, EOS]])
    policy(input_ids=ids, labels=ids.masked_fill(ids >= VOCABULARY, -100)).loss.backward()
    torch.nn.init.ones_(value.score.weight)
    value(input_ids=ids)[0, -1].backward()
    for model in (policy, value):
        reached = model.model.embed_tokens.encoder.table.weight.grad.abs().sum(1) > 0
        assert reached.tolist() == [False] * 3 + [True] * 3 + [False] * 3


def test_neither_terrains_nor_special_tokens_can_be_sampled() -> None:
    model = language_model(tied=False)
    with torch.no_grad():  # a model that would like nothing better than to write padding
        model.lm_head.weight[[PAD, BOS, SEP]] = 100 * model.lm_head.weight[40]
    policy = policy_of(model)
    prompt = [*policy.prompt_ids("Tunnel"), BOS]
    assert logits(policy, prompt).shape == (len(prompt), VOCABULARY)
    probabilities = logits(policy, prompt).softmax(-1)
    assert probabilities[:, [PAD, BOS, SEP]].max() == 0.0
    assert torch.isfinite(probabilities * logits(policy, prompt)).all()
    generated = policy.generate(
        torch.tensor([prompt] * 32),
        attention_mask=torch.ones(32, 4, dtype=torch.long),
        max_new_tokens=8,
        do_sample=True,
    )[:, 4:]
    before_end = (generated == EOS).cumsum(1) == 0
    assert not torch.isin(generated[before_end], torch.tensor([PAD, BOS, SEP])).any()


def test_the_value_model_starts_at_zero_and_has_codes_of_its_own() -> None:
    policy = policy_of(language_model())
    value = make_value_model(policy)
    ids = torch.tensor([[*policy.prompt_ids("Tunnel"), BOS, 30]])
    assert value(input_ids=ids).tolist() == [[0.0] * 5]
    with torch.no_grad():
        value.model.embed_tokens.encoder.table.weight.zero_()
    assert policy.model.embed_tokens.encoder.table.weight.abs().min() > 0


def test_a_terrain_blind_model_answers_like_the_model_without_the_terrain() -> None:
    model = language_model()
    policy = policy_of(model)
    blind = TerrainBlindModel(model, VOCABULARY, [PAD])
    program = [BOS, 30, 31, 32]
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([program])).logits[0]
    for terrain in DEFAULT_TERRAINS:
        answer = logits(blind, [*policy.prompt_ids(terrain), *program])[3:]
        torch.testing.assert_close(answer[:, 1:], expected[:, 1:], rtol=1e-5, atol=1e-5)
        assert answer[:, PAD].max() < -1e3


def test_conditioning_is_repeatable_and_leaves_the_global_generator_alone() -> None:
    model = language_model()
    state = torch.get_rng_state()
    first, again, other = (policy_of(model, seed=seed).model.embed_tokens.encoder.table.weight for seed in (1, 1, 2))
    make_value_model(policy_of(model))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_supervised_training_moves_the_codes(tmp_path: Path) -> None:
    from elm_rl.models.supervised_training import TrainConfig, train_causal_lm

    policy = policy_of(language_model())
    before = policy.model.embed_tokens.encoder.table.weight.detach().clone()
    examples = [
        ([*policy.prompt_ids(terrain), BOS], [40 + index, EOS]) for index, terrain in enumerate(DEFAULT_TERRAINS)
    ]
    train_causal_lm(policy, TOKENIZER, examples, tmp_path, TrainConfig(max_steps=40, learning_rate=3e-2, batch_size=3))
    assert not torch.equal(before, policy.model.embed_tokens.encoder.table.weight)
    prompts = [prompt for prompt, _ in examples]
    assert sample_completions(policy, TOKENIZER, prompts, max_new_tokens=4, temperature=0) == [[40], [41], [42]]


def test_mistakes_are_explained(tmp_path: Path) -> None:
    model = language_model()
    policy = policy_of(model)
    with pytest.raises(ConfigError, match="LeftWall, RightWall, Tunnel, but got 'Moon'"):
        policy.prompt_ids("Moon")
    with pytest.raises(ConfigError, match="begins with terrain ids"):
        policy.config.terrain_of([BOS, 30])
    with pytest.raises(ConfigError, match="begins with terrain ids"):
        policy.config.terrain_of([VOCABULARY + 9])
    with pytest.raises(ConfigError, match="different terrain names"):
        condition(model, ["Tunnel", "Tunnel"])
    with pytest.raises(ConfigError, match="prefix_length is 0"):
        condition(model, prefix_length=0)
    with pytest.raises(ConfigError, match="plain Llama"):
        condition(GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=1, n_positions=8)))
    with pytest.raises(ConfigError, match="plain Llama"):
        condition(policy)
    with pytest.raises(ElmError, match=r"model\.safetensors: No such file"):
        weights_digest(tmp_path)
    save_language_model(model, TOKENIZER, tmp_path / "plain")
    save_language_model(policy, TOKENIZER, tmp_path / "policy")
    assert weights_digest(tmp_path / "plain") != weights_digest(tmp_path / "policy")
    with pytest.raises(ElmError, match="holds a LlamaForCausalLM"):
        load_policy(tmp_path / "plain")
    with pytest.raises(ElmError, match="same order"):
        load_policy(tmp_path / "policy", ["Tunnel", "LeftWall", "RightWall"])


def test_codes_start_near_the_beginning_token() -> None:
    model = language_model()
    words = model.model.embed_tokens.weight.detach().numpy()
    codes = policy_of(model, prefix_length=64).model.embed_tokens.encoder.table.weight.detach().numpy()
    assert np.allclose(codes.mean(0), words[BOS], atol=5 * words.std() / np.sqrt(len(codes)))
    assert codes.std(0).mean() == pytest.approx(CODE_SPREAD * words.std(), rel=0.2)
