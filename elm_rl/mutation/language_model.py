"""A language model as mutation operator: it reads a program and a commit message, and writes the changed program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.language_model import load_language_model
from elm_rl.models.sampling import Completion, context_length, sample_answers
from elm_rl.models.tokenizer import decode_program
from elm_rl.mutation.answers import find_answer
from elm_rl.mutation.examples import (
    FORMATS,
    PLAIN,
    TOKENS,
    WHOLE,
    encode_prompt,
    read_completion,
)
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
from elm_rl.runs.run_directory import explained_disk_errors, read_json, write_json

MUTATION_FILE = "mutation.json"
"""Written beside a mutation model that this project trained: the format it writes children in."""


class LanguageModelMutation(MutationOperator):
    """Mutates programs with a causal language model of ``transformers``.

    A folder written by :mod:`elm_rl.mutation.training` is asked in the layout it was trained on, any other model
    in plain text with code fences, as code models know it.

    Args:
        model: A folder, or the name of a model on the Hugging Face hub.
        format: How the model writes a child: ``whole``, ``search_replace`` or ``unified_diff``. By default the format that
            the model was trained for, and ``whole`` for models that do not say.
        temperature: Divides the logits; higher is bolder, and more often invalid.
        top_p: Samples from the likeliest tokens whose probabilities first reach this sum.
        max_new_tokens: Longest answer in tokens; a longer one is cut, and gives no child. By default 256 for a folder as
            above, and for other models, whose tokenizers need several times as many for a program, what the context allows
            up to twice the question.
        batch_size: Programs that are written side by side.
        name: Name of the operator in records and tables.

    Raises:
        ConfigError: A setting is out of range.
        ElmError: The model cannot be loaded, or it and its tokenizer cannot read and write programs.
    """

    def __init__(
        self,
        model: str | Path,
        format: str | None = None,
        *,
        temperature: float = 0.7,
        top_p: float = 1.0,
        max_new_tokens: int | None = None,
        batch_size: int = 64,
        name: str = "language_model",
    ) -> None:
        if format is not None and format not in FORMATS:
            raise ConfigError(f"format is {format!r}; expected one of {', '.join(FORMATS)}.")
        if (
            temperature < 0
            or not 0 < top_p <= 1
            or (max_new_tokens is not None and max_new_tokens < 1)
            or batch_size < 1
        ):
            raise ConfigError(
                "Expected temperature >= 0, 0 < top_p <= 1 and positive max_new_tokens and batch_size; got "
                f"{temperature}, {top_p}, {max_new_tokens} and {batch_size}."
            )
        self.name = name
        self._model: PreTrainedModel
        self._tokenizer: PreTrainedTokenizerBase
        self._model, self._tokenizer = load_language_model(model)
        trained = read_mutation_format(Path(model))
        self._layout = PLAIN if trained is None else TOKENS
        self._source = str(model)
        self._context = context_length(self._model)
        _check_tokenizer(self._source, self._model, self._tokenizer)
        self.format = format or trained or WHOLE
        self._temperature = temperature
        self._top_p = top_p
        self._max_new_tokens = max_new_tokens or (256 if self._layout == TOKENS else self._context)
        self._batch_size = batch_size

    def check_parents(self, programs: Sequence[str]) -> None:
        """Whether the model's context holds any of some programs with an answer.

        Raises:
            ElmError: It holds none.
        """
        question = min(
            len(encode_prompt(self._tokenizer, program, COMMIT_MESSAGES[0][0], self.format, self._layout))
            for program in programs
        )
        if 2 * question > self._context:
            raise ElmError(
                f"The model '{self._source}' reads {self._context} tokens, and the shortest of the programs to begin with "
                f"takes {question} with its question and as many for an answer; use a model that reads {2 * question} or "
                "more."
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
        messages = [draw_message(rng) for _ in parents]
        seed = int(rng.integers(2**63))
        prompts = [
            encode_prompt(self._tokenizer, parent.program, message, self.format, self._layout)
            for parent, message in zip(parents, messages, strict=True)
        ]
        # Half of what is left must do for the answer, or it would only be cut off.
        fitting = [i for i, prompt in enumerate(prompts) if 2 * len(prompt) <= self._context]
        children = [Child(None, self.name, message, failure=TOO_LONG) for message in messages]
        if fitting:
            # A child is seldom much longer than its parent: what has not ended by then has lost its way.
            longest = max(len(prompts[i]) for i in fitting)
            answers = sample_answers(
                self._model,
                self._tokenizer,
                [prompts[i] for i in fitting],
                max_new_tokens=min(self._max_new_tokens, 2 * longest + 32),
                temperature=self._temperature,
                top_p=self._top_p,
                seed=seed,
                batch_size=self._batch_size,
            )
            for i, answer in zip(fitting, answers, strict=True):
                children[i] = self._child(parents[i].program, messages[i], answer)
        yield from children

    def _child(self, parent: str, message: str, answer: Completion) -> Child:
        completion, complete = decode_program(self._tokenizer, answer.ids), answer.ended
        if self._layout == PLAIN:
            completion, complete = find_answer(completion, self.format, ended=answer.ended)
        diff = None if self.format == WHOLE else completion
        if not complete:
            return Child(None, self.name, message, diff=diff, failure=CUT)
        try:
            program = read_completion(parent, completion, self.format)
        except PatchError:
            return Child(None, self.name, message, diff=diff)
        return Child(program, self.name, message, diff=diff)


_PROBE = 'def f(X):\n    y = [X + 1.5, "a"]\n    return y'


def _check_tokenizer(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Whether a program survives a tokenizer, and whether the model knows all its tokens.

    Raises:
        ElmError: One of the two is not so.
    """
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise ElmError(
            f"The tokenizer of '{name}' has {len(tokenizer)} tokens and its model knows {known}; they do not belong "
            "together, so give the model its own tokenizer."
        )
    again = decode_program(tokenizer, tokenizer.encode(_PROBE, add_special_tokens=False))
    if again.strip() != _PROBE:
        raise ElmError(
            f"The tokenizer of '{name}' turns the program {_PROBE!r} into {again.strip()[:80]!r}; use a model whose "
            "tokenizer keeps case, spaces and line ends."
        )


def read_mutation_format(folder: Path) -> str | None:
    """The format a mutation model of this project was trained for; None for any other model.

    Raises:
        ElmError: The folder says something that is no format.
    """
    path = folder / MUTATION_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    format = content.get("format") if isinstance(content, dict) else None
    if format not in FORMATS:
        raise ElmError(f"'{path}' names no known format ({', '.join(FORMATS)}); train the model again.")
    return str(format)


def write_mutation_format(folder: Path, format: str) -> None:
    """Records the format beside a mutation model, whose folder is made if there is none.

    Raises:
        ElmError: The folder cannot be written.
    """
    with explained_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MUTATION_FILE, {"format": format})
