"""What ``elm-rl operators`` says of each kind."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from elm_rl.errors import ConfigError
from elm_rl.mutation.catalogue import OperatorsConfig, explained, field_docs, run_operators, settings
from elm_rl.mutation.specs import KINDS


def test_the_overview_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    run_operators(OperatorsConfig())
    printed = capsys.readouterr().out
    for kind, found in KINDS.items():
        assert f"  {kind}" in printed
        assert found.summary in printed


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_explained(kind: str) -> None:
    text = explained(kind)
    for name, default, meaning in settings(kind):
        assert f"  {name}={default}\n" in text
        assert len(meaning) > 10


def test_unknown_kinds_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"There is no operator 'nobody'; expected one of gp, "):
        OperatorsConfig(kind="nobody")


@dataclass
class Base:
    first: int = 1
    """What comes
    first."""


@dataclass
class Derived(Base):
    second: int = 2
    """What comes second."""
    first: int = 3
    """Another first."""


def test_documentation_of_fields_is_inherited_and_replaced() -> None:
    assert field_docs(Base) == {"first": "What comes first."}
    assert field_docs(Derived) == {"first": "Another first.", "second": "What comes second."}
