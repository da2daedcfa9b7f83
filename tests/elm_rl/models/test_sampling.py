"""Each row is sampled on its own: its own random numbers, its own limit; cuts of the distribution do as they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elm_rl.errors import ConfigError
from elm_rl.models.sampling import SamplingSettings, _choose, sample_answers
from tests.elm_rl.models.gguf_files import TEXTS, small_llama, small_tokenizer

TOKENIZER = small_tokenizer()
MODEL = small_llama(TOKENIZER, context=128)
PROMPTS = [TOKENIZER.encode(TEXTS[0])[: 3 + 2 * i] for i in range(6)]


@given(
    st.lists(st.floats(-8, 8), min_size=2, max_size=20),
    st.floats(0.1, 3),
    st.floats(0.05, 1),
    st.floats(0, 1),
    st.integers(0, 100),
)
def test_only_tokens_that_both_cuts_leave_are_drawn_and_each_by_its_share(
    values: list[float], temperature: float, top_p: float, min_p: float, seed: int
) -> None:
    logits = np.array(values)
    weights = np.exp((logits - logits.max()) / temperature)
    chances = weights / weights.sum()
    order = np.argsort(-chances, kind="stable")
    before = np.concatenate([[0.0], chances[order].cumsum()[:-1]])
    left = order[(before < top_p - 1e-9) & (chances[order] >= min_p * chances.max() + 1e-9)]
    maybe = order[(before < top_p + 1e-9) & (chances[order] >= min_p * chances.max() - 1e-9)]
    points = torch.from_numpy(np.random.default_rng(seed).random(400))
    drawn = _choose(torch.tensor([values]).repeat(400, 1), points, SamplingSettings(temperature, top_p, min_p)).numpy()
    assert set(drawn) <= set(maybe) | {order[0]}
    if len(left) == len(maybe) > 1:
        shares = chances[left] / chances[left].sum()
        counts = np.array([(drawn == token).mean() for token in left])
        np.testing.assert_allclose(counts, shares, atol=0.13)


def test_a_row_is_the_same_whatever_the_limits_of_the_others() -> None:
    alone = sample_answers(MODEL, TOKENIZER, PROMPTS, max_new_tokens=30, seed=4)
    limits = [30, 5, 30, 1, 12, 30]
    mixed = sample_answers(MODEL, TOKENIZER, PROMPTS, max_new_tokens=limits, seed=4)
    for limit, answer, whole in zip(limits, mixed, alone, strict=True):
        assert answer.ids == whole.ids[:limit]
        assert answer.ended == (whole.ended and len(whole.ids) < limit)
    assert len({tuple(answer.ids) for answer in alone}) == len(alone)


def test_a_complete_row_goes_no_further_and_its_neighbours_do() -> None:
    whole = sample_answers(MODEL, TOKENIZER, PROMPTS, max_new_tokens=40, seed=1)
    wanted = whole[2].ids[10]
    asked: list[int] = []

    def complete(ids: Sequence[int]) -> bool:
        asked.append(len(ids))
        return wanted in ids

    stopped = sample_answers(MODEL, TOKENIZER, PROMPTS, max_new_tokens=40, seed=1, complete=complete)
    for answer, before in zip(stopped, whole, strict=True):
        assert answer.ids == before.ids[: len(answer.ids)]
        place = before.ids.index(wanted) if wanted in before.ids else None
        if place is None:
            assert answer == before
        else:
            assert place < len(answer.ids) <= max(place + 8, 8)
    assert len(stopped[2].ids) == 16
    assert not stopped[2].ended
    assert min(asked) == 8


def test_rows_that_nobody_waits_for_end_where_they_are() -> None:
    whole = sample_answers(MODEL, TOKENIZER, PROMPTS[:3], max_new_tokens=20, batch_size=2)
    asked = iter([False] * 5 + [True] * 2)
    cut = sample_answers(MODEL, TOKENIZER, PROMPTS[:3], max_new_tokens=20, batch_size=2, stopped=lambda: next(asked))
    assert [answer.ids for answer in cut] == [whole[0].ids[:5], whole[1].ids[:5], []]
    assert not any(answer.ended for answer in cut)


def test_in_bfloat16_the_same_seed_gives_the_same_samples() -> None:
    model = small_llama(TOKENIZER, context=128).to(torch.bfloat16)
    first = sample_answers(model, TOKENIZER, PROMPTS, max_new_tokens=20, temperature=0.8, min_p=0.02, seed=3)
    assert sample_answers(model, TOKENIZER, PROMPTS, max_new_tokens=20, temperature=0.8, min_p=0.02, seed=3) == first
    assert sample_answers(model, TOKENIZER, PROMPTS, max_new_tokens=20, temperature=0.8, min_p=0.02, seed=5) != first


@pytest.mark.parametrize(
    "wrong", [{"min_p": -0.1}, {"min_p": 1.1}, {"max_new_tokens": [5, 5]}, {"max_new_tokens": [5] * 5 + [0]}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Sampling needs"):
        sample_answers(MODEL, TOKENIZER, PROMPTS, **{"max_new_tokens": 5, **wrong})
