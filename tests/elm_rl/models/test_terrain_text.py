"""Terrains that are told as text, in the words of the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from elm_rl.errors import ConfigError
from elm_rl.models.conditioning import (
    condition,
    make_value_model,
)
from elm_rl.models.language_model import load_policy, save_language_model
from tests.elm_rl.models.tiny_policies import (
    BOS,
    TOKENIZER,
    WORDS,
    language_model,
    logits,
    told_policy,
    wall_at,
)


@pytest.mark.parametrize("decoder", ["llama, tied", "gemma2"])
def test_a_terrain_as_text_is_read_as_the_text(tmp_path: Path, decoder: str) -> None:
    """Gemma scales its embeddings, so what is looked up has to go through its own table."""
    policy = told_policy(decoder)
    wall = wall_at(left=False, at=9.0)
    ids = policy.prompt_ids(wall)
    assert len(ids) == policy.config.prefix_length == policy.config.prompt_length
    assert min(ids) >= len(WORDS)
    (words,) = policy.encoder(torch.tensor([policy.book.number(wall)])).tolist()
    text = WORDS.decode(words)
    floor, roof = text.strip().split("\n")
    assert floor.split()[:2] == ["#", "floor"]
    assert len(floor.split()) == len(roof.split()) == 2 + 32
    assert set(roof.split()[2:]) == {"-"}
    heights = [int(word) for word in floor.split()[2:]]
    assert heights[17] == 0
    assert heights[19] == max(heights) > 0
    plain = policy.decoder(torch.tensor([[*words, BOS, 7, 8]])).logits
    told = policy.decoder(torch.tensor([[*ids, BOS, 7, 8]])).logits
    assert torch.equal(plain, told)
    save_language_model(policy, WORDS, tmp_path / "policy")
    loaded, _ = load_policy(tmp_path / "policy")
    assert torch.equal(
        logits(loaded, [*loaded.prompt_ids(wall), BOS, 7]), logits(policy, [*policy.prompt_ids(wall), BOS, 7])
    )
    value = make_value_model(policy)
    assert value(input_ids=torch.tensor([[*ids, BOS, 7]])).shape == (1, len(ids) + 2)


def test_all_terrains_take_as_many_tokens(tmp_path: Path) -> None:
    policy = told_policy()
    names = ["Flat", "Tunnel", "Pits,difficulty=0.9,seed=2", "Hills,difficulty=1.0,seed=4", "Burrow,seed=3"]
    numbers = torch.tensor([policy.book.number(name) for name in names])
    rows = policy.encoder(numbers)
    assert rows.shape == (len(names), policy.config.prefix_length)
    assert len({tuple(row) for row in rows.tolist()}) == len(names)
    assert " -" in WORDS.decode(rows[0].tolist())
    roof = WORDS.decode(rows[1].tolist()).strip().split("\n")[1]
    assert any(int(word) > 0 for word in roof.split()[2:] if word != "-")


def test_a_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="as text"):
        condition(language_model(), encoder="text", tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match="tokenizer"):
        condition(language_model(), encoder="text")


# --- bands -----------------------------------------------------------------------------------------------------------
