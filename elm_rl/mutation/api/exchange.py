"""What goes to a server and what comes back: a request, its reply, and what both cost in tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from elm_rl.mutation.operator import NO_ANSWER, TOO_LONG

ANSWERED = "answered"
REPLIES = (ANSWERED, TOO_LONG, NO_ANSWER)
"""What a request comes to: there is an answer; the model cannot read so long a request; there is none, for good."""

CHARACTERS_PER_TOKEN = 3
"""Where a server does not say how many tokens a text has, one is counted for so many characters: for programs rather too many
tokens than too few, so that a budget holds."""


class Usage(NamedTuple):
    """Tokens that are paid for.

    Attributes:
        prompt: Tokens of the request.
        completion: Tokens of the answer, thoughts included.
        estimated: Whether they were estimated from the length of the texts, because the server did not say.
    """

    prompt: int = 0
    completion: int = 0
    estimated: bool = False


NOTHING = Usage()


@dataclass(frozen=True)
class Request:
    """One question to a model.

    Attributes:
        body: What is sent, as JSON: the model, the messages, how to sample, at most how many tokens to answer.
        nonce: Drawn from the operator's random numbers. It tells the same question asked twice apart.
    """

    body: Mapping[str, Any]
    nonce: int

    @property
    def key(self) -> str:
        """32 hexadecimal digits of content and nonce together, by which the reply is found again."""
        text = json.dumps([self.body, self.nonce], sort_keys=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]

    @property
    def estimated_tokens(self) -> int:
        """About how many tokens the messages have; see `CHARACTERS_PER_TOKEN`."""
        return sum(estimate_tokens(message["content"]) for message in self.body["messages"])


@dataclass(frozen=True)
class Reply:
    """What a request came to.

    Attributes:
        status: One of `REPLIES`.
        text: The answer; empty without one.
        ended: Whether the model ended its answer, and was not cut at a limit.
        usage: Tokens of this attempt.
        reason: Why there is no answer, in a few words.
    """

    status: str
    text: str = ""
    ended: bool = True
    usage: Usage = NOTHING
    reason: str = ""


class Trouble(Exception):
    """An attempt failed for a reason that may pass: it is worth another.

    Attributes:
        reason: What happened, in a few words.
        retry_after: Seconds after which the server wants to be asked again, if it says so.
        reached: Whether the request arrived, so that the server may charge for it.
        received: The part of the answer that did arrive.
        usage: Tokens, where the server says how many, though the answer is of no use.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry_after: float | None = None,
        reached: bool = False,
        received: str = "",
        usage: Usage | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.reached = reached
        self.received = received
        self.usage = usage

    def spent(self, request: Request) -> Usage:
        """Tokens that the attempt cost, as far as can be told."""
        if self.usage is not None:
            return self.usage
        if not self.reached:
            return Usage()
        return Usage(request.estimated_tokens, estimate_tokens(self.received), estimated=True)


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has; see `CHARACTERS_PER_TOKEN`."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def read_reply(data: bytes, request: Request) -> Reply:
    """Reads what a server sent with status 200.

    Raises:
        Trouble: It is no JSON, or not an answer in the form of chat completions.
    """
    text = data.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise Trouble(f"the reply is no JSON: {shortened(text)!r}", reached=True, received=text) from None
    usage = _usage(content)
    try:
        choice = content["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        answer = _text(message["content"])
    except (AttributeError, IndexError, KeyError, TypeError):
        raise Trouble(
            f"the reply is no chat completion: {shortened(text)!r}", reached=True, received=text, usage=usage
        ) from None
    if usage is None:
        thoughts = (message.get(name) for name in ("reasoning_content", "reasoning"))
        written = answer + "".join(thought for thought in thoughts if isinstance(thought, str))
        usage = Usage(request.estimated_tokens, estimate_tokens(written), estimated=True)
    return Reply(ANSWERED, answer, finish not in ("length", "max_tokens", "content_filter"), usage)


def error_text(data: bytes) -> str:
    """The sentence in a server's error, whichever of the common forms it has."""
    text = data.decode("utf-8", "replace")
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError):
        return shortened(text)
    for name in ("error", "detail", "message"):
        if isinstance(content, dict) and content.get(name):
            content = content[name]
    return shortened(content if isinstance(content, str) else json.dumps(content))


def shortened(text: str, most: int = 200) -> str:
    """A text of a server in one line, cut after ``most`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _usage(content: Any) -> Usage | None:
    """What the server says it counted; None where it does not say, or says nonsense."""
    usage = content.get("usage") if isinstance(content, dict) else None
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int) or prompt < 0 or completion < 0:
        return None
    return Usage(int(prompt), int(completion))


def _text(content: Any) -> str:
    """The text of a message, which may come in parts, or be missing where a model only thought.

    Raises:
        TypeError: It is something else.
    """
    if content is None:
        return ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    if not isinstance(content, str):
        raise TypeError("expected text")
    return content.encode("utf-8", "replace").decode("utf-8")  # JSON can hold half a character, and no file can
