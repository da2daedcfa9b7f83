"""Answers of pretrained models: the program is found in whatever surrounds it, and what was cut is not taken for whole."""

from __future__ import annotations

import pytest

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation.answers import find_answer
from elm_rl.mutation.examples import FORMATS, read_completion, write_completion

PROGRAM = load_seed("square").rstrip("\n")
OTHER = load_seed("radial").rstrip("\n")

# Each holds PROGRAM once; what a model was cut in is in test_cut_answers.
SHAPES = {
    "straight on": "{}\n```\n",
    "straight on, then a story": "{}\n```\nThat was it.\n\nCommit message: more\n```python\n" + OTHER + "\n```\n",
    "fence behind the last line": "{}```",
    "no fence": "{}",
    "a fence of its own": "```python\n{}\n```",
    "a bare fence of its own": "```\n{}\n```",
    "a fence opened twice": "```\n```python\n{}\n```\n",
    "prose and a fence": "Sure! Here is the changed file:\n\n```python\n{}\n```\n\nI made the body - and its joints - larger.",
    "a closed fence first": "```\n\nHere is the file after the commit:\n\n```py\n{}\n```\nDone.",
    "tildes": "~~~python\n{}\n~~~",
    "windows": "```python\r\n{}\r\n```\r\n",
    "two drafts": "First try:\n```python\n" + OTHER + "\n```\nBetter:\n```python\n{}\n```\n",
    "prose without a fence": "Here is the file after the commit:\n\n{}\n\nThis version is larger than before.",
    "an end mark": "{}<|im_end|>",
    "an end mark on its own line, and another turn": "{}\n<|im_end|>\n<|im_start|>user\nThanks!",
    "a fence and an end mark": "```python\n{}\n```<|eot_id|>",
    "an end mark of another kind": "{}\n</s>",
    "thoughts": "<think>\nA body is x = 1.\n```python\nx = 2\n```\n</think>\n```python\n{}\n```",
    "thoughts that the prompt began": "Let me think: x = 1\n</think>\n\n{}\n```",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ended", [True, False])
def test_the_program_is_found(shape: str, ended: bool) -> None:
    answer = find_answer(
        SHAPES[shape].format(PROGRAM.replace("\n", "\r\n") if shape == "windows" else PROGRAM), "whole", ended=ended
    )
    told = ended or shape not in ("no fence", "prose without a fence")
    assert answer.complete == told
    if told:
        assert read_completion("", answer.text, "whole").strip("\n") == PROGRAM


@pytest.mark.parametrize("seed", SEED_NAMES)
def test_a_program_alone_is_left_as_it_is(seed: str) -> None:
    assert find_answer(load_seed(seed), "whole", ended=True) == (load_seed(seed), True)


@pytest.mark.parametrize("text", ["def make_walker(:\n    return 1\n", "Sorry, I cannot do that.\n", "", "x = 'ü\0'\n"])
def test_what_is_no_program_is_left_to_the_sandbox(text: str) -> None:
    assert find_answer(text, "whole", ended=True) == (text, True)


@pytest.mark.parametrize(
    "text",
    [
        PROGRAM,
        PROGRAM[: len(PROGRAM) // 2],
        "```python\n" + PROGRAM,
        "Sure:\n```python\n" + PROGRAM[: len(PROGRAM) // 2],
        "The file was:\n```python\n" + OTHER + "\n```\nNow it is:\n```python\n" + PROGRAM[: len(PROGRAM) // 2],
        "<think>\nI could write\n```python\nx = 1\n```\nor",
        "Here is the",
    ],
)
def test_cut_answers_are_not_complete(text: str) -> None:
    assert not find_answer(text, "whole", ended=False).complete


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", ["straight on", "a fence of its own", "prose and a fence", "a fence and an end mark"])
def test_patches_are_found_too(format: str, shape: str) -> None:
    child = PROGRAM.replace("5.0", "6.5") + "\n"
    parent = PROGRAM + "\n"
    assert child != parent
    text = SHAPES[shape].format(write_completion(parent, child, format).rstrip("\n"))
    answer = find_answer(text, format, ended=False)
    assert answer.complete
    assert read_completion(parent, answer.text, format) == child


def test_patches_in_several_fences_are_one() -> None:
    parent = "a = 1\nb = 2\nc = 3\n"
    blocks = [
        write_completion(parent, parent.replace(old, new), "search_replace") for old, new in (("1", "7"), ("3", "9"))
    ]
    text = f"First:\n```\n{blocks[0]}\n```\nSecond:\n```\n{blocks[1]}\n```\n"
    answer = find_answer(text, "search_replace", ended=True)
    assert read_completion(parent, answer.text, "search_replace") == "a = 7\nb = 2\nc = 9\n"
