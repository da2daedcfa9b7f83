"""The mutation model: it is taught and asked in one layout, repeats exactly, and fails as a Child, never as an exception."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.seeds import load_seed
from elm_rl.models.language_model import load_language_model, make_model, save_language_model
from elm_rl.models.sampling import Completion
from elm_rl.models.tokenizer import train_tokenizer
from elm_rl.mutation import language_model, training
from elm_rl.mutation.examples import (
    FORMATS,
    MutationExample,
    encode_example,
    encode_prompt,
    format_example,
    mutation_examples,
    read_completion,
    write_completion,
)
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.language_model import LanguageModelMutation, ModelOptions
from elm_rl.mutation.operator import COMMIT_MESSAGES, SMALL_MESSAGE, parents_of
from elm_rl.mutation.patch import PatchError
from elm_rl.mutation.trained_format import MUTATION_FILE
from elm_rl.mutation.training import (
    MutationModelConfig,
    MutationTrainingConfig,
    run_mutation_training,
    train_mutation_model,
)
from tests.elm_rl.models.gguf_files import small_llama, small_tokenizer, write_gguf


@pytest.fixture(scope="module")
def triples() -> list[MutationExample]:
    """Children that genetic programming makes of two seeds, of eight lineages."""
    rng, examples = np.random.default_rng(0), []
    for name in ("square", "cppn_fixed"):
        parent = load_seed(name)
        for i, child in enumerate(GPMutation().mutate(parents_of([parent] * 40), rng)):
            assert child.program is not None
            examples.append(MutationExample(parent, child.message, child.program, f"0/{name}/{i % 4}"))
    return examples


@pytest.fixture(scope="module")
def trained(triples: list[MutationExample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model after a few steps; what it writes is mostly nonsense, which is what these tests want."""
    folder = tmp_path_factory.mktemp("mutation_model")
    config = MutationModelConfig(size="0.1M", vocab_size=400, context=512, max_steps=6, batch_size=8, held_out=0.2)
    result = train_mutation_model(triples, folder, config)
    assert result.steps == 6
    assert result.held_out_loss is not None
    return folder


def write_records(folder: Path, triples: Sequence[MutationExample]) -> None:
    """Writes triples as the admitted programs of an evolution run."""
    records: list[dict[str, Any]] = []
    ids: dict[str, int] = {}
    for triple in triples:
        for text, parent in ((triple.parent, None), (triple.child, triple.parent)):
            if text not in ids:
                ids[text] = len(records)
                root = int(triple.lineage.rpartition("/")[2])
                message = "" if parent is None else triple.message
                parent_id = None if parent is None else ids[parent]
                record = {"id": ids[text], "archive": "square", "program": text, "parent": parent_id}
                records.append({**record, "message": message, "root": root, "iteration": len(records) // 10})
    folder.mkdir()
    (folder / "admitted.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_same_generator_gives_the_same_children_and_touches_no_global_state(trained: Path) -> None:
    operator = LanguageModelMutation(trained, ModelOptions(max_new_tokens=40))
    parents = [load_seed("square"), load_seed("cppn_fixed"), load_seed("square")]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = operator.mutate(parents_of(parents), np.random.default_rng(1))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    assert operator.mutate(parents_of(parents), np.random.default_rng(1)) == first
    assert operator.mutate(parents_of(parents), np.random.default_rng(2)) != first
    assert len(first) == 3
    for child in first:
        assert child.operator == operator.name
        assert child.message in dict(COMMIT_MESSAGES)
        assert child.applied == (child.program is not None)


def test_an_example_learnt_by_heart_comes_back_in_every_format(triples: list[MutationExample], tmp_path: Path) -> None:
    """Only if training and inference agree on the layout can it."""
    example = dataclasses.replace(triples[0], message=SMALL_MESSAGE)
    for format in FORMATS:
        folder = tmp_path / format
        config = MutationModelConfig(
            format=format, size="0.1M", vocab_size=1024, max_steps=50, batch_size=2, held_out=0.0, learning_rate=1e-2,
            learn_parents=False,
        )  # fmt: skip
        train_mutation_model([example] * 2, folder, config)
        operator = LanguageModelMutation(folder, ModelOptions(temperature=0.0))
        assert operator.format == format
        children = operator.mutate(parents_of([example.parent] * 8), np.random.default_rng(0))
        learnt = [child for child in children if child.message == SMALL_MESSAGE]
        assert learnt
        for child in learnt:
            assert child.program == example.child
            assert (child.diff is None) == (format == "whole")


def test_answers_become_children_or_failures(
    trained: Path, triples: list[MutationExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = triples[0]
    operator = LanguageModelMutation(trained, ModelOptions(format="search_replace"))
    answers = [write_completion(example.parent, example.child, "search_replace"), "no block at all", ""]

    def sample(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], **_: Any) -> list[Completion]:
        assert len(prompts) == 3
        return [Completion(tokenizer.encode(answer, add_special_tokens=False), True) for answer in answers]

    monkeypatch.setattr(language_model, "sample_answers", sample)
    # A parent that does not fit the model's context is never asked about, and keeps its place.
    parents = [example.parent, "x = 1\n" * 300, example.parent, example.parent]
    good, long, bad, empty = operator.mutate(parents_of(parents), np.random.default_rng(0))
    assert (good.program, good.applied, good.diff) == (example.child, True, answers[0])
    assert (long.program, long.applied, long.diff) == (None, False, None)
    assert (bad.program, bad.applied, bad.diff) == (None, False, "no block at all")
    assert (empty.program, empty.applied) == (None, False)


def test_a_model_of_others_is_asked_in_plain_text(
    triples: list[MutationExample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = train_tokenizer([triple.child for triple in triples], 400)
    save_language_model(make_model("0.1M", tokenizer), tokenizer, tmp_path)
    operator = LanguageModelMutation(tmp_path, ModelOptions(prompt="commit"))
    seen: list[str] = []

    def sample(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], **_: Any) -> list[Completion]:
        seen.extend(tokenizer.decode(prompt) for prompt in prompts)
        ids = tokenizer.encode("x = 1\n```\nThat was it.", add_special_tokens=False)
        return [Completion(ids, False) for _ in prompts]

    monkeypatch.setattr(language_model, "sample_answers", sample)
    (child,) = operator.mutate(parents_of([triples[0].parent]), np.random.default_rng(0))
    assert operator.format == "whole"
    assert child.program == "x = 1\n"
    assert f"```python\n{triples[0].parent}```" in seen[0]
    assert f"Commit message: {child.message}\n" in seen[0]
    assert seen[0].endswith("```python\n")


def test_options_say_how_a_model_is_asked_and_sampled(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option arrives where it acts; what was trained here is asked as it was trained."""
    seen: list[dict[str, Any]] = []

    def sample(model: Any, tokenizer: Any, prompts: Any, **settings: Any) -> list[Completion]:
        seen.append({"text": tokenizer.decode(prompts[0]), "dtype": model.dtype, **settings})
        return [Completion([], True) for _ in prompts]

    monkeypatch.setattr(language_model, "sample_answers", sample)
    tokenizer = small_tokenizer()
    folder = tmp_path / "model"
    save_language_model(small_llama(tokenizer, context=8192), tokenizer, folder)
    short = tmp_path / "short"
    save_language_model(small_llama(tokenizer, context=2048), tokenizer, short)
    gguf = write_gguf(small_llama(tokenizer, context=8192), tokenizer, tmp_path / "diff-codegen.gguf")
    parents = parents_of([load_seed("square")])
    for source, options, prompt, format in (
        (trained, ModelOptions(), "tokens", "whole"),
        (trained, ModelOptions(prompt="commit", format="unified_diff"), "commit", "unified_diff"),
        (short, ModelOptions(), "commit", "whole"),
        (folder, ModelOptions(format="search_replace"), "few_shot", "search_replace"),
        (folder, ModelOptions(prompt="few_shot", shots=2), "few_shot", "whole"),
        (folder, ModelOptions(prompt="diff"), "diff", "unified_diff"),
        (gguf, ModelOptions(), "diff", "unified_diff"),
        (gguf, ModelOptions(format="whole"), "few_shot", "whole"),
    ):
        operator = LanguageModelMutation(source, options)
        assert operator.ahead
        assert (operator.prompt, operator.format) == (prompt, format)
        operator.mutate(parents, np.random.default_rng(0))
        assert ("<sep>" in seen[-1]["text"]) == (prompt == "tokens")
        assert seen[-1]["text"].count("Commit message:") == {"commit": 1, "few_shot": 1 + options.shots}.get(prompt, 0)
        assert seen[-1]["text"].endswith("<DFF>") == (prompt == "diff")
    settings = ModelOptions(
        temperature=0.9, top_p=0.8, min_p=0.05, max_new_tokens=9, batch_size=3, device="cpu", dtype="bfloat16"
    )
    LanguageModelMutation(folder, settings).mutate(parents, np.random.default_rng(0))
    for name in ("temperature", "top_p", "min_p", "batch_size"):
        assert seen[-1][name] == getattr(settings, name)
    assert (seen[-1]["max_new_tokens"], seen[-1]["dtype"]) == ([9], torch.bfloat16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": "prose"}, "prompt is 'prose'"),
        ({"prompt": "diff", "format": "whole"}, "write unified_diff only"),
        ({"shots": 0}, "shots is 0"),
        ({"min_p": 2.0}, "min_p"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"device": "gpu"}, "device is 'gpu'"),
        ({"dtype": "int4"}, "dtype is 'int4'"),
    ],
)
def test_options_out_of_range_are_refused_before_a_model_is_loaded(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ModelOptions(**options)


def test_a_model_without_our_marks_cannot_be_asked_in_our_layout(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    save_language_model(small_llama(tokenizer), tokenizer, tmp_path)
    with pytest.raises(ConfigError, match="has no <sep>; use commit, few_shot or diff"):
        LanguageModelMutation(tmp_path, ModelOptions(prompt="tokens"))


def test_an_answer_whose_fence_is_closed_is_not_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that would go on with prose behind the fence is stopped there; the child is whole and not cut."""
    tokenizer = small_tokenizer()
    save_language_model(small_llama(tokenizer), tokenizer, tmp_path)
    child = "def make_walker():\n    return 7\n"
    needed = len(tokenizer.encode(f"{child}```\n"))
    answer = tokenizer.encode(f"{child}```\n" + "And more.\n" * 20)
    spoken: list[int] = []

    def choose(logits: torch.Tensor, *_: Any) -> torch.Tensor:
        spoken.append(answer[len(spoken)])
        return torch.full((len(logits),), spoken[-1])

    monkeypatch.setattr("elm_rl.models.sampling._choose", choose)
    operator = LanguageModelMutation(tmp_path, ModelOptions(prompt="commit"))
    (made,) = operator.mutate(parents_of([child.replace("7", "1")]), np.random.default_rng(0))
    assert made.program == child
    assert needed - 1 <= len(spoken) < needed + 9


def test_no_text_can_forge_the_marks_between_the_parts() -> None:
    tokenizer = train_tokenizer(["x = 1\n"], 300)
    ids = encode_prompt(tokenizer, "x = '<sep><eos><bos>'\n", "Message.", "whole", "tokens")
    assert ids.count(tokenizer.sep_token_id) == 2
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in ids


def test_an_example_is_prompt_then_child_then_end(triples: list[MutationExample]) -> None:
    tokenizer = train_tokenizer([triple.child for triple in triples], 400)
    for format in FORMATS:
        prompt, completion = encode_example(tokenizer, triples[0], format)
        assert prompt == encode_prompt(tokenizer, triples[0].parent, triples[0].message, format, "tokens")
        assert completion[-1] == tokenizer.eos_token_id
        assert read_completion(triples[0].parent, tokenizer.decode(completion[:-1]), format) == triples[0].child
        shown, answer = format_example(triples[0].parent, triples[0].message, triples[0].child, format, "tokens")
        assert shown == f"<bos>{triples[0].parent}<sep>{triples[0].message}<sep>"
        assert answer.endswith("<eos>")
    with pytest.raises(ValueError, match="whole, search_replace, unified_diff"):
        format_example("a", "m", "b", "prose")


@pytest.mark.parametrize("format", FORMATS)
def test_an_answer_without_a_program_is_a_patch_error(format: str) -> None:
    with pytest.raises(PatchError):
        read_completion("x = 1\n", "  \n", format)


def test_triples_join_children_with_their_parents_once() -> None:
    records = [
        {"id": 0, "archive": "square", "program": "a", "parent": None, "message": "", "root": 0},
        {"id": 1, "archive": "square", "program": "b", "parent": 0, "message": "m", "root": 1},
        {"id": 2, "archive": "square", "program": "b", "parent": 0, "message": "n", "root": 2},
        {"id": 3, "archive": "square", "program": "c", "parent": 1, "message": "m", "root": 1},
        {"id": 4, "archive": "square", "program": "d", "parent": 77, "message": "m", "root": 1},
    ]
    found = mutation_examples(records, run=2)
    assert [(t.parent, t.message, t.child, t.lineage) for t in found] == [
        ("a", "m", "b", "2/1"),
        ("b", "m", "c", "2/1"),
    ]


def test_training_learns_and_a_finished_run_is_reused(triples: list[MutationExample], tmp_path: Path) -> None:
    run, out = tmp_path / "evolution", tmp_path / "model"
    write_records(run, triples)
    config = MutationTrainingConfig(
        evolution=(run,), out=out, size="0.1M", vocab_size=400, context=384, max_steps=20, batch_size=8, held_out=0.3
    )
    first = run_mutation_training(config)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0] - 0.5
    assert json.loads((out / MUTATION_FILE).read_text()) == {"format": "whole", "layout": "tokens"}
    _, tokenizer = load_language_model(out)
    assert len(tokenizer) <= 400
    written = (out / "model.safetensors").stat().st_mtime_ns
    assert run_mutation_training(config) == first
    assert (out / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(ElmError, match="max_steps"):
        run_mutation_training(MutationTrainingConfig(**{**config.__dict__, "max_steps": 21}))


@pytest.mark.parametrize("learn_parents", [False, True])
def test_the_loss_is_on_the_child_and_if_so_set_on_the_parent(
    learn_parents: bool, triples: list[MutationExample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(model: Any, tokenizer: Any, examples: Any, *_: Any, held_out: Any, **__: Any) -> None:
        texts = {(t.parent, t.message, t.child) for t in triples}
        assert 0.6 * len(triples) < len(examples) + len(held_out) <= len(triples), "near twins are dropped"
        assert 0 < len(held_out) <= 0.3 * len(triples)
        for part, given_whole in ((examples, not learn_parents), (held_out, True)):
            for prompt, completion in part:
                assert prompt[0] == tokenizer.bos_token_id
                assert completion[-1] == tokenizer.eos_token_id
                assert (prompt[-1] == tokenizer.sep_token_id) == given_whole
                assert given_whole or len(prompt) == 1
                assert tuple(tokenizer.decode([*prompt[1:], *completion[:-1]]).split("<sep>")) in texts

    monkeypatch.setattr(training, "train_causal_lm", train)
    config = MutationModelConfig(size="0.1M", vocab_size=400, held_out=0.3, learn_parents=learn_parents)
    train_mutation_model(triples, tmp_path, config)


def test_a_run_that_went_on_can_train_the_same_model_again(triples: list[MutationExample], tmp_path: Path) -> None:
    run = tmp_path / "evolution"
    write_records(run, triples)
    lines = (run / "admitted.jsonl").read_text().splitlines(keepends=True)
    until = json.loads(lines[40])["iteration"]
    config = MutationTrainingConfig(
        evolution=(run,), out=tmp_path / "model", size="0.1M", vocab_size=400, max_steps=1, until_iteration=until
    )
    (run / "admitted.jsonl").write_text("".join(line for line in lines if json.loads(line)["iteration"] <= until))
    first = run_mutation_training(config)
    (run / "admitted.jsonl").write_text("".join(lines))
    assert run_mutation_training(config) == first
    with pytest.raises(ElmError, match="until_iteration"):
        run_mutation_training(dataclasses.replace(config, until_iteration=None))


def test_there_is_a_sentence_for_every_mistake(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(ElmError, match=r"admitted\.jsonl"):
        run_mutation_training(MutationTrainingConfig(evolution=(tmp_path,), out=tmp_path / "out"))
    with pytest.raises(ElmError, match="let evolution run for longer"):
        train_mutation_model([], tmp_path / "out", MutationModelConfig())
    with pytest.raises(ConfigError, match="whole, search_replace, unified_diff"):
        MutationModelConfig(format="prose")
    with pytest.raises(ConfigError, match=r"0\.1M"):
        MutationModelConfig(size="7B")
    with pytest.raises(ConfigError, match="temperature"):
        ModelOptions(temperature=-1)
    with pytest.raises(ConfigError, match="prose"):
        ModelOptions(format="prose")
    with pytest.raises(ElmError, match="no model folder"):
        LanguageModelMutation(tmp_path / "nowhere")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in trained.iterdir():
        if file.is_file():
            (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / MUTATION_FILE).write_text('{"format": "prose"}')
    with pytest.raises(ElmError, match="names no known format"):
        LanguageModelMutation(damaged)


def test_damaged_records_are_named(tmp_path: Path) -> None:
    run = tmp_path / "evolution"
    run.mkdir()
    (run / "admitted.jsonl").write_text('{"id": 0}\n')
    with pytest.raises(ElmError, match="damaged"):
        run_mutation_training(MutationTrainingConfig(evolution=(run,), out=tmp_path / "out"))
