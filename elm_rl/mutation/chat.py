"""A chat model on this machine as mutation operator: asked through its own chat template, and read tolerantly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.sampling import end_ids
from elm_rl.models.tokenizer import encode_text
from elm_rl.mutation.examples import FORMATS, WHOLE
from elm_rl.mutation.local_model import LocalModel, LocalModelOptions
from elm_rl.mutation.memory import Memory, RememberingMutation
from elm_rl.mutation.operator import COMMIT_MESSAGES, TOO_LONG, Child, Parent, draw_message
from elm_rl.mutation.prompts import chat_messages, patched_text, read_answer, without_system

THINKING_TOKENS = 4096
"""What an answer may be longer where the model is let think first."""
_PROBE = "walkers"


@dataclass(frozen=True, kw_only=True)
class ChatOptions(LocalModelOptions):
    """How a chat model is asked."""

    format: str = WHOLE
    """How the model is asked to write a child: whole, search_replace or unified_diff. Others are read too."""
    parents: int = 1
    """How many elites it is shown, to combine what is good in them; several are asked for whole."""
    think: bool = False
    """Whether a model that can think aloud before it answers is told to; most take many more tokens for it."""
    repair: bool = False
    """Whether a child that failed goes back once with its error."""
    memory: bool = False
    """Whether the model is told what worked in this run and what did not."""
    memory_every: int = 5
    """Iterations after which that is put together anew."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format not in FORMATS:
            raise ConfigError(f"format is {self.format!r}; expected one of {', '.join(FORMATS)}.")
        if not 1 <= self.parents <= 8 or self.memory_every < 1:
            raise ConfigError(
                f"Expected parents from 1 to 8 and memory_every from 1; got {self.parents} and {self.memory_every}."
            )


class ChatMutation(RememberingMutation):
    """Has a chat model change programs.

    Args:
        source: A folder, a GGUF file, or the name of a model on the Hugging Face hub.
        options: How it is asked; by default as `ChatOptions` says.
        name: Name of the operator in records and tables.

    Raises:
        ElmError: The model cannot be loaded, has no chat template or one that cannot be used, or it and its tokenizer cannot
            read and write programs.
    """

    ahead = True

    def __init__(self, source: str, options: ChatOptions | None = None, *, name: str = "chat") -> None:
        self.name = name
        self.options = options = options or ChatOptions()
        self.repairs = options.repair
        self.parents_per_child = options.parents
        self._memory = Memory(options.memory_every) if options.memory else None
        self._local = LocalModel(source, options)
        self._knows_system = self._check_template()
        self._end_with_turn()

    def check_parents(self, programs: Sequence[str]) -> None:
        """Whether the model's context holds the question about any of some programs with an answer.

        Raises:
            ElmError: It holds none.
        """
        others = self.parents_per_child - 1
        parents = [Parent(program, others=(Parent(program),) * others) for program in programs]
        self._local.check_room([self._question(parent, COMMIT_MESSAGES[0][0], "") for parent in parents], programs)

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes one child per parent, all together.

        Yields:
            One child per parent, in order. It failed (``program=None``) where the question does not fit the model's context or
            the answer holds no program.
        """
        return self._children(parents, rng, self._told())

    def _children(self, parents: Sequence[Parent], rng: np.random.Generator, memory: str) -> Iterator[Child]:
        stopped = self._begin()
        messages = [draw_message(rng) for _ in parents]
        seed = int(rng.integers(2**63))
        questions: list[list[int]] = []
        limits: list[int] = []
        for parent, message in zip(parents, messages, strict=True):
            for told in dict.fromkeys((memory, "")):  # better without memory than not at all
                question = self._question(parent, message, told)
                if (limit := self._limit(question, parent)) > 0:
                    break
            questions.append(question)
            limits.append(limit)
        answers = self._local.answers(questions, limits, seed, stopped=stopped)
        for parent, message, answer in zip(parents, messages, answers, strict=True):
            if answer is None:
                yield Child(None, self.name, message, failure=TOO_LONG)
                continue
            program, failure, diff = read_answer(parent, answer[0], self.options.format, ended=answer[1])
            yield Child(program, self.name, message, diff=diff, failure=failure)

    def _limit(self, question: Sequence[int], parent: Parent) -> int:
        longest = max((patched_text(parent), *(other.program for other in parent.others)), key=len)
        return self._local.limit(question, longest, THINKING_TOKENS if self.options.think else 0)

    def _question(self, parent: Parent, message: str, memory: str) -> list[int]:
        messages = chat_messages(parent, message, self.options.format, memory=memory)
        if not self._knows_system:
            messages = without_system(messages)
        return encode_text(self._local.tokenizer, self._rendered(messages))

    def _rendered(self, messages: Sequence[Mapping[str, str]], asks: bool = True) -> str:
        """A conversation as the model knows them; ``asks`` for one that the model is to go on with."""
        return str(
            self._local.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=asks,
                enable_thinking=self.options.think,  # the templates of models that can leave it know this name
            )
        )

    def _check_template(self) -> bool:
        """Whether the chat template takes a system message.

        Raises:
            ElmError: There is no template, or it fails or swallows what is said.
        """
        if not self._local.tokenizer.chat_template:
            raise ElmError(
                f"The model '{self._local.source}' has no chat template, so it is no chat model; give it as "
                f"model:{self._local.source}, or put a chat_template.jinja beside it."
            )
        said = chat_messages(Parent(_PROBE), COMMIT_MESSAGES[0][0])
        problem = "it leaves out what is said"
        for knows_system in (True, False):
            messages = said if knows_system else without_system(said)
            try:
                text = self._rendered(messages)
            except Exception as error:  # templates are programs, and raise what they like
                problem = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
                continue
            if all(message["content"].strip() in text for message in messages):
                return knows_system
        raise ElmError(
            f"The chat template of '{self._local.source}' cannot be used: {problem[:200]}; repair its chat_template.jinja, or "
            f"give the model as model:{self._local.source}."
        )

    def _end_with_turn(self) -> None:
        """Has the model stop at what its template ends a turn with, which its settings may have forgotten to name."""
        turns = [{"role": "user", "content": _PROBE}, {"role": "assistant", "content": _PROBE}]
        try:
            after = self._rendered(turns, asks=False).rpartition(_PROBE)[2].lstrip()
        except Exception:  # a template that takes no answers from elsewhere; the settings must do
            return
        model, tokenizer = self._local.model, self._local.tokenizer
        mark = next(iter(encode_text(tokenizer, after)), None) if after else None
        if mark in tokenizer.added_tokens_decoder and model.generation_config is not None:
            model.generation_config.eos_token_id = sorted(end_ids(model, tokenizer) | {mark})
