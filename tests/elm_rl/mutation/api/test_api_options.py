"""Sources and options of operators on servers: what is understood, and what is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from elm_rl.errors import ConfigError
from elm_rl.mutation.api import ServedMutation, ServedOptions
from elm_rl.mutation.api.options import read_source
from elm_rl.mutation.specs import make_operator, read_specs


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("tiny", "given as 'tiny'; expected MODEL@BASE_URL"),
        ("tiny@localhost:8000", "expected MODEL@BASE_URL"),
        ("@http://localhost/v1", "expected MODEL@BASE_URL"),
        ("tiny@http:///v1", "names no server"),
        ("tiny@http://ä_b/v1", "names no server"),
        ("tiny@http://localhost:port/v1", "names no server"),
        ("tiny@http://local host/v1", "names no server"),
        ("tiny@https://user:secret@host/v1", "holds a user, a password"),
        ("tiny@https://host/v1?key=secret", "holds a user, a password"),
    ],
)
def test_a_source_that_is_none_is_refused_without_repeating_a_secret(source: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as error:
        ServedMutation(source)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"format": "prose"}, "format is 'prose'; expected one of whole"),
        ({"temperature": -1.0}, r"temperature is -1\.0; expected a number from 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"top_p": 0.0}, "top_p"),
        ({"min_p": 1.0}, "min_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"retries": -1}, "retries"),
        ({"concurrency": 0}, "concurrency is 0; expected a number from 1 to 1000"),
        ({"parents": 0}, "parents"),
        ({"memory_every": 0}, "memory_every"),
        ({"price_in": -1.0}, "price_in"),
        ({"max_cost": 1.0}, "set price_in and price_out too"),
        ({"max_cost": 0.0, "price_in": 1.0}, r"max_cost is 0\.0; expected an amount above 0"),
        ({"max_total_tokens": 0}, "max_total_tokens"),
        ({"extra": "[1]"}, "expected a JSON object"),
        ({"extra": "{"}, "expected a JSON object"),
        ({"extra": '{"stream": true}'}, "extra sets 'stream'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ServedOptions(**options)


def test_the_command_line_names_it_with_its_settings() -> None:
    source = "org/tiny:1b@http://localhost:8000/v1"
    (spec,) = read_specs([f"api:{source},wait=no,max_cost=2.5,price_in=1,max_tokens=none"])
    assert (spec.kind, spec.source, spec.name) == ("api", source, "api:tiny:1b")
    made = make_operator(spec)
    assert isinstance(made, ServedMutation)
    assert (made.name, made.concurrency) == ("api:tiny:1b", 8)
    assert made.options == ServedOptions(wait=False, max_cost=2.5, price_in=1.0)
    with pytest.raises(ConfigError, match=r"operator 'api:tiny:1b': top_p is 2\.0"):
        make_operator(read_specs([f"api:{source},top_p=2"])[0])


def test_models_whose_names_hold_signs_are_taken_apart() -> None:
    assert read_source("org/a:b@001@https://host:8/v1/") == ("org/a:b@001", "https://host:8/v1")
