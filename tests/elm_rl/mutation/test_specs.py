"""Operators by name: what a command line and a file can say, and what is said of mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from elm_rl.errors import ConfigError
from elm_rl.mutation.background import BackgroundMutation
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.specs import KINDS, OperatorSpec, make_operators, read_options, read_specs


def test_names_on_a_command_line() -> None:
    assert read_specs(["gp", "model:models/small,temperature=0.8,name=warm", "model:hub/other"]) == [
        OperatorSpec("gp", None, "gp"),
        OperatorSpec("model", "models/small", "warm", {"temperature": "0.8"}),
        OperatorSpec("model", "hub/other", "model:other"),
    ]


def test_the_same_from_a_file_between_others(tmp_path: Path) -> None:
    path = tmp_path / "operators.toml"
    path.write_text(
        '[[operator]]\nkind = "model"\nsource = "models/small"\nname = "warm"\ntemperature = 0.8\n'
        '[[operator]]\nkind = "gp"\nname = "other"\n'
    )
    assert read_specs([str(path), "gp"]) == [
        OperatorSpec("model", "models/small", "warm", {"temperature": 0.8}),
        OperatorSpec("gp", None, "other"),
        OperatorSpec("gp", None, "gp"),
    ]


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ([], r"operators is empty; expected one or more of gp, "),
        (["nobody"], r"There is no operator 'nobody'; expected one of gp, "),
        (["model"], r"operators has 'model'; expected model:MODEL"),
        (["model:"], r"expected model:MODEL"),
        (["gp:folder"], r"expected gp alone, which has no source"),
        (["gp,fast"], r"expected settings such as temperature=0.8 behind the commas"),
        (["gp", "gp"], r"Two operators are named 'gp'; give one of them another name, as in gp,name=second"),
        (["gp,name=a b"], r"An operator is named 'a b'; expected up to 80 letters"),
        (["x" * 5000], r"There is no operator 'x{80}'; expected"),
        (["gp,tries=1e999"], r"expected tries to be a whole number"),
        (["absent.toml"], r"'absent.toml' cannot be read \(No such file or directory\)"),
    ],
)
def test_mistakes_are_one_sentence(texts: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_specs(texts)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("operator = 3", r"holds operator; expected tables \[\[operator\]\]"),
        ("[[operator]]\nkind = 'gp'\n[other]\n", r"holds operator, other; expected tables"),
        ("[[operator", r"is no TOML file"),
        ("[[operator]]\nkind = 'gp'\ntries = [1]\n", r"expected tries to be a whole number"),
        ("[[operator]]\nkind = 'gp'\nshare = {a = 1}\n", r"expected share to be a part"),
        ("[[operator]]\nname = 'x'\n", r"There is no operator 'None'"),
    ],
)
def test_mistakes_in_a_file_are_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "operators.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        read_specs([str(path)])


def test_a_folder_without_its_kind_is_pointed_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"a model's folder is model:{tmp_path}"):
        read_specs([str(tmp_path)])


def test_operators_are_made_with_their_names_and_refuse_settings_they_have_not() -> None:
    first, second = make_operators(["gp", "gp,name=second"], background=False)
    assert isinstance(first, GPMutation)
    assert (first.name, second.name) == ("gp", "second")
    (third,) = make_operators(["gp,name=third"])
    assert isinstance(third, BackgroundMutation)
    assert third.name == "third"
    with pytest.raises(ConfigError, match=r"operator 'gp' has no setting 'temperature'"):
        make_operators(["gp,temperature=1"])


@dataclass(frozen=True, kw_only=True)
class Options:
    heat: float = 1.0
    count: int | None = None
    loud: bool = False
    place: Path = Path()
    way: Literal["left", "right"] = "left"

    def __post_init__(self) -> None:
        if self.heat < 0:
            raise ConfigError(f"heat is {self.heat}; expected 0 or more.")


def test_settings_are_read_by_their_types_from_text_and_from_values() -> None:
    text = {"heat": "0.5", "count": "3", "loud": "yes", "place": "a/b", "way": "right"}
    values = {"heat": 0.5, "count": 3, "loud": True, "place": "a/b", "way": "right"}
    assert read_options(Options, text, "it") == read_options(Options, values, "it")
    assert read_options(Options, {"count": "none", "heat": 2}, "it") == Options(heat=2.0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"warmth": "1"}, r"it has no setting 'warmth'; it has heat, count, loud, place, way\."),
        ({"heat": "hot"}, r"it has heat = 'hot'; expected a number\."),
        ({"count": "1.5"}, r"it has count = '1.5'; expected a whole number or none\."),
        ({"count": 1.5}, r"it has count = 1.5; expected a whole number or none\."),
        ({"count": True}, r"it has count = True; expected a whole number or none\."),
        ({"loud": "maybe"}, r"it has loud = 'maybe'; expected true or false\."),
        ({"way": "up"}, r"it has way = 'up'; expected one of left, right\."),
        ({"heat": [0.5]}, r"it has heat = \[0.5\]; expected a number\."),
        ({"heat": 10**400}, r"expected a number\."),
        ({"count": {"a": 1}}, r"expected a whole number or none\."),
        ({"heat": "-1"}, r"it: heat is -1.0; expected 0 or more\."),
    ],
)
def test_wrong_settings_are_one_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_options(Options, given, "it")


def test_every_kind_is_there() -> None:
    import importlib

    for kind in KINDS.values():
        module = importlib.import_module(kind.module)
        assert hasattr(module, kind.operator)
        assert kind.options is None or hasattr(module, kind.options)
