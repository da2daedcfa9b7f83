"""How operators work side by side: ahead of the loop, on servers, with repairs; and what a bandit makes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elm_rl.errors import BudgetSpent, ElmError
from elm_rl.evolution.bandit import LEAST_SHARE, Bandit
from elm_rl.mutation.operator import Parent
from elm_rl.runs.run_directory import read_json, read_jsonl
from sodarace_gym.evaluation import Evaluation
from tests.elm_rl.evolution.toy_breeding import Toy, ToyEvaluator, anywhere, children_of, evolve

# --- ahead ------------------------------------------------------------------------------------------------------------


def test_slow_children_are_made_while_others_are_evaluated(tmp_path: Path) -> None:
    """The next iteration's children of an operator that works ahead are begun before this iteration's are scored."""
    events: list[str] = []

    def slow(parent: Parent, rng: np.random.Generator) -> str:
        events.append(f"made of {parent.id}")
        return anywhere(parent, rng)

    class Noting(ToyEvaluator):
        def evaluate(self, programs: Any, terrain: Any, robustness: int = 0) -> list[Evaluation]:
            scored = super().evaluate(programs, terrain)
            deadline = time.monotonic() + 20
            # The second iteration's children appear while the first is not yet over.
            while len(events) < 2 * 12 and len(self.scored) == 12 + 2 and time.monotonic() < deadline:
                time.sleep(0.001)
            events.append("scored")
            return scored

    evolve(tmp_path, Toy("slow", slow, ahead=True), iterations=2, evaluator=Noting())
    assert events.index("scored", 1) >= 2 * 12, "both iterations' children were made before the first was scored"


def test_work_ahead_and_threads_change_nothing(tmp_path: Path) -> None:
    runs = []
    for pause in (0.0, 0.002):

        def make(parent: Parent, rng: np.random.Generator, pause: float = pause) -> str:
            time.sleep(pause * rng.random())
            return anywhere(parent, rng)

        out = tmp_path / str(pause)
        evolve(out, Toy("a", anywhere), Toy("b", make, ahead=True), Toy("c", make, ahead=True))
        runs.append(((out / "admitted.jsonl").read_bytes(), children_of(out)))
    assert runs[0] == runs[1]


def test_a_run_that_goes_on_with_work_ahead_is_the_run_that_never_stopped(tmp_path: Path) -> None:
    def operators() -> list[Toy]:
        return [Toy("a", anywhere), Toy("b", anywhere, ahead=True)]

    evolve(tmp_path / "once", *operators())
    evolve(tmp_path / "twice", *operators(), iterations=2)
    evolve(tmp_path / "twice", *operators(), resume=True)
    assert children_of(tmp_path / "once") == children_of(tmp_path / "twice")
    assert (tmp_path / "once" / "admitted.jsonl").read_bytes() == (tmp_path / "twice" / "admitted.jsonl").read_bytes()


def test_parents_of_work_ahead_are_elites_of_one_iteration_before(tmp_path: Path) -> None:
    """In the second iteration they are still the seed's archive of the beginning; in the third, of the first iteration."""
    operator = Toy("ahead", anywhere, ahead=True)
    evolve(tmp_path, operator, iterations=4, batch_size=40)
    lines = children_of(tmp_path)
    born = {record["id"]: record["iteration"] for record in read_jsonl(tmp_path / "admitted.jsonl")}
    for line in lines:
        assert born[line["parents"][0]] <= max(0, line["iteration"] - 2)
    assert any(born[line["parents"][0]] == line["iteration"] - 2 for line in lines if line["iteration"] > 2)


# --- servers ----------------------------------------------------------------------------------------------------------


class Server(Toy):
    """A toy that is asked by several threads; it counts how many are inside at once, and waits if it is told to."""

    concurrency = 3

    def __init__(self, name: str = "server", delay: float = 0.0) -> None:
        super().__init__(name, self._answer)
        self.delay = delay
        self.inside = self.most_inside = 0
        self.lock = threading.Lock()

    def _answer(self, parent: Parent, rng: np.random.Generator) -> str:
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        time.sleep(self.delay * rng.random())
        with self.lock:
            self.inside -= 1
        return anywhere(parent, rng)


def test_a_slow_server_holds_nobody_up_and_is_never_asked_too_much(tmp_path: Path) -> None:
    server = Server(delay=0.05)
    evolve(tmp_path, Toy("local", anywhere), server, iterations=60, shares=(0.5, 0.5))
    lines = children_of(tmp_path)
    by_operator = [line["operator"] for line in lines]
    assert 0 < by_operator.count("server") < by_operator.count("local")
    assert server.most_inside <= 3
    tickets = [line["ticket"] for line in lines if line["operator"] == "server"]
    assert len(set(tickets)) == len(tickets)
    assert all(
        int(ticket.partition(".")[0]) <= line["iteration"]
        for ticket, line in zip(tickets, [line for line in lines if line["ticket"]], strict=True)
    )
    # What no thread was free to ask for went to the other operator: no slot was lost.
    assert by_operator.count("local") + len(set(tickets)) >= 60 * 12 - 3 * 60


def test_a_run_with_a_server_replays_bit_for_bit_whatever_the_delays(tmp_path: Path) -> None:
    evolve(tmp_path / "run", Toy("local", anywhere), Server(delay=0.01), iterations=25, shares=(0.5, 0.5))
    evolve(
        tmp_path / "again",
        Toy("local", anywhere),
        Server(delay=0.0),
        iterations=25,
        shares=(0.5, 0.5),
        replay=tmp_path / "run",
    )
    assert children_of(tmp_path / "run") == children_of(tmp_path / "again")
    assert (tmp_path / "run" / "admitted.jsonl").read_bytes() == (tmp_path / "again" / "admitted.jsonl").read_bytes()


def test_a_replay_with_other_settings_is_refused(tmp_path: Path) -> None:
    evolve(tmp_path / "run", Toy("local", anywhere), Server(), iterations=10, shares=(0.5, 0.5))
    with pytest.raises(
        ElmError, match=r"has an answer to request .* which this run has not asked; replay it with the same"
    ):
        evolve(
            tmp_path / "again", Toy("local", anywhere), Server(), iterations=10, shares=(0.9, 0.1), seed=4,
            replay=tmp_path / "run",
        )  # fmt: skip


def test_requests_under_way_survive_a_resumption(tmp_path: Path) -> None:
    """What was asked before the end and not answered is asked again, of the same parent, and joins later."""
    run = tmp_path / "run"
    evolve(run, Toy("local", anywhere), Server(delay=0.3), iterations=3, shares=(0.5, 0.5))
    waiting = read_json(run / "checkpoint.json")["state"]["pending"]["requests"]
    assert waiting
    server = Server()
    evolve(run, Toy("local", anywhere), server, iterations=40, shares=(0.5, 0.5), resume=True)
    answered = {line["ticket"]: line["parents"] for line in children_of(run) if line["ticket"]}
    for ticket, _, parent in waiting:
        assert answered[ticket] == parent["ids"]


def test_servers_alone_are_waited_for(tmp_path: Path) -> None:
    for run in ("one", "two"):
        evolve(tmp_path / run, Server(delay=0.001))
    lines = children_of(tmp_path / "one")
    assert len(lines) == 5 * 12
    assert lines == children_of(tmp_path / "two")


@pytest.mark.parametrize("ways", [{}, {"ahead": True}, {"concurrency": 2}])
def test_a_spent_budget_ends_the_run_and_a_larger_one_goes_on(tmp_path: Path, ways: dict[str, Any]) -> None:
    left = [20]

    def paid(parent: Parent, rng: np.random.Generator) -> str:
        if left[0] <= 0:
            raise BudgetSpent("The budget of 'paid' is spent; give a larger one and resume.")
        left[0] -= 1
        return anywhere(parent, rng)

    result = evolve(tmp_path, Toy("gp", anywhere), Toy("paid", paid, **ways), iterations=30, shares=(0.5, 0.5))
    assert result.summary["stopped"] == "The budget of 'paid' is spent; give a larger one and resume."
    done = result.summary["iterations"]
    assert 0 < done < 30
    assert len({line["iteration"] for line in children_of(tmp_path)}) == done
    left[0] = 10_000
    result = evolve(
        tmp_path, Toy("gp", anywhere), Toy("paid", paid, **ways), iterations=30, shares=(0.5, 0.5), resume=True
    )
    assert (result.summary["iterations"], result.summary["stopped"]) == (30, "all iterations are done")


# --- repairs, several parents, what operators are told ------------------------------------------------------------------


def test_failed_children_go_back_once_with_their_error(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def clumsy(parent: Parent, rng: np.random.Generator) -> str:
        if parent.failed is None:
            return f"broken {rng.integers(1000)}"
        asked.append((parent.failed.program, parent.failed.error))
        return "still broken"

    evolve(tmp_path, Toy("clumsy", clumsy, repairs=True), iterations=3)
    lines = children_of(tmp_path)
    first = [line for line in lines if line["iteration"] == 1]
    assert all(line["program"].startswith("broken") and not line["repair"] for line in first)
    second = [line for line in lines if line["iteration"] == 2]
    assert all(line["repair"] for line in second)
    assert [program for program, _ in asked] == [line["program"] for line in first]
    assert [error for _, error in asked] == [line["explanation"] for line in first]
    assert [line["parents"] for line in second] == [line["parents"] for line in first]
    assert not any(line["repair"] for line in lines if line["iteration"] == 3), "a failed repair is not mended again"


def test_operators_that_do_not_mend_are_never_asked_to(tmp_path: Path) -> None:
    seen: list[Any] = []

    def clumsy(parent: Parent, rng: np.random.Generator) -> str:
        seen.append(parent.failed)
        return "broken"

    evolve(tmp_path, Toy("clumsy", clumsy))
    assert set(seen) == {None}


def test_several_parents_come_from_one_archive_with_their_figures(tmp_path: Path) -> None:
    seen: list[Parent] = []

    def combine(parent: Parent, rng: np.random.Generator) -> str:
        seen.append(parent)
        return anywhere(parent, rng)

    evolve(tmp_path, Toy("mix", combine, parents_per_child=3), seeds=("square", "radial"), iterations=8)
    records = {record["id"]: record for record in read_jsonl(tmp_path / "admitted.jsonl")}
    for parent in seen:
        assert len(parent.others) == 2
        for each in (parent, *parent.others):
            record = records[each.id]
            assert (each.program, each.archive, each.fitness) == (record["program"], parent.archive, record["fitness"])
            assert each.measures == {name: record[name] for name in ("height", "width", "mass")}
    assert len({parent.others[0].id for parent in seen}) > 5
    children = [record for record in records.values() if record["parent"] is not None]
    assert all(len(record["parents"]) == 3 and record["parents"][0] == record["parent"] for record in children)


def test_operators_are_told_what_became_of_each_child(tmp_path: Path) -> None:
    script = iter(["20 20 20 5", "nothing", None, "20 20 20 7", "20 20 20 7"])
    operator = Toy("toy", lambda parent, rng: next(script))
    evolve(tmp_path, operator, iterations=1, batch_size=5)
    told = [(outcome.error, outcome.admitted, outcome.gain, outcome.fitness) for outcome in operator.outcomes]
    assert told == [
        (None, True, 5.0, 5.0),
        ("syntax_error", False, 0.0, None),
        ("not_applied", False, 0.0, None),
        (None, True, 2.0, 7.0),
        (None, False, 0.0, 7.0),
    ]
    assert operator.outcomes[1].explanation == "no numbers in 'nothing'"
    lines = children_of(tmp_path)
    assert [line["admitted"] for line in lines] == [1, None, None, 2, None]
    assert [line["new"] for line in lines] == [True, False, False, True, False]


# --- bandit -----------------------------------------------------------------------------------------------------------


def test_the_bandit_prefers_who_brings_more_and_remembers_it(tmp_path: Path) -> None:
    def poor(parent: Parent, rng: np.random.Generator) -> str:
        return " ".join(repr(float(number)) for number in rng.uniform((0, 0, 0, 0), (24, 30, 400, 0.5)))

    operators = [Toy("poor", poor), Toy("good", anywhere)]
    evolve(tmp_path, *operators, iterations=15, batch_size=40)
    shares = [line["shares"] for line in read_jsonl(tmp_path / "metrics.jsonl") if line["iteration"]]
    assert shares[-1]["good"] > 0.8
    # Another operator joins: those that were there keep their accounts, the new one is tried.
    evolve(tmp_path, *operators, Toy("fresh", poor), iterations=16, batch_size=40, resume=True)
    last = list(read_jsonl(tmp_path / "metrics.jsonl"))[-1]
    assert last["operators"]["fresh"]["proposed"] > 8
    assert last["operators"]["poor"]["proposed"] < last["operators"]["good"]["proposed"]


accounts = st.dictionaries(st.sampled_from("abcd"), st.tuples(*[st.floats(0, 1e6)] * 3), max_size=4)


@given(st.lists(accounts, max_size=6))
def test_bandit_shares_are_shares_and_survive_a_checkpoint(
    history: list[Mapping[str, tuple[float, float, float]]],
) -> None:
    bandit = Bandit(list("abcd"))
    for entry in history:
        bandit.pay(entry)
    shares = bandit.shares()
    assert sum(shares) == pytest.approx(1.0)
    assert all(share >= LEAST_SHARE - 1e-12 for share in shares)
    again = Bandit(list("abcd"))
    again.restore(bandit.state())
    assert again.shares() == shares
    fewer = Bandit(["d", "new"])
    fewer.restore(bandit.state())
    assert fewer.state()["d"] == bandit.state()["d"]


def test_what_costs_nothing_and_brings_something_is_compared_by_child() -> None:
    bandit = Bandit(["gp", "poor", "server", "new"])
    bandit.pay({"gp": (100.0, 0.0, 50.0), "poor": (1.0, 0.0, 50.0), "server": (1e4, 0.5, 50.0)})
    gp, poor, server, new = bandit.shares()
    assert server == LEAST_SHARE
    assert poor < 1.01 * LEAST_SHARE
    assert gp == pytest.approx(new)
    nothing = Bandit(["gp", "server"])
    nothing.pay({"gp": (0.0, 0.0, 50.0), "server": (3.0, 0.5, 50.0)})
    assert nothing.shares() == pytest.approx([LEAST_SHARE, 1 - LEAST_SHARE])


def test_the_children_log_opens_in_pandas_in_a_line(tmp_path: Path) -> None:
    import pandas

    evolve(tmp_path, Toy("toy", anywhere))
    frame = pandas.read_json(tmp_path / "children.jsonl.gz", lines=True)
    assert len(frame) == 60
    assert {"operator", "parents", "error", "prompt", "time", "program"} <= set(frame.columns)
