"""Policies: terrains in front of programs, in any decoder, for any trainer; saved, loaded and copied without a difference."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
)

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.conditioning import (
    DEFAULT_TERRAINS,
    TERRAIN_ENCODERS,
    TerrainPolicy,
    condition,
    make_value_model,
)
from elm_rl.models.conditioning.policy import CODE_SPREAD
from elm_rl.models.language_model import load_language_model, load_policy, save_language_model, weights_digest
from elm_rl.models.sampling import context_length, sample_completions
from elm_rl.models.supervised_training import TrainConfig, train_causal_lm
from elm_rl.models.tokenizer import unsampleable_ids
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain
from tests.elm_rl.models.tiny_policies import (
    BOS,
    DECODERS,
    EOS,
    HILLS,
    PAD,
    SEP,
    TOKENIZER,
    VOCABULARY,
    WORDS,
    language_model,
    logits,
    policy_of,
    roomy_model,
    wall_at,
)


def test_a_terrain_is_a_run_of_ids_beyond_the_vocabulary() -> None:
    policy = policy_of(language_model())
    prompts = [policy.prompt_ids(terrain) for terrain in DEFAULT_TERRAINS]
    assert [i for prompt in prompts for i in prompt] == list(range(VOCABULARY, VOCABULARY + 9))
    for terrain, prompt in zip(DEFAULT_TERRAINS, prompts, strict=True):
        assert policy.terrain_of([PAD, *prompt, BOS, 17]) == terrain
        assert policy.prompt_ids(make_terrain(terrain)) == prompt
    assert context_length(policy) == 64


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_language_model_in_it_is_copied_exactly(decoder: str) -> None:
    model = language_model(decoder)
    policy = policy_of(model)
    weights = policy.decoder.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    allowed = [i for i in range(VOCABULARY) if i not in (PAD, BOS, SEP)]
    ids = [BOS, 20, 21, 22]
    torch.testing.assert_close(logits(policy, ids)[:, allowed], logits(model, ids)[:, allowed])
    assert policy.get_output_embeddings().out_features == VOCABULARY


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", TERRAIN_ENCODERS)
def test_greedy_output_does_not_depend_on_the_cache_or_on_left_padding(decoder: str, encoder: str) -> None:
    policy = policy_of(language_model(decoder), encoder)
    with torch.no_grad():
        for weights in policy.encoder.parameters():  # codes begin close together, and networks close to nothing
            weights.mul_(4.0)
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
    if encoder == "codes":
        assert len(set(written.values())) > 1, "the terrains must make a difference"


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", TERRAIN_ENCODERS)
def test_saving_loading_and_copying_make_no_difference(tmp_path: Path, decoder: str, encoder: str) -> None:
    model = language_model(decoder)
    policy = policy_of(model, encoder)
    save_language_model(policy, TOKENIZER, tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    for twin in (AutoModelForCausalLM.from_pretrained(tmp_path), copy.deepcopy(policy), load_policy(tmp_path)[0]):
        assert type(twin) is TerrainPolicy
        assert twin.config.unsampleable_token_ids == [PAD, BOS, SEP]
        assert (twin.get_output_embeddings().weight is twin.get_input_embeddings().weight) == tied
        assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), policy.parameters(), strict=True))
        ids = [[*each.prompt_ids("Tunnel"), BOS, 30, 31] for each in (twin, policy)]
        # Where in memory weights lie may change the last bits.
        torch.testing.assert_close(logits(twin, ids[0]), logits(policy, ids[1]), rtol=1e-4, atol=1e-4)


@settings(max_examples=10)
@given(terrains=st.permutations(["Bumpy", "LeftWall", "RightWall", "Tunnel", "Hills,difficulty=0.5,seed=5"]))
def test_every_terrain_keeps_its_code_in_whatever_order_they_were_named(terrains: list[str]) -> None:
    policy = condition(language_model(), terrains, encoder="codes", prefix_length=3)
    with tempfile.TemporaryDirectory() as folder:
        save_language_model(policy, TOKENIZER, Path(folder))
        twin = load_policy(Path(folder))[0]
    assert twin.config.terrain_texts == terrains
    for terrain in terrains:
        codes = [each.get_input_embeddings()(torch.tensor([each.prompt_ids(terrain)])) for each in (policy, twin)]
        assert torch.equal(*codes)


def test_codes_that_were_saved_without_their_order_are_refused(tmp_path: Path) -> None:
    save_language_model(policy_of(language_model()), TOKENIZER, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"terrains": dict(config["terrains"])}))
    with pytest.raises(ElmError, match="train it again"):
        load_policy(tmp_path)


def test_a_fresh_process_samples_the_same_tokens(tmp_path: Path) -> None:
    save_language_model(policy_of(language_model("qwen2"), "profile"), TOKENIZER, tmp_path)
    code = (
        "import sys, torch, elm_rl.models.conditioning\n"
        "from transformers import AutoModelForCausalLM\n"
        "policy = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "ids = torch.tensor([[*policy.prompt_ids('Hills,difficulty=0.5,seed=5'), 1]] * 4)\n"
        "torch.manual_seed(3)\n"
        "print(policy.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, max_new_tokens=9).tolist())\n"
    )
    run = [subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True) for _ in "ab"]
    assert run[0].returncode == 0, run[0].stderr
    assert run[0].stdout == run[1].stdout != ""


@pytest.mark.parametrize("encoder", ["profile", "image"])
def test_an_encoder_that_looks_takes_terrains_it_never_saw(encoder: str) -> None:
    policy = policy_of(language_model(), encoder)
    reference, value = copy.deepcopy(policy), make_value_model(policy)
    far = Terrain("mine", np.array([[-20.0, 0.0], [20.0, 0.0], [25.0, -9.0]]))
    prompts = [policy.prompt_ids(terrain) for terrain in ("Tunnel", HILLS, far, "Hills,difficulty=0.5,seed=5")]
    assert prompts[1] == prompts[3]
    other = policy.prompt_ids("Hills")  # the family's first, which shares the name of the one before
    assert other not in prompts
    assert policy.prompt_ids(make_terrain("Hills")) == other
    assert [policy.terrain_of(prompt) for prompt in prompts[:3]] == ["Tunnel", "Hills", "mine"]
    seen = policy.encoder(torch.arange(len(policy.book)))
    assert torch.unique(seen, dim=0).shape[0] == len(policy.book) == 6
    # The reference and the critic, made before, mean the same terrains by the same ids.
    assert torch.equal(logits(reference, [*prompts[2], BOS]), logits(policy, [*prompts[2], BOS]))
    assert value(input_ids=torch.tensor([prompts[2]])).shape == (1, 3)


@pytest.mark.parametrize("encoder", ["profile", "image"])
def test_a_network_learns_to_tell_terrains_apart_and_what_is_like_them(tmp_path: Path, encoder: str) -> None:
    policy = policy_of(language_model(), encoder)
    walls = [wall_at(left, at) for left in (True, False) for at in (20.0, 22.0, 26.0, 28.0)]
    examples = [([*policy.prompt_ids(wall), BOS], [40 + (row >= 4), EOS]) for row, wall in enumerate(walls)]
    config = TrainConfig(max_steps=60, learning_rate=1e-2, batch_size=8)
    train_causal_lm(policy, TOKENIZER, examples, tmp_path, config)
    new = [[*policy.prompt_ids(wall_at(left, 24.0)), BOS] for left in (True, False)]
    assert sample_completions(policy, TOKENIZER, new, max_new_tokens=4, temperature=0) == [[40], [41]]


def test_gradients_reach_the_codes_of_the_terrain_that_was_asked_for() -> None:
    policy = policy_of(language_model())
    value = make_value_model(policy)
    ids = torch.tensor([[*policy.prompt_ids("RightWall"), BOS, 30, 31, EOS]])
    policy(input_ids=ids, labels=ids.masked_fill(ids >= VOCABULARY, -100)).loss.backward()
    torch.nn.init.ones_(value.score.weight)
    value(input_ids=ids)[0, -1].backward()
    for model in (policy, value):
        reached = model.encoder.table.weight.grad.abs().sum(1) > 0
        assert reached.tolist() == [False] * 3 + [True] * 3 + [False] * 3


@pytest.mark.parametrize("decoder", ["llama", "gpt_neox"])
def test_neither_terrains_nor_special_tokens_can_be_sampled(decoder: str) -> None:
    model = language_model(decoder)
    with torch.no_grad():  # a model that would like nothing better than to write padding
        head = model.get_output_embeddings().weight
        head[[PAD, BOS, SEP]] = 100 * head[40]
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


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_value_model_starts_at_zero_and_has_an_encoder_of_its_own(decoder: str) -> None:
    policy = policy_of(language_model(decoder))
    value = make_value_model(policy)
    ids = torch.tensor([[*policy.prompt_ids("Tunnel"), BOS, 30]])
    assert value(input_ids=ids).tolist() == [[0.0] * 5]
    backbone = getattr(value, value.base_model_prefix)
    expected = policy.decoder.base_model(input_ids=ids).last_hidden_state
    assert torch.equal(backbone(input_ids=ids, output_hidden_states=True).hidden_states[-1], expected)
    with torch.no_grad():
        value.encoder.table.weight.zero_()
    assert policy.encoder.table.weight.abs().min() > 0


@pytest.mark.parametrize("encoder", TERRAIN_ENCODERS)
def test_conditioning_is_repeatable_and_leaves_the_global_generator_alone(encoder: str) -> None:
    model = language_model()
    state = torch.get_rng_state()
    first, again, other = (
        torch.cat([weights.flatten() for weights in policy_of(model, encoder, seed=seed).encoder.parameters()])
        for seed in (1, 1, 2)
    )
    make_value_model(policy_of(model))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("encoder", TERRAIN_ENCODERS)
def test_prefixes_start_near_the_beginning_token(encoder: str) -> None:
    model = language_model()
    words = model.get_input_embeddings().weight.detach().numpy()
    policy = policy_of(model, encoder, prefix_length=64)
    with torch.no_grad():
        found = policy.encoder(torch.arange(3)).numpy().reshape(-1, words.shape[1])
    assert np.allclose(found.mean(0), words[BOS], atol=5 * words.std() / np.sqrt(len(found)))
    assert 0.2 * CODE_SPREAD < found.std(0).mean() / words.std() < 1.2 * CODE_SPREAD


@pytest.mark.parametrize("encoder", ["profile", "image"])
def test_a_fresh_network_tells_terrains_apart(encoder: str) -> None:
    model = language_model()
    spread = CODE_SPREAD * float(model.get_input_embeddings().weight.detach().std())
    policy = policy_of(model, encoder, prefix_length=64)
    terrains = torch.tensor([policy.book.number(f"Hills,difficulty=0.5,seed={seed}") for seed in range(40)])
    with torch.no_grad():
        assert policy.encoder.features(terrains).std(0).mean() > 0.1
        assert policy.encoder(terrains).std(0).mean() > 0.02 * spread


def test_terrains_of_one_name_keep_their_own_codes(tmp_path: Path) -> None:
    grounds = [make_terrain("Hills", seed=5), make_terrain("Hills", seed=6)]
    policy = condition(language_model(), grounds)
    save_language_model(policy, TOKENIZER, tmp_path)
    for each in (policy, load_language_model(tmp_path)[0]):
        assert [each.prompt_ids(ground)[0] for ground in grounds] == [VOCABULARY, VOCABULARY + each.config.stride]
        with pytest.raises(ConfigError, match="'Hills'"):
            each.prompt_ids("Hills")  # which is that of seed 0
    with pytest.raises(ConfigError, match="different terrains, but got Hills, Hills"):
        condition(language_model(), [grounds[0], grounds[0]])
    one_ground = ["LeftWall,seed=3", "LeftWall,seed=9"]
    looking = condition(language_model(), one_ground, encoder="profile")
    assert looking.prompt_ids(one_ground[0]) == looking.prompt_ids(one_ground[1])


def test_mistakes_are_explained(tmp_path: Path) -> None:
    model = language_model()
    policy = policy_of(model)
    with pytest.raises(ConfigError, match="LeftWall, RightWall, Tunnel, but got 'Moon'"):
        policy.prompt_ids("Moon")
    with pytest.raises(ConfigError, match="LeftWall, RightWall, Tunnel, but got 'Hills'"):
        policy.prompt_ids(HILLS)
    with pytest.raises(ConfigError, match="Moon"):
        policy_of(model, "profile").prompt_ids("Moon")
    with pytest.raises(ConfigError, match="begins with terrain ids"):
        policy.terrain_of([BOS, 30])
    with pytest.raises(ConfigError, match="begins with terrain ids"):
        policy.terrain_of([VOCABULARY + 9])
    with pytest.raises(ConfigError, match="different terrains"):
        condition(model, ["Tunnel", "Tunnel"])
    with pytest.raises(ConfigError, match="prefix_length is 0"):
        condition(model, prefix_length=0)
    with pytest.raises(ConfigError, match="codes, profile, image, text"):
        condition(model, encoder="sonar")
    with pytest.raises(ConfigError, match="plain causal language model"):
        condition(policy)
    with pytest.raises(ElmError, match=r"model\.safetensors: No such file"):
        weights_digest(tmp_path)
    save_language_model(model, TOKENIZER, tmp_path / "plain")
    save_language_model(policy, TOKENIZER, tmp_path / "policy")
    assert weights_digest(tmp_path / "plain") != weights_digest(tmp_path / "policy")
    save_language_model(condition(load_language_model(tmp_path / "plain")[0]), TOKENIZER, tmp_path / "moved")
    assert str(tmp_path) not in (tmp_path / "moved" / "config.json").read_text()
    weights = load_file(tmp_path / "policy" / "model.safetensors")
    save_file(weights | {"decoder.older": torch.zeros(1)}, tmp_path / "policy" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ElmError, match="tensors that this version does not know, such as "):
        load_policy(tmp_path / "policy")
    save_file(weights, tmp_path / "policy" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ElmError, match="holds a LlamaForCausalLM"):
        load_policy(tmp_path / "plain")
    with pytest.raises(ElmError, match="same order"):
        load_policy(tmp_path / "policy", ["Tunnel", "LeftWall", "RightWall"])


# --- terrains as text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", [*TERRAIN_ENCODERS, "text"])
def test_a_band_is_one_more_embedding_behind_the_terrain(tmp_path: Path, encoder: str) -> None:
    tokenizer = WORDS if encoder == "text" else TOKENIZER
    model = roomy_model() if encoder == "text" else language_model()
    policy = condition(
        model, encoder=encoder, prefix_length=3, bands=2, unsampleable=unsampleable_ids(tokenizer), tokenizer=tokenizer
    )
    best, second = policy.prompt_ids("LeftWall"), policy.prompt_ids("LeftWall", band=1)
    assert best[:-1] == second[:-1]
    assert len(best) == policy.config.prompt_length == policy.config.prefix_length + 1
    other = policy.prompt_ids("Tunnel")
    assert not {*best, *second} & {*other}
    assert policy.terrain_of([*second, BOS, 7]) == "LeftWall"
    words = policy.get_input_embeddings()
    embedded = words(torch.tensor([second, policy.prompt_ids("Tunnel", band=1)]))
    assert torch.equal(embedded[0, -1], embedded[1, -1])
    assert torch.equal(embedded[0, -1], words.bands.weight[1])
    assert not torch.equal(embedded[0, :-1], embedded[1, :-1])
    embedded[0, -1].sum().backward()
    assert bool((words.bands.weight.grad[1] != 0).all())
    assert not words.bands.weight.grad[0].any()
    save_language_model(policy, tokenizer, tmp_path / "policy")
    loaded, _ = load_policy(tmp_path / "policy", list(DEFAULT_TERRAINS))
    assert torch.equal(logits(loaded, [*second, BOS, 7]), logits(policy, [*second, BOS, 7]))
    assert not torch.equal(logits(loaded, [*second, BOS, 7]), logits(policy, [*best, BOS, 7]))
    value = make_value_model(policy)
    assert value(input_ids=torch.tensor([[*best, BOS, 7]])).shape == (1, len(best) + 2)
