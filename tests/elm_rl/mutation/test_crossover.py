"""Language-model crossover: parents in a row, a fourth is written and ends where a fifth would begin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.seeds import load_seed
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.stage import run_evolve
from elm_rl.mutation.crossover import CrossoverMutation, CrossoverOptions, _has_next
from elm_rl.mutation.operator import CUT, NOT_APPLIED, TOO_LONG, Parent
from tests.elm_rl.mutation.talking_models import babbler, line_tokenizer, parrot

PROGRAMS = [load_seed(name) for name in ("square", "radial", "cppn_fixed")]
CHILD = "def make_walker():\n    wc = walker_creator()\n    a = wc.add_joint(0, 0)\n    return wc.get_walker()\n"
TRIO = Parent(PROGRAMS[0], others=(Parent(PROGRAMS[1]), Parent(PROGRAMS[2])))
ROW = f"# walker_1.py\n{PROGRAMS[1]}\n# walker_2.py\n{PROGRAMS[2]}\n# walker_3.py\n{PROGRAMS[0]}\n# walker_4.py\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that goes on with a fourth walker and then a fifth, for ever."""
    answer = f"{CHILD}\n# walker_5.py\n"
    tokenizer = line_tokenizer(answer + "# walker_4.py\n", None, PROGRAMS)
    row = f"# walker_4.py\n{answer}{CHILD}"
    return parrot(tokenizer, [row], tmp_path_factory.mktemp("base") / "model")


def test_the_row_is_gone_on_with_up_to_the_next_head(model: Path) -> None:
    operator = CrossoverMutation(str(model), CrossoverOptions(temperature=0.0))
    assert (operator.parents_per_child, operator.ahead, operator.repairs) == (3, True, False)
    assert operator._local.tokenizer.decode(operator._question(TRIO)) == ROW
    children = operator.mutate([TRIO, TRIO], np.random.default_rng(0))
    assert [(child.program, child.operator, child.diff) for child in children] == [(CHILD, "crossover", None)] * 2
    # The model never ends by itself: what it was let write stops soon after the head.
    ((written, ended),) = operator._local.answers([operator._question(TRIO)], [400], 0, complete=_has_next)
    assert not ended
    assert "# walker_5" in written
    assert written.count("make_walker") <= 2
    short = CrossoverMutation(str(model), CrossoverOptions(temperature=0.0, max_new_tokens=5))
    (child,) = short.mutate([TRIO], np.random.default_rng(0))
    assert (child.program, child.failure) == (None, CUT)


@pytest.mark.parametrize(
    ("written", "ended", "program", "failure"),
    [
        (f"{CHILD}\n# walker_5.py\ndef", False, CHILD, NOT_APPLIED),
        (f"{CHILD}\n## walker5", False, CHILD, NOT_APPLIED),
        (CHILD, True, CHILD, NOT_APPLIED),
        (f"{CHILD}```\nAnd so on\n", False, CHILD, NOT_APPLIED),
        (f"{CHILD}<|endoftext|>import os", False, CHILD, NOT_APPLIED),
        (f"```python\n{CHILD}```\n", False, CHILD, NOT_APPLIED),
        (CHILD, False, None, CUT),
        ("# walker_5.py\n", False, None, NOT_APPLIED),
        ("I am sorry.\n\n# walker_5.py\n", False, None, NOT_APPLIED),
        ("x = 1\n" * 99_999, True, None, NOT_APPLIED),
    ],
)
def test_what_was_written_is_read(written: str, ended: bool, program: str | None, failure: str, tmp_path: Path) -> None:
    operator = CrossoverMutation(str(babbler(line_tokenizer(ROW, None), tmp_path)))
    operator._local.answers = lambda *_, **__: [(written, ended)]  # type: ignore[method-assign]
    (child,) = operator.mutate([TRIO], np.random.default_rng(0))
    assert (child.program, child.failure) == (program and f"{program.rstrip()}\n", failure)


def test_too_many_parents_for_the_context_are_told_before_and_in_the_run(tmp_path: Path) -> None:
    folder = babbler(line_tokenizer(ROW, None), tmp_path / "model", context=250)
    operator = CrossoverMutation(str(folder))
    operator.check_parents(["x = 1\n" * 900, CHILD])
    long = Parent("x = 1\n" * 200)
    (child,) = operator.mutate([Parent(CHILD, others=(long, long))], np.random.default_rng(0))
    assert child.failure == TOO_LONG
    with pytest.raises(ConfigError, match="2 to 16"):
        CrossoverOptions(parents=1)
    out = tmp_path / "run"
    with pytest.raises(ElmError, match="reads 250 tokens"):
        run_evolve(
            EvolveConfig(
                out=out,
                seeds=("radial",),
                operators=(f"crossover:{folder},parents=16",),
                iterations=1,
                batch_size=1,
                progress=False,
            )
        )
    assert not out.exists()


def test_a_run_gives_it_three_parents(model: Path, tmp_path: Path) -> None:
    config = EvolveConfig(
        out=tmp_path / "run", seeds=("square",), operators=("gp", f"crossover:{model},temperature=0"), shares=(1.0, 1.0),
        iterations=2, batch_size=6, duration=0.5, n_jobs=1, progress=False,
    )  # fmt: skip
    summary = run_evolve(config)
    assert sum(counts["proposed"] for counts in summary["operators"].values()) == 12
