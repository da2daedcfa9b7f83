"""How a model is asked for a child, by what kind of model it is, and how its answer is read.

- ``tokens``: our own mutation models, in the layout they were trained on (:mod:`elm_rl.mutation.examples`);
- ``commit``: any model, as a file before and after a commit;
- ``chat``: the same in the model's chat template, for models that were taught so;
- ``few_shot``: the same after some commits that were done already, which show what is wanted;
- ``diff``: diff models such as CarperAI's diff-codegen, in the format they were published with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elm_rl.errors import ConfigError
from elm_rl.mutation.answers import Answer, find_answer
from elm_rl.mutation.examples import (
    CHAT,
    FORMATS,
    PLAIN,
    TOKENS,
    UNIFIED_DIFF,
    encode_prompt,
    format_example,
    plain_ids,
    plain_prompt,
)
from elm_rl.mutation.operator import FUNCTION_MESSAGE, PARAMETERS_MESSAGE, SMALL_MESSAGE
from sodarace_gym.walkers.library import load_walker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_STEPPING = "        wc.add_muscle(rim[k], hub, False, 3.0, 6.28 * k / 8)"

COMMIT, FEW_SHOT, DIFF = "commit", "few_shot", "diff"
PROMPTS = (TOKENS, COMMIT, CHAT, FEW_SHOT, DIFF)

_LAYOUTS = {TOKENS: TOKENS, COMMIT: PLAIN, CHAT: CHAT}  # of the prompts that models are trained on


@dataclass(frozen=True)
class Shown:
    """A commit that is shown as an example: some changes to a walker of the library, which make it walk farther.

    Attributes:
        walker: Its name in the library.
        message: The commit message.
        changes: Texts that occur once in the program, and what stands there afterwards.
    """

    walker: str
    message: str
    changes: tuple[tuple[str, str], ...]

    def before(self) -> str:
        """The program before the commit."""
        return load_walker(self.walker)

    def after(self) -> str:
        """The program after it."""
        text = self.before()
        for old, new in self.changes:
            text = text.replace(old, new, 1)
        return text


SHOWN: tuple[Shown, ...] = (
    Shown(
        "radial",
        FUNCTION_MESSAGE,
        (("        wc.add_muscle(rim[k], hub, False, k / 8, k / 8)", _STEPPING),),
    ),
    Shown("worm", SMALL_MESSAGE, (("False, 0.6, 3.1", "False, 0.8, 3.1"), ("False, 0.5, -1.9", "False, 0.8, -1.9"))),
    Shown("wheel", PARAMETERS_MESSAGE, (("-8.0, 9.0", "-8.0, 11.0"), ("False, 3.0,", "False, 4.0,"))),
)
"""One commit a message. Walkers of the library because they are short, work from the first iteration on and are the same in
every run; elites of the run would have to be found first, and say nothing about how one becomes another."""

_FILE = "walker.py"
_AGAIN = re.compile(r"\A\s*<DFF>")  # some models begin with the last word of the question
# What begins the parts of a text in the published format, and so also the next text after an answer.
_PART = re.compile(r"\s*<(?:NME|BEF|MSG|DFF)>")


def check_question(prompt: str, format: str, shots: int) -> None:
    """Whether a kind of question, a format and a number of examples go together.

    Raises:
        ConfigError: They do not, or there is no such thing.
    """
    if prompt not in PROMPTS:
        raise ConfigError(f"prompt is {prompt!r}; expected one of {', '.join(PROMPTS)}.")
    if format not in FORMATS:
        raise ConfigError(f"format is {format!r}; expected one of {', '.join(FORMATS)}.")
    if prompt == DIFF and format != UNIFIED_DIFF:
        raise ConfigError(
            f"format is {format!r}; models that are asked with prompt = {DIFF} write {UNIFIED_DIFF} only."
        )
    if not 1 <= shots <= len(SHOWN):
        raise ConfigError(f"shots is {shots}; expected 1 to {len(SHOWN)} examples.")


def prompt_for(layout: str) -> str:
    """The kind of question that a model was taught, by the layout of its examples."""
    return next(prompt for prompt, taught in _LAYOUTS.items() if taught == layout)


def is_diff_model(name: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a model writes diffs in the published format: its name or its vocabulary says so."""
    return "diff-codegen" in name.lower() or "<DFF>" in tokenizer.get_added_vocab()


def encode_question(
    tokenizer: PreTrainedTokenizerBase, parent: str, message: str, format: str, prompt: str, shots: int = 1
) -> list[int]:
    """Token ids of a question.

    Args:
        tokenizer: The model's.
        parent: Text of the program to change.
        message: The commit message.
        format: How the answer is to give the child, one of `FORMATS`.
        prompt: One of :data:`PROMPTS`.
        shots: How many examples ``few_shot`` shows.
    """
    if prompt in _LAYOUTS:
        return encode_prompt(tokenizer, parent, message, format, _LAYOUTS[prompt])
    return plain_ids(tokenizer, write_question(parent, message, format, prompt, shots))


def write_question(parent: str, message: str, format: str, prompt: str, shots: int = 1) -> str:
    """A question as text (without a chat template), for all but ``tokens``; the arguments are those of `encode_question`."""
    if prompt == DIFF:
        return f"<NME> {_FILE}\n<BEF> {parent.rstrip()}\n<MSG> {message}\n<DFF>"
    question = plain_prompt(parent, message, format)
    if prompt in (COMMIT, CHAT):
        return question
    # What was asked for in the same words comes last, where models look first.
    shown = sorted(SHOWN, key=lambda one: one.message == message)[-shots:]
    parts = ("".join(format_example(one.before(), one.message, one.after(), format)) for one in shown)
    return "\n".join((*parts, question))


def read_answer(text: str, format: str, prompt: str, *, ended: bool) -> Answer:
    """Finds the program or the patch in what a model wrote.

    Args:
        text: Its answer.
        format: What was asked for.
        prompt: How it was asked.
        ended: Whether the model itself ended the answer, and was not cut.
    """
    if prompt == TOKENS:
        return Answer(text, ended)
    if prompt == DIFF:
        text = _AGAIN.sub("", text.replace("\r\n", "\n"))
        next_part = _PART.search(text)
        diff = text if next_part is None else text[: next_part.start()]
        return Answer(diff.lstrip(" \n"), ended or next_part is not None)
    return find_answer(text, format, ended=ended)


def may_be_complete(text: str, prompt: str) -> bool:
    """Whether it is worth asking `read_answer` about an unfinished text: there is something in it that could end it."""
    return _PART.search(text, 1) is not None if prompt == DIFF else "```" in text or "~~~" in text or "<|" in text
