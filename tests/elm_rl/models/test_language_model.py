"""The tokenizer round-trips any text, models come back from disk as they were, and sampling repeats."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.language_model import (
    MODEL_SIZES,
    load_language_model,
    make_model,
    save_language_model,
)
from elm_rl.models.sampling import sample_completions
from elm_rl.models.tokenizer import SPECIAL_TOKENS, decode_program, encode_text, start_id, train_tokenizer


def program(joints: int, amplitude: float) -> str:
    lines = ["def make_walker():", "    wc = walker_creator()", "    hub = wc.add_joint(5, 5)"]
    for k in range(joints):
        lines.append(f"    wc.add_muscle(wc.add_joint({k}, {k % 3}), hub, False, {amplitude}, {k / 4})")
    return "\n".join([*lines, "    return wc.get_walker()"]) + "\n"


PROGRAMS = [program(joints, amplitude) for joints in range(2, 12) for amplitude in (0.5, 1.0, 1.5)]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(PROGRAMS, 400)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    return make_model("0.1M", tokenizer, context=64)


@given(text=st.text(st.characters(exclude_categories=("Cs",))) | st.sampled_from(PROGRAMS))
def test_any_text_comes_back_from_its_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    assert decode_program(tokenizer, encode_text(tokenizer, text)) == text


@pytest.mark.parametrize("text", [*SPECIAL_TOKENS, "a <eos>\nb", "\r\n\t \n\n  ", "don 't , ok .", "\0 \U0001f98e é"])
def test_awkward_text_comes_back_before_and_after_saving(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, text: str
) -> None:
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        ids = one.encode(text)
        assert one.decode(ids) == text
        assert not set(ids) & set(one.all_special_ids)


def test_a_token_spans_a_line_and_never_more(tokenizer: PreTrainedTokenizerBase) -> None:
    pieces = [tokenizer.decode([i]) for i in encode_text(tokenizer, PROGRAMS[0])]
    assert "    wc = walker_creator()\n" in pieces
    assert all("\n" not in piece[:-1] for piece in pieces)
    longest = max(tokenizer.get_vocab(), key=len)
    assert longest.count("Ċ") <= 1  # how byte-level BPE writes a newline


def test_training_the_tokenizer_repeats() -> None:
    first, second = (train_tokenizer(PROGRAMS, 400).backend_tokenizer.to_str() for _ in range(2))
    assert first == second


def test_special_tokens_come_first(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3]
    assert len(tokenizer) <= 400


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 260"):
        train_tokenizer(PROGRAMS, 259)


@pytest.mark.parametrize("size", MODEL_SIZES)
def test_sizes_have_the_parameters_in_their_name(size: str) -> None:
    alphabet = [chr(first) + chr(second) for first in range(97, 123) for second in range(97, 123)]
    full = train_tokenizer([line + "\n" for pair in alphabet for line in (pair, pair)] * 2, 1024)
    full.add_tokens([f"filler{i}" for i in range(1024 - len(full))])
    with torch.device("meta"):
        parameters = make_model(size, full).num_parameters()
    assert parameters == pytest.approx(float(size.removesuffix("M")) * 1e6, rel=0.03)


def test_initial_weights_follow_the_seed_and_leave_torch_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    state = torch.get_rng_state()
    one, same, other = (make_model("0.1M", tokenizer, seed=seed).lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


def test_unknown_size_names_the_sizes(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match=r"0\.1M, 1M, 2M, 5M, 21M"):
        make_model("3M", tokenizer)


def test_a_saved_folder_loads_without_this_package(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    for _ in range(2):  # also over an older model
        save_language_model(model, tokenizer, tmp_path)
    ids = torch.tensor([[1, *encode_text(tokenizer, PROGRAMS[3])]])
    for loaded, its_tokenizer in (
        (AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)),
        load_language_model(tmp_path),
    ):
        assert encode_text(its_tokenizer, PROGRAMS[3]) == encode_text(tokenizer, PROGRAMS[3])
        with torch.no_grad():
            assert torch.equal(loaded(ids).logits, model.eval()(ids).logits)
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "config.json").stat().st_mode
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "notes.txt"} <= names
    assert not [name for name in names if name.endswith(".tmp")]


def test_a_full_disk_leaves_the_older_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_language_model(model, tokenizer, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    other = make_model("0.1M", tokenizer, context=64, seed=5)
    monkeypatch.setattr(tokenizer, "save_pretrained", full)
    with pytest.raises(ElmError, match="disk is full"):
        save_language_model(other, tokenizer, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match="There is no model folder"):
        load_language_model(tmp_path / "nowhere")
    with pytest.raises(ElmError, match=r"config\.json is missing"):
        load_language_model(tmp_path)


def test_a_hub_name_without_network_is_one_sentence() -> None:
    with pytest.raises(ElmError, match="No model 'nobody/nothing' could be loaded") as caught:
        load_language_model("nobody/nothing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_file_is_one_sentence(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, file: str
) -> None:
    save_language_model(model, tokenizer, tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ElmError, match="cannot be read") as caught:
        load_language_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    save_language_model(model, tokenizer, tmp_path)
    deeper = model.config.to_dict() | {"num_hidden_layers": 5}
    type(model.config)(**deeper).save_pretrained(tmp_path)
    with pytest.raises(ElmError, match="lacks"):
        load_language_model(tmp_path)


def test_decoding_stops_at_the_end_and_drops_what_is_no_text(tokenizer: PreTrainedTokenizerBase) -> None:
    text = encode_text(tokenizer, PROGRAMS[0])
    terrain = len(tokenizer) + 3
    assert decode_program(tokenizer, [terrain, 1, *text, 2, 0, 0]) == PROGRAMS[0]
    assert decode_program(tokenizer, [*text, 2, *text]) == PROGRAMS[0]
    assert decode_program(tokenizer, [1, 2]) == ""


def test_a_tokenizer_that_begins_with_its_end_token_decodes_too() -> None:
    other = train_tokenizer(PROGRAMS, 300)
    other.bos_token = None
    assert start_id(other) == other.eos_token_id == 2
    assert decode_program(other, [2, *encode_text(other, "a = 1\n"), 2]) == "a = 1\n"


def samples(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **settings: object) -> list[list[int]]:
    count = int(settings.pop("count", 12))  # type: ignore[call-overload]
    return sample_completions(model, tokenizer, [[1]] * count, **{"max_new_tokens": 20, **settings})  # type: ignore[arg-type]


def test_samples_follow_the_seed_alone(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    state = torch.get_rng_state()
    first = samples(model, tokenizer, seed=3)
    assert samples(model, tokenizer, seed=3, batch_size=5) == first
    assert samples(model, tokenizer, seed=3, count=4) == first[:4]
    assert samples(model, tokenizer, seed=4) != first
    assert torch.equal(state, torch.get_rng_state())


def test_special_tokens_and_the_end_are_never_in_a_sample(tokenizer: PreTrainedTokenizerBase) -> None:
    eager = make_model("0.1M", tokenizer, context=64)
    with torch.no_grad():
        eager.model.embed_tokens.weight[4:] = 0  # tied: these tokens get logit 0, the specials often more
    drawn = samples(eager, tokenizer, count=64)
    assert not {0, 1, 2, 3} & {token for sample in drawn for token in sample}
    assert min(map(len, drawn)) < 20  # the end token was sampled, and ended them


def test_samples_agree_with_the_model_without_cache(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Greedy continuations of prompts of different lengths, against one full forward pass per token."""
    prompts = [[1], [1, *encode_text(tokenizer, PROGRAMS[0])[:7]], [1, 9, 8]]
    expected = []
    for prompt in prompts:
        ids = list(prompt)
        while len(ids) < len(prompt) + 12:
            with torch.no_grad():
                logits = model.eval()(torch.tensor([ids])).logits[0, -1]
            logits[[0, 1, 3]] = -torch.inf
            if (token := int(logits.argmax())) == tokenizer.eos_token_id:
                break
            ids.append(token)
        expected.append(ids[len(prompt) :])
    assert sample_completions(model, tokenizer, prompts, max_new_tokens=12, temperature=0) == expected


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])  # relative and absolute positions
def test_neighbours_in_the_batch_change_nothing(tokenizer: PreTrainedTokenizerBase, architecture: str) -> None:
    """Prompts of many lengths whose continuations end at many points, together and one at a time."""
    torch.manual_seed(0)
    one = make_model("0.1M", tokenizer, context=64)
    if architecture == "gpt2":
        settings = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "eos_token_id": 2}
        one = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **settings))
    with torch.no_grad():
        one.get_input_embeddings().weight *= 8  # answers that depend on what was read
    original = one.forward

    def eager_to_end(*args: object, **kwargs: object) -> object:
        result = original(*args, **kwargs)
        result.logits[..., 2] = result.logits.logsumexp(-1) - 1.5
        return result

    one.forward = eager_to_end
    prompts = [[1, *range(10, 10 + 3 * k)] for k in range(8)]
    together = sample_completions(one, tokenizer, prompts, max_new_tokens=20, batch_size=8)
    alone = sample_completions(one, tokenizer, prompts, max_new_tokens=20, batch_size=1)
    assert together == alone
    assert len({len(completion) for completion in alone}) > 3


def test_sampled_frequencies_follow_temperature_and_top_p(tokenizer: PreTrainedTokenizerBase) -> None:
    peaked = make_model("0.1M", tokenizer, context=64)
    with torch.no_grad():
        peaked.model.embed_tokens.weight *= 20  # a spread of probabilities worth testing
        logits = peaked(torch.tensor([[1]])).logits[0, -1].double()
    logits[[0, 1, 3]] = -torch.inf
    expected = torch.softmax(logits / 0.7, dim=-1)
    drawn = samples(peaked, tokenizer, count=3000, max_new_tokens=1, temperature=0.7, batch_size=3000)
    counts = torch.bincount(torch.tensor([s[0] if s else 2 for s in drawn]), minlength=len(tokenizer))
    likeliest = int(expected.argmax())
    assert counts[likeliest] / 3000 == pytest.approx(float(expected[likeliest]), abs=0.04)
    order = expected.argsort(descending=True)
    nucleus = order[: int((expected[order].cumsum(0) < 0.5).sum()) + 1]
    allowed = set(nucleus.tolist())
    drawn = samples(peaked, tokenizer, count=500, max_new_tokens=1, temperature=0.7, top_p=0.5, batch_size=500)
    assert {s[0] if s else 2 for s in drawn} <= allowed
    assert len(allowed) < len(tokenizer) / 2


def test_samples_end_at_the_context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    long = sample_completions(model, tokenizer, [[1] * 60], max_new_tokens=50)
    assert len(long[0]) <= 4
    with pytest.raises(ConfigError, match="between 1 and 63 tokens"):
        sample_completions(model, tokenizer, [[1] * 64], max_new_tokens=5)
    with pytest.raises(ConfigError, match="between 1 and 63 tokens"):
        sample_completions(model, tokenizer, [[]], max_new_tokens=5)


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"batch_size": 0}, {"max_new_tokens": 0}])
def test_settings_out_of_range_are_refused(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, wrong: dict[str, float]
) -> None:
    with pytest.raises(ConfigError, match="Sampling needs"):
        samples(model, tokenizer, **wrong)
