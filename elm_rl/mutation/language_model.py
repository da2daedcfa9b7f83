"""A language model as mutation operator: it reads a program and a commit message, and writes the changed program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.devices import AUTO
from elm_rl.models.language_model import load_language_model
from elm_rl.models.sampling import Completion, context_length, sample_answers
from elm_rl.models.tokenizer import decode_program, encode_text
from elm_rl.mutation.examples import CHAT, TOKENS, UNIFIED_DIFF, WHOLE, read_completion
from elm_rl.mutation.local_model import LocalModelOptions, check_tokenizer
from elm_rl.mutation.operator import (
    COMMIT_MESSAGES,
    CUT,
    TOO_LONG,
    Child,
    MutationOperator,
    Parent,
    draw_message,
)
from elm_rl.mutation.patch import PatchError
from elm_rl.mutation.questions import (
    COMMIT,
    DIFF,
    FEW_SHOT,
    SHOWN,
    check_question,
    encode_question,
    is_diff_model,
    may_be_complete,
    prompt_for,
    read_answer,
)
from elm_rl.mutation.trained_format import TrainedFormat, read_mutation_format


@dataclass(frozen=True, kw_only=True)
class ModelOptions(LocalModelOptions):
    """How a local language model is asked, and where it computes."""

    prompt: str = AUTO
    """How the model is asked: tokens (the layout of our own mutation models), commit (a file before and after a commit),
    chat (the same in the model's chat template, as elm-rl mutation-model can teach it), few_shot (the same after some
    example commits) or diff (the format of CarperAI's diff models). auto: as the model was trained where it is one of ours,
    diff for diff models, and for all others few_shot, or commit where the context is short."""
    format: str = AUTO
    """How the model writes a child: whole, search_replace or unified_diff. auto: as it was trained, unified_diff for diff
    models, and whole for all others."""
    shots: int = 1
    """How many examples few_shot shows, 1 to 3."""
    max_new_tokens: int | None = None
    """Longest answer in tokens; a longer one is cut, and gives no child. Left out: twice the parent's tokens and 64 more."""
    batch_size: int | None = None
    """Programs that are written side by side. Left out: 64 for our own models and on a GPU, 16 for others on a CPU."""

    def __post_init__(self) -> None:
        # Each left to the model is checked with what stands for it.
        prompt = self.prompt if self.prompt != AUTO else DIFF if self.format == UNIFIED_DIFF else COMMIT
        format = self.format if self.format != AUTO else UNIFIED_DIFF if prompt == DIFF else WHOLE
        check_question(prompt, format, self.shots)
        super().__post_init__()


class LanguageModelMutation(MutationOperator):
    """Mutates programs with a causal language model of ``transformers``.

    Args:
        source: A folder, a GGUF file, or the name of a model on the Hugging Face hub.
        options: How it is asked, and where it computes.
        name: Name of the operator in records and tables.

    Attributes:
        prompt: How the model is asked.
        format: How it writes a child.

    Raises:
        ConfigError: An option does not fit the model.
        ElmError: The model cannot be loaded, or it and its tokenizer cannot read and write programs.
    """

    ahead = True

    def __init__(
        self, source: str | Path, options: ModelOptions | None = None, *, name: str = "language_model"
    ) -> None:
        self.name = name
        self._options = options or ModelOptions()
        self._source = str(source)
        self._model: PreTrainedModel
        self._tokenizer: PreTrainedTokenizerBase
        trained = read_mutation_format(Path(source).expanduser())
        self._model, self._tokenizer = load_language_model(
            source, device=self._options.device, dtype=self._options.dtype
        )
        check_tokenizer(self._source, self._model, self._tokenizer)
        self._context = context_length(self._model)
        self.prompt, self.format = self._question(trained)
        own = self.prompt == TOKENS or self._model.device.type != "cpu"
        self._batch_size = self._options.batch_size or (64 if own else 16)

    def _question(self, trained: TrainedFormat | None) -> tuple[str, str]:
        """Prompt and format: those of the options, and else those that suit the model."""
        prompt, format = self._options.prompt, self._options.format
        if prompt == AUTO:
            diffs = format in (AUTO, UNIFIED_DIFF) and is_diff_model(self._source, self._tokenizer)
            pretrained = DIFF if diffs else FEW_SHOT if self._examples_fit() else COMMIT
            prompt = pretrained if trained is None else prompt_for(trained.layout)
        if format == AUTO:
            format = UNIFIED_DIFF if prompt == DIFF else WHOLE if trained is None else trained.format
        if prompt == TOKENS and self._tokenizer.sep_token_id is None:
            raise ConfigError(
                f"prompt is {TOKENS!r}, but '{self._source}' is no mutation model of this project: its tokenizer has no "
                f"<sep>; use {COMMIT}, {FEW_SHOT} or {DIFF}."
            )
        if prompt == CHAT and not self._tokenizer.chat_template:
            raise ConfigError(f"prompt is {CHAT!r}, but '{self._source}' has no chat template; use {COMMIT}.")
        check_question(prompt, format, self._options.shots)
        return prompt, format

    def _examples_fit(self) -> bool:
        """Whether examples leave half of the context for other things."""
        program, message = SHOWN[0].before(), SHOWN[0].message
        question = encode_question(self._tokenizer, program, message, WHOLE, FEW_SHOT, self._options.shots)
        return 2 * len(question) <= self._context

    def check_parents(self, programs: Sequence[str]) -> None:
        """Whether the model's context holds any of some programs with an answer.

        Raises:
            ElmError: It holds none.
        """
        sizes = [(len(self._encode(program, COMMIT_MESSAGES[0][0])), self._length(program)) for program in programs]
        question, answer = min(sizes, key=sum)
        if question + answer > self._context:
            raise ElmError(
                f"The model '{self._source}' reads {self._context} tokens, and the shortest of the programs to begin with "
                f"takes {question} with its question and {answer} more for an answer; use a model that reads "
                f"{question + answer} or more."
            )

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes one child per parent, all together.

        Args:
            parents: Program texts; they are read by the model only, and never parsed.
            rng: Source of all randomness: the same generator state gives the same children.

        Yields:
            One child per parent, in order. It failed (``program=None``) where the parent does not fit the
            model's context or the answer cannot be turned into a program.
        """
        stopped = self._begin()
        messages = [draw_message(rng) for _ in parents]
        seed = int(rng.integers(2**63))
        prompts = [self._encode(parent.program, message) for parent, message in zip(parents, messages, strict=True)]
        lengths = [self._length(parent.program) for parent in parents]
        fitting = [i for i in range(len(parents)) if len(prompts[i]) + lengths[i] <= self._context]
        children = [Child(None, self.name, message, failure=TOO_LONG) for message in messages]
        if fitting:
            answers = sample_answers(
                self._model,
                self._tokenizer,
                [prompts[i] for i in fitting],
                max_new_tokens=[self._limit(lengths[i]) for i in fitting],
                temperature=self._options.temperature,
                top_p=self._options.top_p,
                min_p=self._options.min_p,
                seed=seed,
                batch_size=self._batch_size,
                # Our own models end what they write; others go on with another story.
                complete=None if self.prompt == TOKENS else self._complete,
                stopped=stopped,
            )
            for i, answer in zip(fitting, answers, strict=True):
                children[i] = self._child(parents[i].program, messages[i], answer)
        yield from children

    def _encode(self, program: str, message: str) -> list[int]:
        return encode_question(self._tokenizer, program, message, self.format, self.prompt, self._options.shots)

    def _length(self, program: str) -> int:
        """Tokens of a program, which is about what an answer takes."""
        return len(encode_text(self._tokenizer, program))

    def _limit(self, length: int) -> int:
        # A child is seldom much longer than its parent: what has not ended by then has lost its way.
        return self._options.max_new_tokens or 2 * length + 64

    def _complete(self, ids: Sequence[int]) -> bool:
        text = decode_program(self._tokenizer, ids)
        return may_be_complete(text, self.prompt) and read_answer(text, self.format, self.prompt, ended=False).complete

    def _child(self, parent: str, message: str, answer: Completion) -> Child:
        written = decode_program(self._tokenizer, answer.ids)
        text, complete = read_answer(written, self.format, self.prompt, ended=answer.ended)
        diff = None if self.format == WHOLE else text
        if not complete:
            return Child(None, self.name, message, diff=diff, failure=CUT)
        try:
            program = read_completion(parent, text, self.format)
        except PatchError:
            return Child(None, self.name, message, diff=diff)
        return Child(program, self.name, message, diff=diff)
