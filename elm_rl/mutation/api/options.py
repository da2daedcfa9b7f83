"""What can be set for a model on a server."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from elm_rl.errors import ConfigError
from elm_rl.mutation.api.ledger import Terms
from elm_rl.mutation.examples import FORMATS, WHOLE

_OURS = (
    "model",
    "messages",
    "stream",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "min_p",
    "seed",
)
"""What a request holds anyhow, or what would make a reply that is not read."""


class Source(NamedTuple):
    """A model on a server.

    Attributes:
        model: Its name there.
        url: Where the server's interface begins.
    """

    model: str
    url: str


def read_source(text: str) -> Source:
    """Takes ``MODEL@BASE_URL`` apart.

    Raises:
        ConfigError: It is something else.
    """
    match = re.fullmatch(r"(.+?)@(https?://.+)", text.strip(), re.IGNORECASE)
    if match is None:
        raise ConfigError(
            f"The model on a server is given as {text!r}; expected MODEL@BASE_URL, such as qwen3@http://localhost:8000/v1."
        )
    model, url = match[1], match[2].rstrip("/")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # Of names in other alphabets the client takes letters, digits and hyphens.
        known = bool(host) and parts.port != 0 and (host.isascii() or all(c.isalnum() or c in "-." for c in host))
    except ValueError:
        known = False
    if not known or re.search(r"\s", url):
        raise ConfigError(f"The address {url!r} names no server; expected one such as http://localhost:8000/v1.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            "The address of a server holds a user, a password or a query, which every record of the run would repeat; give a "
            "key in an environment variable, and name it with key."
        )
    return Source(model, url)


@dataclass(frozen=True, kw_only=True)
class ServedOptions:
    """How a model on a server is asked, and what that may cost."""

    format: str = WHOLE
    """How the model writes a child: whole, search_replace or unified_diff. Others are read too."""
    temperature: float = 0.7
    """Divides the logits; higher is bolder, and more often invalid. Some models take no other than 1."""
    top_p: float = 1.0
    """Samples from the likeliest tokens whose probabilities first reach this sum; sent if below 1."""
    min_p: float = 0.0
    """Leaves out tokens less likely than this part of the likeliest; sent if above 0. vLLM and llama.cpp know it."""
    max_tokens: int | None = None
    """Longest answer in tokens, thoughts included; a longer one is cut, and gives no child. By default it follows the parent's
    length, without room for thoughts."""
    seed: bool = True
    """Whether a seed is sent with each request, to servers that take one."""
    extra: str = ""
    """Further fields of each request, as a JSON object: {"chat_template_kwargs": {"enable_thinking": false}}."""
    key: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; empty to send none."""
    timeout: float = 120.0
    """Seconds that one attempt at a request may take."""
    retries: int = 5
    """Further attempts at a request that failed for a reason that may pass."""
    back_off: float = 1.0
    """Seconds before the first further attempt, doubled before each next one, up to a minute. A server that names a time is
    left alone until then."""
    concurrency: int = 8
    """Most requests under way at a time."""
    wait: bool = True
    """Whether the children of an iteration come in the order they were asked for, one iteration ahead, so that the run can be
    repeated; otherwise each joins the iteration in which it arrives."""
    repair: bool = False
    """Whether a child that failed goes back once with its error."""
    memory: bool = False
    """Whether the model is told what worked in this run and what did not."""
    memory_every: int = 5
    """Iterations after which that is put together anew."""
    parents: int = 1
    """How many elites it is shown, to combine what is good in them; several are asked for whole."""
    price_in: float = 0.0
    """Price of a million tokens of requests, in any currency."""
    price_out: float = 0.0
    """Price of a million tokens of answers."""
    max_cost: float | None = None
    """Budget in that currency: once it is spent the run ends, and can be resumed with a higher one."""
    max_total_tokens: int | None = None
    """Budget in tokens of requests and answers together."""

    def __post_init__(self) -> None:
        """Raises ConfigError for what is out of range."""
        if self.format not in FORMATS:
            raise ConfigError(f"format is {self.format!r}; expected one of {', '.join(FORMATS)}.")
        for name, value, fits, expected in (
            ("temperature", self.temperature, self.temperature >= 0, "a number from 0"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "a number above 0, at most 1"),
            ("min_p", self.min_p, 0 <= self.min_p < 1, "a number from 0, below 1"),
            ("max_tokens", self.max_tokens, self.max_tokens is None or self.max_tokens >= 1, "a number from 1"),
            ("timeout", self.timeout, self.timeout > 0, "seconds above 0"),
            ("retries", self.retries, self.retries >= 0, "a number from 0"),
            ("back_off", self.back_off, self.back_off >= 0, "seconds from 0"),
            ("concurrency", self.concurrency, 1 <= self.concurrency <= 1000, "a number from 1 to 1000"),
            ("parents", self.parents, 1 <= self.parents <= 8, "a number from 1 to 8"),
            ("memory_every", self.memory_every, self.memory_every >= 1, "a number from 1"),
            ("price_in", self.price_in, self.price_in >= 0, "a price from 0"),
            ("price_out", self.price_out, self.price_out >= 0, "a price from 0"),
            ("max_cost", self.max_cost, self.max_cost is None or self.max_cost > 0, "an amount above 0"),
            (
                "max_total_tokens",
                self.max_total_tokens,
                self.max_total_tokens is None or self.max_total_tokens > 0,
                "a number above 0",
            ),
        ):
            if not fits or (isinstance(value, float) and not math.isfinite(value)):
                raise ConfigError(f"{name} is {value!r}; expected {expected}.")
        if self.max_cost is not None and not self.price_in + self.price_out > 0:
            raise ConfigError("max_cost needs prices, or nothing ever costs anything; set price_in and price_out too.")
        self.extra_fields()

    def extra_fields(self) -> dict[str, Any]:
        """The object in ``extra``.

        Raises:
            ConfigError: It is no JSON object, or has a field that is set otherwise.
        """
        if not self.extra.strip():
            return {}
        try:
            fields = json.loads(self.extra)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise ConfigError(f'extra is {self.extra!r}; expected a JSON object such as {{"top_k": 40}}.')
        if taken := [name for name in fields if name in _OURS]:
            raise ConfigError(
                f"extra sets {taken[0]!r}, which an option of its own sets or nothing reads; leave it out."
            )
        return fields

    def terms(self) -> Terms:
        """Prices and budgets."""
        return Terms(self.price_in, self.price_out, self.max_cost, self.max_total_tokens)
