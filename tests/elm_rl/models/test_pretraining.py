"""Training learns the completions, keeps to its budget, repeats, and leaves what later stages need."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from elm_rl.corpus.corpus import CorpusConfig, run_corpus
from elm_rl.corpus.descriptions import Description, undescribed
from elm_rl.errors import ConfigError, ElmError
from elm_rl.judging.sample_quality import sample_programs
from elm_rl.models import supervised_training, training_progress
from elm_rl.models.language_model import load_language_model, make_model
from elm_rl.models.pretraining import Example, PretrainConfig, TrainConfig, TrainResult, run_pretrain, train_causal_lm
from elm_rl.models.tokenizer import encode_text, train_tokenizer
from tests.elm_rl.models.gguf_files import small_llama, small_tokenizer, write_gguf


def program(joints: int, amplitude: float) -> str:
    lines = ["def make_walker():", "    wc = walker_creator()", "    hub = wc.add_joint(5, 5)"]
    for k in range(joints):
        lines.append(f"    wc.add_muscle(wc.add_joint({k}, {k % 3}), hub, False, {amplitude}, {k / 4})")
    return "\n".join([*lines, "    return wc.get_walker()"]) + "\n"


def parses(text: str) -> bool:
    try:
        return bool(ast.parse(text).body)
    except SyntaxError:
        return False


PROGRAMS = [program(joints, amplitude / 4) for joints in range(2, 10) for amplitude in range(8)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    record = {"archive": "square", "iteration": 0, "operator": "gp", "fitness": 5.0, "height": 1.0, "width": 1.0}
    with open(folder / "admitted.jsonl", "w") as file:
        for number, text in enumerate(PROGRAMS):
            line = {
                **record,
                "id": number,
                "program": text,
                "mass": 1.0,
                "niche": number,
                "parent": None,
                "root": number,
            }
            file.write(json.dumps(line) + "\n")
    # No twin is dropped: these programs differ in the number of their lines, and a held-out part is wanted.
    run_corpus(CorpusConfig(evolution=(folder,), out=folder, held_out_percent=0))
    return folder


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(PROGRAMS, 400, context=64)


def examples_of(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[Example]:
    return [([1], [*encode_text(tokenizer, text), 2]) for text in texts]


def train(
    tokenizer: PreTrainedTokenizerBase, folder: Path, *, model: Any = None, examples: Any = None, **settings: Any
) -> tuple[Any, TrainResult]:
    model = make_model("0.1M", tokenizer, context=64) if model is None else model
    examples = examples_of(tokenizer, PROGRAMS) if examples is None else examples
    held_out = settings.pop("held_out", ())
    config = TrainConfig(**{"batch_size": 16, "learning_rate": 1e-2, **settings})
    return model, train_causal_lm(model, tokenizer, examples, folder, config, held_out=held_out)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_pretraining_learns_to_write_programs(corpus: Path, tmp_path: Path) -> None:
    config = PretrainConfig(
        corpus=corpus, out=tmp_path, size="0.1M", vocab_size=400, context=64, max_steps=150, batch_size=16,
        learning_rate=1e-2,
    )  # fmt: skip
    result = run_pretrain(config)
    assert result.train_loss < 1.0  # from about 6 nats untrained; the amplitude cannot be known, so not 0
    assert (result.steps, result.examples, result.too_long, result.held_out_loss) == (150, len(PROGRAMS), 0, None)
    model, tokenizer = load_language_model(tmp_path)
    samples = sample_programs(model, tokenizer, 40, temperature=0.7, seed=1)
    assert sum(parses(sample) and sample.endswith("    return wc.get_walker()\n") for sample in samples) > 20
    assert run_pretrain(config) == result  # a finished folder is reused


@pytest.mark.parametrize("lora_rank", [None, 4])
def test_pretraining_goes_on_from_a_pretrained_model(corpus: Path, tmp_path: Path, lora_rank: int | None) -> None:
    start = write_gguf(small_llama(small_tokenizer()), small_tokenizer(), tmp_path / "start.gguf")
    config = PretrainConfig(
        corpus=corpus, out=tmp_path / "out", start=str(start), lora_rank=lora_rank, max_steps=20, batch_size=8, context=700,
        learning_rate=1e-2,
    )  # fmt: skip
    result = run_pretrain(config)
    losses = [line["loss"] for line in metrics(tmp_path / "out") if "loss" in line]
    assert losses[-1] < losses[0] - 0.1
    model, tokenizer = load_language_model(tmp_path / "out")
    assert type(model) is LlamaForCausalLM
    assert tokenizer.get_vocab() == small_tokenizer().get_vocab()
    everything = sum(weights.numel() for weights in model.parameters())
    assert (result.parameters < everything / 2) == (lora_rank is not None)
    assert sample_programs(model, tokenizer, 2, seed=1)


@pytest.mark.parametrize("describe", ["ahead", "behind"])
def test_a_model_learns_what_walkers_are_like(corpus: Path, tmp_path: Path, describe: Any) -> None:
    run_pretrain(PretrainConfig(corpus=corpus, out=tmp_path / "model", size="0.1M", max_steps=200, describe=describe))
    model, tokenizer = load_language_model(tmp_path / "model")
    written = sample_programs(model, tokenizer, 16, temperature=0.5)
    described = [text for text in written if Description.read(text) == Description(1, 1, 0, 0)]
    assert len(described) >= 12
    line = Description(1, 1, 0, 0).line
    assert all((text.startswith if describe == "ahead" else text.endswith)(line) for text in described)
    assert all(
        undescribed(text) + (describe == "behind") * line in (text, text.removeprefix(line)) for text in described
    )


def test_a_finished_folder_is_not_trained_again_nor_overwritten(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"corpus": corpus, "out": tmp_path, "size": "0.1M", "vocab_size": 300, "max_steps": 2}
    result = run_pretrain(PretrainConfig(**settings))
    monkeypatch.setattr("elm_rl.models.pretraining.train_causal_lm", None)
    assert run_pretrain(PretrainConfig(**settings)) == result
    with pytest.raises(ElmError, match="trained with max_steps = 2, not 3"):
        run_pretrain(PretrainConfig(**{**settings, "max_steps": 3}))
    record = json.loads((corpus / "corpus.json").read_text())
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("train.parquet", "held_out.parquet"):
        (moved / name).write_bytes((corpus / name).read_bytes())
    (moved / "corpus.json").write_text(json.dumps(record))
    assert run_pretrain(PretrainConfig(**{**settings, "corpus": moved})) == result  # moved, but the same
    (moved / "corpus.json").write_text(json.dumps(record | {"fingerprint": "other"}))
    with pytest.raises(ElmError, match="corpus_fingerprint"):
        run_pretrain(PretrainConfig(**{**settings, "corpus": moved}))


def test_a_run_of_so_many_steps_repeats(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    runs = [train(tokenizer, tmp_path / str(i), max_steps=6, seed=seed) for i, seed in enumerate((3, 3, 4))]
    first, same, other = (model.state_dict()["lm_head.weight"] for model, _ in runs)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert runs[0][1].train_loss == runs[1][1].train_loss


def test_global_random_states_are_left_alone(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    train(tokenizer, tmp_path, max_steps=2)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert before == after


def test_prompts_are_given_and_not_learnt(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """Prompt tokens are random and completions fixed: the loss can reach 0 only if prompts have no part in it."""
    rng = np.random.default_rng(0)
    examples = [(rng.integers(4, 260, size=12).tolist(), [5, 6, 7, 2]) for _ in range(64)]
    _, result = train(tokenizer, tmp_path, examples=examples, max_steps=60)
    assert result.train_loss < 0.05


def test_prompts_may_hold_ids_beyond_the_vocabulary(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """A model whose input table is larger than its output learns to answer such an id, as the terrain codes need."""
    vocabulary = len(tokenizer)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    model.model.embed_tokens = torch.nn.Embedding(vocabulary + 2, 32)
    model.tie_weights = lambda *_, **__: None  # type: ignore[method-assign]
    examples = [([vocabulary + code, 1], [10 + code, 2]) for code in (0, 1)] * 8
    model, result = train(tokenizer, tmp_path, model=model, examples=examples, max_steps=60)
    assert result.train_loss < 0.05
    with torch.no_grad():
        answers = [int(model(torch.tensor([[vocabulary + code, 1]])).logits[0, -1].argmax()) for code in (0, 1)]
    assert answers == [10, 11]


@pytest.mark.parametrize("completion", [[], [5, 100_000]])
def test_a_completion_must_be_of_words(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, completion: list[int]
) -> None:
    with pytest.raises(ValueError, match="completion"):
        train(tokenizer, tmp_path, examples=[([1], completion)])


def test_padding_changes_nothing(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """The loss of short and long examples in one batch is the mean over their tokens, each computed alone."""
    examples = examples_of(tokenizer, [program(2, 0.5), program(9, 1.5)])
    model, result = train(tokenizer, tmp_path, examples=examples, held_out=examples, max_steps=1, learning_rate=1e-12)
    losses = []
    for prompt, completion in examples:
        ids = torch.tensor([[*prompt, *completion]])
        with torch.no_grad():
            scores = torch.log_softmax(model(ids).logits[0, :-1], dim=-1)
        losses += [-float(scores[i, token]) for i, token in enumerate(ids[0, 1:])]
    assert result.train_loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert result.held_out_loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert result.tokens == sum(len(p) + len(c) for p, c in examples)


def test_examples_beyond_the_context_are_left_out_and_counted(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    long = ([1], [5] * 64)
    _, result = train(tokenizer, tmp_path, examples=[*examples_of(tokenizer, PROGRAMS[:3]), long], max_steps=1)
    assert (result.examples, result.too_long) == (3, 1)
    with pytest.raises(ElmError, match="nothing to train on: 1 examples, of which 1"):
        train(tokenizer, tmp_path, examples=[long])


class Clock:
    """A clock that moves by a fixed time whenever somebody looks."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 0.0, tick

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now


def test_a_time_budget_ends_the_run_with_its_cosine(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_progress, "time", Clock(tick=0.25))
    _, result = train(tokenizer, tmp_path, max_seconds=20, max_epochs=1000)
    rates = [line["learning_rate"] for line in metrics(tmp_path) if "learning_rate" in line]
    assert 5 < result.steps < 80
    assert max(rates) > 0.9e-2
    assert rates.index(max(rates)) < len(rates) / 3
    assert rates[-1] < 0.1e-2
    assert rates[len(rates) // 2 :] == sorted(rates[len(rates) // 2 :], reverse=True)


def test_epochs_end_a_run_that_has_time_left(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    _, result = train(tokenizer, tmp_path, max_seconds=3600, max_epochs=1.5)
    assert (result.steps, result.epochs) == (6, 1.5)  # 64 programs, 16 a step


def test_steps_take_no_notice_of_the_clock(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_progress, "time", Clock(tick=1000.0))
    _, result = train(tokenizer, tmp_path, max_steps=5, max_seconds=1, max_epochs=1)
    assert result.steps == 5
    rates = [line["learning_rate"] for line in metrics(tmp_path) if "learning_rate" in line]
    assert len(set(rates)) == 5


def test_metrics_hold_both_losses_over_time(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    held_out = examples_of(tokenizer, PROGRAMS[:8])
    _, result = train(
        tokenizer, tmp_path, examples=examples_of(tokenizer, PROGRAMS[8:]), held_out=held_out, max_steps=20
    )
    lines = metrics(tmp_path)
    held = [(line["step"], line["eval_loss"]) for line in lines if "eval_loss" in line]
    assert [step for step, _ in held] == list(range(2, 21, 2))
    assert held[-1] == (20, result.held_out_loss)
    assert held[-1][1] < held[0][1]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 21))
    assert result.train_loss == [line["loss"] for line in lines if "loss" in line][-1]
    assert list((tmp_path / "tensorboard").iterdir())
    files = {path.name for path in tmp_path.iterdir()}
    assert not {"runs", "checkpoint-20", "trainer_state.json"} & files


def test_an_unfinished_run_leaves_no_mark_of_a_finished_one(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tokenizer, tmp_path, max_steps=1)
    assert (tmp_path / "training.json").is_file()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(supervised_training, "save_language_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tokenizer, tmp_path, max_steps=1)
    assert not (tmp_path / "training.json").exists()


def test_a_diverged_run_says_so(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    model = make_model("0.1M", tokenizer, context=64)
    with torch.no_grad():
        model.model.norm.weight.fill_(torch.nan)
    with pytest.raises(ElmError, match="diverged"):
        train(tokenizer, tmp_path, model=model, max_steps=1)


def test_an_output_folder_that_is_a_file_is_one_sentence(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ElmError, match="could not be written"):
        train(tokenizer, tmp_path / "file", max_steps=1)


@pytest.mark.parametrize(
    "wrong",
    [{"size": "3M"}, {"vocab_size": 100}, {"context": 4}, {"learning_rate": 0.0}, {"max_steps": 0}, {"max_seconds": -1.0},
     {"warmup": 1.0}, {"weight_decay": 2.0}, {"batch_size": 0}, {"max_epochs": float("nan")}, {"lora_rank": 4},
     {"lora_rank": 0, "start": "x"}, {"size": "5M", "start": "x"}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong)).replace("size", "size|model size")):
        PretrainConfig(**{"corpus": tmp_path, "out": tmp_path, **wrong})
