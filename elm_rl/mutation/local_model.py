"""A pretrained model on this machine that answers in text: what its operators share, whatever they ask it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.devices import AUTO, check_dtype, choose_device
from elm_rl.models.language_model import load_language_model
from elm_rl.models.sampling import Completion, SamplingSettings, context_length, sample_answers
from elm_rl.models.tokenizer import decode_program, encode_text

ROOM_TOKENS = 128
"""What an answer may have beyond twice the program's tokens: for a few words around it."""


@dataclass(frozen=True, kw_only=True)
class LocalModelOptions:
    """How a pretrained model is loaded, and how it writes."""

    temperature: float = 0.7
    """Divides the logits; higher is bolder, and more often invalid; 0 always takes the likeliest token."""
    top_p: float = 1.0
    """Samples from the likeliest tokens whose probabilities first reach this sum."""
    min_p: float = 0.0
    """Samples from the tokens that are at least this many times as likely as the likeliest one."""
    max_new_tokens: int | None = None
    """Longest answer in tokens; a longer one is cut, and gives no child. By default it follows the parent's length in the
    model's own tokens: twice that, and a little for words around it."""
    batch_size: int | None = None
    """Answers that are written side by side. By default 64 on a GPU and 16 on a CPU."""
    device: str = AUTO
    """Where the model computes: cpu, cuda, cuda:1, mps, or auto for the best there is."""
    dtype: str = AUTO
    """Number format of the weights: float32, bfloat16, float16, or auto for what is fast on the device."""

    def __post_init__(self) -> None:
        """Raises ConfigError for what is out of range."""
        SamplingSettings(self.temperature, self.top_p, self.min_p)
        for name, value in (("max_new_tokens", self.max_new_tokens), ("batch_size", self.batch_size)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; expected 1 or more.")
        choose_device(self.device)
        check_dtype(self.dtype)


class LocalModel:
    """A model with its tokenizer, ready to answer.

    Args:
        source: A folder, a GGUF file, or the name of a model on the Hugging Face hub.
        options: How it is loaded, and how it writes.

    Attributes:
        source: As it was given.
        model: The model.
        tokenizer: Its tokenizer.
        context: Tokens of question and answer together, at most.

    Raises:
        ElmError: The model cannot be loaded, or it and its tokenizer cannot read and write programs.
    """

    def __init__(self, source: str, options: LocalModelOptions) -> None:
        self.source = source
        self._options = options
        self.model, self.tokenizer = load_language_model(source, device=options.device, dtype=options.dtype)
        check_tokenizer(source, self.model, self.tokenizer)
        self.context = context_length(self.model)

    def limit(self, question: Sequence[int], program: str, extra: int = 0) -> int:
        """How many tokens an answer may have; 0 where the context has no room for one as long as a program.

        Args:
            question: Token ids of the question.
            program: What the answer will be about as long as.
            extra: Further tokens it may have, unless the options say how long it may be.
        """
        length = len(encode_text(self.tokenizer, program))
        room = self.context - len(question)
        if room < length + 1:
            return 0
        return min(room, self._options.max_new_tokens or 2 * length + ROOM_TOKENS + extra)

    def check_room(self, questions: Sequence[Sequence[int]], programs: Sequence[str]) -> None:
        """Whether the context holds any of some questions with an answer.

        Raises:
            ElmError: It holds none.
        """
        lengths = [
            (len(question), len(question) + len(encode_text(self.tokenizer, program)) + 1)
            for question, program in zip(questions, programs, strict=True)
        ]
        question, needed = min(lengths, key=lambda pair: pair[1])
        if needed > self.context:
            raise ElmError(
                f"The model '{self.source}' reads {self.context} tokens, and the shortest of the questions to begin with takes "
                f"{question}, with an answer {needed}; use a model that reads more."
            )

    def answers(
        self,
        questions: Sequence[Sequence[int]],
        limits: Sequence[int],
        seed: int,
        complete: Callable[[str], bool] | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> list[tuple[str, bool] | None]:
        """Answers questions.

        Args:
            questions: Token ids of each.
            limits: The most tokens of each answer; a question with 0 is not asked.
            seed: Seed of all random choices.
            complete: Asked every few tokens whether what was written so far will do; then no more is written.
            stopped: Asked at every token whether nobody waits for the answers any more; then all are cut.

        Returns:
            For each question the answer's text, special tokens included, and whether the model ended it; None for a question
            that was not asked.
        """
        asked = [index for index, limit in enumerate(limits) if limit > 0]
        found: list[tuple[str, bool] | None] = [None] * len(limits)
        if not asked:
            return found
        written: list[Completion] = sample_answers(
            self.model,
            self.tokenizer,
            [questions[index] for index in asked],
            max_new_tokens=[limits[index] for index in asked],
            temperature=self._options.temperature,
            top_p=self._options.top_p,
            min_p=self._options.min_p,
            seed=seed,
            batch_size=self._options.batch_size or (16 if self.model.device.type == "cpu" else 64),
            complete=None if complete is None else lambda ids: complete(self._text(ids)),
            stopped=stopped,
        )
        for index, answer in zip(asked, written, strict=True):
            found[index] = self._text(answer.ids), answer.ended
        return found

    def _text(self, ids: Sequence[int]) -> str:
        # With special tokens: some mark the end of a turn without the model's settings saying so.
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


_PROBE = 'def f(X):\n    y = [X + 1.5, "a"]\n    return y'


def check_tokenizer(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
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
