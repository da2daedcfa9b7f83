"""Questions are asked as each kind of model knows them, examples are real improvements, and answers are read in kind."""

from __future__ import annotations

import pytest

from elm_rl.errors import ConfigError
from elm_rl.mutation.examples import FORMATS, read_completion
from elm_rl.mutation.operator import COMMIT_MESSAGES
from elm_rl.mutation.patch import make_unified_diff
from elm_rl.mutation.questions import (
    SHOWN,
    check_question,
    encode_question,
    is_diff_model,
    may_be_complete,
    read_answer,
    write_question,
)
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.making import make_terrain
from tests.elm_rl.models.gguf_files import small_tokenizer

PARENT = "def make_walker():\n    size = 1\n    return size\n"
CHILD = "def make_walker():\n    size = 7\n    return size\n"
MESSAGES = [message for message, _ in COMMIT_MESSAGES]


def test_each_message_has_an_example_that_walks_farther_afterwards() -> None:
    assert {shown.message for shown in SHOWN} == set(MESSAGES)
    for shown in SHOWN:
        assert [shown.before().count(old) for old, _ in shown.changes] == [1] * len(shown.changes)
    with Evaluator(n_jobs=1) as evaluator:
        before, after = (
            evaluator.evaluate(programs, make_terrain("Flat"))
            for programs in ([shown.before() for shown in SHOWN], [shown.after() for shown in SHOWN])
        )
    for old, new in zip(before, after, strict=True):
        assert new.error is None
        assert new.fitness > old.fitness + 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("message", MESSAGES)
def test_examples_are_commits_in_the_same_format_and_the_one_with_the_same_message_is_nearest(
    format: str, message: str
) -> None:
    question = write_question(PARENT, message, format, "commit")
    for shots in (1, 2, 3):
        text = write_question(PARENT, message, format, "few_shot", shots)
        assert text.endswith("```\n\n" + question)
        assert text.count("Commit message:") == shots + 1
        parts = text.removesuffix("\n" + question).split("The file walker.py before the commit:\n```python\n")[1:]
        assert len(parts) == shots
        nearest = next(shown for shown in SHOWN if shown.message == message)
        assert f"Commit message: {message}\n" in parts[-1]
        assert parts[-1].startswith(nearest.before().rstrip())
        answer = parts[-1].split(":\n```", 1)[1].split("\n", 1)[1]
        read = read_answer(answer, format, "few_shot", ended=False)
        assert read.complete
        assert read_completion(nearest.before(), read.text, format) == nearest.after()


def test_diff_models_are_asked_and_read_in_their_published_format() -> None:
    assert write_question(PARENT, "Fixed bugs", "unified_diff", "diff") == (
        f"<NME> walker.py\n<BEF> {PARENT}<MSG> Fixed bugs\n<DFF>"
    )
    diff = make_unified_diff(PARENT, CHILD)
    for answer, ended in (
        (f" {diff}\n", True),
        (f" {diff}\n<NME> other.py\n<BEF> x", False),
        (f"\n{diff}\n\\ No newline at end of file\n<NME>", False),
        (f"<DFF> {diff}", True),
        (f" {diff}".replace("@@ -1,3 +1,3 @@", "@@ -4,9 +2,1 @@ def make_walker():").replace("\n", "\r\n"), True),
    ):
        read = read_answer(answer, "unified_diff", "diff", ended=ended)
        assert read.complete
        assert read_completion(PARENT, read.text, "unified_diff") == CHILD
    assert not read_answer(f" {diff}", "unified_diff", "diff", ended=False).complete
    assert read_answer("", "unified_diff", "diff", ended=True).text == ""


def test_only_what_could_end_an_answer_is_looked_into() -> None:
    assert may_be_complete("x = 1\n```\n", "commit")
    assert not may_be_complete("x = 1\n", "few_shot")
    assert may_be_complete(" @@ -1 +1 @@\n-a\n+b\n<NME> x", "diff")
    assert not may_be_complete(" @@ -1 +1 @@\n-a\n+b\n", "diff")


def test_diff_models_are_known_by_name_or_vocabulary() -> None:
    tokenizer = small_tokenizer()
    assert is_diff_model("CarperAI/diff-codegen-2b-v2", tokenizer)
    assert not is_diff_model("Salesforce/codegen-2B-mono", tokenizer)
    tokenizer.add_tokens(["<DFF>"])
    assert is_diff_model("some/folder", tokenizer)


def test_the_beginning_that_a_tokenizer_gives_every_text_begins_every_question() -> None:
    tokenizer = small_tokenizer()
    for prompt, format in (("commit", "whole"), ("few_shot", "whole"), ("diff", "unified_diff")):
        ids = encode_question(tokenizer, PARENT, MESSAGES[0], format, prompt)
        assert tokenizer.decode(ids) == write_question(PARENT, MESSAGES[0], format, prompt)


@pytest.mark.parametrize(
    ("prompt", "format", "shots", "words"),
    [
        ("prose", "whole", 1, "prompt is 'prose'"),
        ("commit", "prose", 1, "format is 'prose'"),
        ("diff", "whole", 1, "write unified_diff only"),
        ("few_shot", "whole", 4, "shots is 4"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(prompt: str, format: str, shots: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_question(prompt, format, shots)
