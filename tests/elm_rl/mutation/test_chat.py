"""Chat models are asked through their own template, stop at the end of their turn, and fail as a Child or in one sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.seeds import load_seed
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.mutation.chat import ChatMutation, ChatOptions
from elm_rl.mutation.local_model import LocalModel
from elm_rl.mutation.operator import COMMIT_MESSAGES, CUT, TOO_LONG, Child, FailedAttempt, Outcome, Parent
from elm_rl.mutation.prompts import SYSTEM
from elm_rl.mutation.specs import make_operators
from tests.elm_rl.models import gguf_files
from tests.elm_rl.mutation.talking_models import (
    CHAT_TEMPLATE,
    END_OF_TURN,
    GENERATION_PROMPT,
    babbler,
    line_tokenizer,
    parrot,
)

SQUARE = load_seed("square")
CHILD = "def make_walker():\n    wc = walker_creator()\n    a = wc.add_joint(0, 0)\n    b = wc.add_joint(4, 7)\n" + (
    "    wc.add_muscle(a, b, False, 1.5, 0.5)\n    return wc.get_walker()\n"
)
ANSWER = f"Sure, here it is:\n```python\n{CHILD}```\nI hope that it walks.{END_OF_TURN}\n"
PARENT = Parent(SQUARE, 3, 4.0, {"height": 10.0, "width": 10.0, "mass": 40.0})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model that always makes the same change; none of its settings names what ends a turn."""
    folder = tmp_path_factory.mktemp("chat") / "model"
    return parrot(line_tokenizer(ANSWER, others=[SYSTEM, SQUARE]), [GENERATION_PROMPT + ANSWER + "Thanks."], folder)


def untaught(folder: Path, template: str | None = CHAT_TEMPLATE, context: int = 8192) -> Path:
    return babbler(line_tokenizer(ANSWER, template, [SYSTEM, SQUARE]), folder, context)


class Asked:
    """Keeps what an operator asks and how long it lets the answer be, and answers nothing."""

    def __init__(self, operator: ChatMutation) -> None:
        self.questions: list[str] = []
        self.limits: list[int] = []
        self._decode = operator._local.tokenizer.decode
        operator._local.answers = self.answers  # type: ignore[method-assign]

    def answers(self, questions: list[list[int]], limits: list[int], seed: int, **_: Any) -> list[Any]:
        self.questions = [self._decode(question) for question in questions]
        self.limits = list(limits)
        return [None] * len(limits)


def test_a_chat_model_changes_programs_and_stops_at_the_end_of_its_turn(model: Path) -> None:
    operator = ChatMutation(str(model), ChatOptions(temperature=0.0, batch_size=2))
    children = operator.mutate([PARENT] * 3, np.random.default_rng(0))
    assert [(child.program, child.operator) for child in children] == [(CHILD, "chat")] * 3
    # Not even what follows the turn is written.
    question = operator._question(PARENT, COMMIT_MESSAGES[0][0], "")
    (answer,) = operator._local.answers([question], [400], seed=0)
    assert answer == (ANSWER.removesuffix(f"{END_OF_TURN}\n"), True)
    (cut,) = ChatMutation(str(model), ChatOptions(temperature=0.0, max_new_tokens=4)).mutate(
        [PARENT], np.random.default_rng(0)
    )
    assert (cut.program, cut.failure) == (None, CUT)


def test_children_depend_on_the_seed_alone(tmp_path: Path) -> None:
    folder = str(untaught(tmp_path))
    written: list[list[Any]] = []
    for batch_size in (1, 3):
        operator = ChatMutation(
            folder, ChatOptions(temperature=1.0, min_p=0.01, batch_size=batch_size, max_new_tokens=20)
        )
        question = operator._question(PARENT, COMMIT_MESSAGES[0][0], "")
        written.append([*operator._local.answers([question] * 3, [20, 9, 20], seed=5)])
        assert operator._local.answers([question], [20], seed=6)[0] not in written[-1]
        children = operator.mutate([PARENT] * 2, np.random.default_rng(1))
        assert [(child.program, child.failure) for child in children] == [(None, CUT)] * 2
    assert written[0] == written[1]
    assert len({text for text, _ in written[0]}) == 3


def test_the_answer_may_be_twice_as_long_as_the_program_in_the_models_tokens(tmp_path: Path) -> None:
    folder = str(untaught(tmp_path))
    operator = ChatMutation(folder)
    asked = Asked(operator)
    length = len(operator._local.tokenizer.encode(SQUARE, add_special_tokens=False))
    failed = dataclasses.replace(PARENT, failed=FailedAttempt(SQUARE * 2, "syntax_error: line 1."))
    operator.mutate([PARENT, failed], np.random.default_rng(0))
    assert asked.limits[0] == 2 * length + 128
    assert asked.limits[1] >= 4 * length
    assert "It fails: syntax_error: line 1." in asked.questions[1]
    assert asked.questions[0].endswith("<|im_start|>assistant\n<think>\n\n</think>\n")
    thinking = ChatMutation(folder, ChatOptions(think=True))
    asked = Asked(thinking)
    thinking.mutate([PARENT], np.random.default_rng(0))
    assert asked.questions[0].endswith("<|im_start|>assistant\n")
    assert asked.limits[0] > 2000


def test_what_does_not_fit_the_context_is_not_asked(tmp_path: Path) -> None:
    wide = ChatMutation(str(untaught(tmp_path / "wide")))
    middling = Parent("x = 1\n" * 30)
    question = wide._question(middling, COMMIT_MESSAGES[0][0], "")
    context = len(question) + len(wide._local.tokenizer.encode(middling.program)) + 40
    folder = untaught(tmp_path / "narrow", context=context)
    operator = ChatMutation(str(folder), ChatOptions(memory=True, memory_every=1))
    long = Parent("x = 1\n" * 900)
    (child,) = operator.mutate([long], np.random.default_rng(0))
    assert (child.program, child.failure) == (None, TOO_LONG)
    operator.check_parents([long.program, SQUARE])
    with pytest.raises(ElmError, match=f"reads {context} tokens, and the shortest of the questions"):
        operator.check_parents([long.program])
    # Rather without memory than not at all.
    asked = Asked(operator)
    operator.learn([Outcome(PARENT, Child(CHILD, "chat", "m"), None, "", 9.0, {"height": 7.0}, True, 5.0)])
    operator.mutate([PARENT, middling, long], np.random.default_rng(0))
    assert ["distance 4 before and 9 after" in text for text in asked.questions] == [True, False, False]
    assert [limit > 0 for limit in asked.limits] == [True, True, False]


def test_memory_is_told_and_kept(tmp_path: Path) -> None:
    folder = str(untaught(tmp_path))
    operator = ChatMutation(folder, ChatOptions(memory=True, memory_every=2))
    asked = Asked(operator)
    mistake = Outcome(PARENT, Child("x", "chat", "m"), "no_make_walker", "no_make_walker: there is no make_walker().")
    operator.learn([mistake])
    operator.mutate([PARENT], np.random.default_rng(0))
    assert "there is no make_walker()" not in asked.questions[0]
    # What is known when children are asked for is what is told, however late they are made.
    children = operator.children([PARENT], np.random.default_rng(0))
    operator.learn([mistake])
    next(children)
    assert "there is no make_walker()" not in asked.questions[0]
    other = ChatMutation(folder, ChatOptions(memory=True, memory_every=2))
    asked = Asked(other)
    other.restore(operator.state())
    other.mutate([PARENT], np.random.default_rng(0))
    assert "there is no make_walker()" in asked.questions[0]
    without = ChatMutation(folder)
    without.learn([mistake])
    without.restore(operator.state())
    assert without.state() == {}


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('No system') }}{% endif %}" + CHAT_TEMPLATE,
        CHAT_TEMPLATE.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"),
    ],
)  # fmt: skip
def test_models_without_system_messages_are_told_all_the_same(template: str, tmp_path: Path) -> None:
    operator = ChatMutation(str(untaught(tmp_path, template)))
    asked = Asked(operator)
    operator.mutate([PARENT], np.random.default_rng(0))
    assert "<|im_start|>user\nYou change programs that describe walkers" in asked.questions[0]
    assert "Commit message:" in asked.questions[0]


def test_what_cannot_work_is_one_sentence_before_anything_is_written(tmp_path: Path) -> None:
    folders = {
        "has no chat template, so it is no chat model; give it as model:": untaught(tmp_path / "base", None),
        "cannot be used: it leaves out what is said": untaught(tmp_path / "deaf", "{{ messages[0].role }}"),
        "cannot be used: Only cats": untaught(tmp_path / "cats", "{{ raise_exception('Only cats.') }}"),
        "reads 64 tokens": untaught(tmp_path / "short", context=64),
    }
    out = tmp_path / "run"
    for words, folder in folders.items():
        with pytest.raises(ElmError, match=words) as caught:
            run_evolve(
                EvolveConfig(out=out, seeds=("square",), operators=(f"chat:{folder}",), iterations=0, progress=False)
            )
        assert "\n" not in str(caught.value)
        assert not out.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "prose"}, {"parents": 0}, {"parents": 9}, {"memory_every": 0}, {"temperature": -1.0}, {"top_p": 0.0},
        {"min_p": 1.5}, {"max_new_tokens": 0}, {"batch_size": 0}, {"device": "toaster"}, {"dtype": "int3"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ChatOptions(**wrong)


def test_a_run_is_mixed_in_one_command(model: Path, tmp_path: Path) -> None:
    name = f"chat:{model},name=small,temperature=0,repair=on,memory=on,memory_every=1,parents=2,device=cpu"
    (operator,) = make_operators([name])
    assert (operator.name, operator.repairs, operator.ahead, operator.parents_per_child) == ("small", True, True, 2)
    config = EvolveConfig(
        out=tmp_path / "run", seeds=("square",), operators=("gp", f"{name},max_new_tokens=150"), shares=(1.0, 1.0),
        iterations=2, batch_size=6, duration=0.5, n_jobs=1, progress=False,
    )  # fmt: skip
    run_evolve(config)
    log = pd.read_json(tmp_path / "run" / "children.jsonl.gz", lines=True)
    assert {"gp", "small"} <= set(log["operator"])
    first = log[(log["operator"] == "small") & (log["iteration"] == 1)]
    assert len(first) > 0


def test_what_fails_comes_back_with_its_error_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ANSWER.replace("return wc.get_walker()", "return wc.get_runner()")
    folder = parrot(line_tokenizer(broken, others=[SYSTEM, SQUARE]), [GENERATION_PROMPT + broken], tmp_path / "model")
    asked: list[str] = []
    answers = LocalModel.answers

    def kept(self: LocalModel, questions: Sequence[list[int]], *arguments: Any, **named: Any) -> Any:
        asked.extend(self.tokenizer.decode(question) for question in questions)
        return answers(self, questions, *arguments, **named)

    monkeypatch.setattr(LocalModel, "answers", kept)
    config = EvolveConfig(
        out=tmp_path / "run", seeds=("square",), iterations=4, batch_size=2, duration=0.5, n_jobs=1, progress=False,
        operators=(f"chat:{folder},temperature=0,repair=on,memory=on,memory_every=1",),
    )  # fmt: skip
    summary = run_evolve(config)
    assert sum(summary["errors"].values()) == 8
    repairs = [text for text in asked if "It fails:" in text]
    assert 0 < len(repairs) < len(asked)
    assert all("get_runner" in text for text in repairs)
    assert "Mistakes to avoid" in asked[-1]
    assert "Mistakes to avoid" not in asked[0]


def test_a_gguf_file_is_asked_through_the_template_in_it(tmp_path: Path) -> None:
    tokenizer = gguf_files.small_tokenizer()
    file = gguf_files.write_gguf(gguf_files.small_llama(tokenizer, 16_384), tokenizer, tmp_path / "tiny.gguf")
    operator = ChatMutation(str(file), ChatOptions(max_new_tokens=3, dtype="float32", device="cpu"))
    operator.check_parents([SQUARE])
    question = operator._local.tokenizer.decode(operator._question(PARENT, COMMIT_MESSAGES[0][0], ""))
    assert question.startswith("<|im_start|>system\nYou change programs")
    assert "<|im_end|>\n<|im_start|>user\n" in question
    (child,) = operator.mutate([PARENT], np.random.default_rng(0))
    assert child.failure == CUT
