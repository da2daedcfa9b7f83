"""What a mutation model reads and writes: (parent, message, child) triples, the layout of prompts, the three formats.

Training and inference share every function here, so that a model is asked exactly as it was taught. There are three layouts:

- ``tokens``, for models trained by this project: ``<bos> parent <sep> message <sep> completion <eos>``, where the marks are
  special tokens, which no text can contain;
- ``plain``, for pretrained code models: code fences and a commit message, as text;
- ``chat``, for pretrained models that talk: the same text as a user's message in the model's own template, and the answer begun
  with its fence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elm_rl.errors import ElmError
from elm_rl.mutation.patch import (
    PatchError,
    apply_search_replace,
    apply_unified_diff,
    make_search_replace,
    make_unified_diff,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WHOLE, SEARCH_REPLACE, UNIFIED_DIFF = FORMATS = ("whole", "search_replace", "unified_diff")
"""How a completion gives the child: its whole text, or a patch of the parent."""
TOKENS, PLAIN, CHAT = LAYOUTS = ("tokens", "plain", "chat")

MAX_PATCH_CHARACTERS = 32_000
"""Longer patches are not read: they are several times as long as any program that is worth a patch."""

_FENCE = "```"
_ASKS = {
    WHOLE: ("The file after the commit:", "python"),
    SEARCH_REPLACE: ("The commit as SEARCH/REPLACE blocks:", ""),
    UNIFIED_DIFF: ("The commit as a unified diff:", "diff"),
}
_MAKERS: dict[str, Callable[[str, str], str]] = {
    WHOLE: lambda parent, child: child,
    SEARCH_REPLACE: make_search_replace,
    UNIFIED_DIFF: make_unified_diff,
}
_APPLIERS: dict[str, Callable[[str, str], str]] = {
    WHOLE: lambda parent, text: text,
    SEARCH_REPLACE: apply_search_replace,
    UNIFIED_DIFF: apply_unified_diff,
}


@dataclass(frozen=True)
class MutationExample:
    """One admitted child with what led to it.

    Attributes:
        parent: Text of the parent.
        message: The commit message.
        child: Text of the child.
        lineage: What children of the same root share; examples are held out by it.
    """

    parent: str
    message: str
    child: str
    lineage: str

    @property
    def children(self) -> tuple[str]:
        """The child, as one of several."""
        return (self.child,)

    def keeping(self, wanted: Callable[[str], bool]) -> MutationExample | None:
        """Itself, if its child is wanted."""
        return self if wanted(self.child) else None


def mutation_examples(records: Iterable[Mapping[str, Any]], run: int = 0) -> list[MutationExample]:
    """Finds the (parent, message, child) triples among admitted programs, whatever operator made the child.

    Args:
        records: Lines of ``admitted.jsonl`` of one evolution run, parents before their children.
        run: Index of the run, which keeps the lineages of several runs apart.

    Returns:
        The triples in order of admission, each pair of texts once.
    """
    programs: dict[int, str] = {}
    examples: dict[tuple[str, str], MutationExample] = {}
    for record in records:
        child = programs[record["id"]] = record["program"]
        parent = None if record["parent"] is None else programs.get(record["parent"])
        if parent is not None and parent != child and record["message"]:
            lineage = f"{run}/{record['root']}"
            examples.setdefault((parent, child), MutationExample(parent, record["message"], child, lineage))
    return list(examples.values())


def write_completion(parent: str, child: str, format: str) -> str:
    """Writes what a model should answer to turn ``parent`` into ``child``.

    Raises:
        PatchError: The format cannot express this change (a program line looks like one of its markers).
        ValueError: There is no such format.
    """
    check_format(format)
    return _MAKERS[format](parent, child)


def read_completion(parent: str, completion: str, format: str) -> str:
    """Turns a model's answer into the child's text, which ends with a newline.

    Raises:
        PatchError: The answer is empty, or is a patch that is too long, cannot be read or does not fit the parent.
        ValueError: There is no such format.
    """
    check_format(format)
    if format != WHOLE and len(completion) > MAX_PATCH_CHARACTERS:
        raise PatchError(f"The patch has {len(completion)} characters; at most {MAX_PATCH_CHARACTERS} are read.")
    child = _APPLIERS[format](parent, completion)
    if not child.strip():
        raise PatchError("The answer leaves no program; expected its text or a patch of it.")
    return child if child.endswith("\n") else child + "\n"


def format_example(parent: str, message: str, child: str, format: str, layout: str = PLAIN) -> tuple[str, str]:
    """Writes one example as text, to show it or to train a model that has no special tokens of ours.

    Args:
        parent: Text of the parent.
        message: The commit message.
        child: Text of the child.
        format: One of :data:`FORMATS`.
        layout: One of :data:`LAYOUTS`; for ``tokens`` the special tokens are written out as ``<sep>`` and so on, and for
            ``chat`` the model's template is left out, which is for reading only: :func:`encode_example` gives the ids.

    Returns:
        The prompt and the completion.

    Raises:
        PatchError: The format cannot express this change.
        ValueError: There is no such format or layout.
    """
    completion = write_completion(parent, child, format)
    _check_layout(layout)
    if layout == TOKENS:
        return f"<bos>{parent}<sep>{message}<sep>", f"{completion}<eos>"
    return plain_prompt(parent, message, format), _plain_completion(completion)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, parent: str, message: str, format: str, layout: str) -> list[int]:
    """Token ids of the question: what change is to be made to which program.

    Raises:
        ElmError: The layout is ``chat`` and the tokenizer has no chat template.
        ValueError: There is no such format or layout.
    """
    _check_layout(layout)
    if layout == TOKENS:
        bos, sep = int(tokenizer.bos_token_id or 0), int(tokenizer.sep_token_id or 0)
        return [bos, *_ids(tokenizer, parent), sep, *_ids(tokenizer, message), sep]
    question = plain_prompt(parent, message, format)
    return plain_ids(tokenizer, question) if layout == PLAIN else _chat_ids(tokenizer, question, format)


def encode_example(
    tokenizer: PreTrainedTokenizerBase, example: MutationExample, format: str, layout: str = TOKENS
) -> tuple[list[int], list[int]]:
    """Token ids of prompt and completion, the completion with its end token where the tokenizer has one.

    Raises:
        ElmError: The layout is ``chat`` and the tokenizer has no chat template.
        PatchError: The format cannot express this change.
        ValueError: There is no such format or layout.
    """
    completion = write_completion(example.parent, example.child, format)
    prompt = encode_prompt(tokenizer, example.parent, example.message, format, layout)
    if layout == TOKENS:
        return prompt, [*_ids(tokenizer, completion), int(tokenizer.eos_token_id or 0)]
    answer = _plain_completion(completion)
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    if layout == PLAIN:
        # Together, because some tokenizers begin every text with a space.
        both = plain_ids(tokenizer, plain_prompt(example.parent, example.message, format) + answer)
        if both[: len(prompt)] == prompt:
            return prompt, [*both[len(prompt) :], *end]
    return prompt, [*_ids(tokenizer, answer), *end]


def check_format(format: str) -> None:
    """Raises ValueError unless ``format`` is one of :data:`FORMATS`."""
    if format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}.")


def _check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}.")


def plain_prompt(parent: str, message: str, format: str) -> str:
    """The question of the layout ``plain`` as text; it ends with an opened fence."""
    check_format(format)
    ask, language = _ASKS[format]
    before = f"The file walker.py before the commit:\n{_FENCE}python\n{parent.rstrip()}\n{_FENCE}\n"
    return f"{before}Commit message: {message}\n{ask}\n{_FENCE}{language}\n"


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text that a pretrained model is to continue."""
    # With what the tokenizer begins every text with: models that expect it do much worse without.
    ids = list(tokenizer.encode(text))
    return ids[:-1] if ids[-1:] == [tokenizer.eos_token_id] else ids


def _plain_completion(completion: str) -> str:
    return f"{completion.rstrip()}\n{_FENCE}\n"


def _chat_ids(tokenizer: PreTrainedTokenizerBase, question: str, format: str) -> list[int]:
    """The question as a user's message, and the first line of the answer, which opens its fence."""
    if not tokenizer.chat_template:
        raise ElmError("The model's tokenizer has no chat template; use the layout plain.")
    fence = f"{_FENCE}{_ASKS[format][1]}\n"
    messages = [{"role": "user", "content": question.removesuffix(fence).rstrip()}]
    text = str(
        # Templates that know no thoughts take no notice.
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    )
    return _ids(tokenizer, text + fence)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
