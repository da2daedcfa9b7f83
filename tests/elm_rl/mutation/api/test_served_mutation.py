"""A model on a server as operator: how many are asked at once, what is kept, repeated and replayed, and what it may cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elm_rl.errors import BudgetSpent, ConfigError, ElmError
from elm_rl.mutation.api import ServedMutation, ServedOptions
from elm_rl.mutation.api import operator as served
from elm_rl.mutation.api.client import ServerRefusal
from elm_rl.mutation.api.ledger_file import ledger_path
from elm_rl.mutation.operator import Child, FailedAttempt, Outcome, Parent
from tests.elm_rl.mutation.api.rude_server import (
    CHILD,
    RudeServer,
    answers,
    breaks_off,
    completion,
    disconnects,
    echoes,
    hangs,
    sends,
    serving,
)

PARENT = "def make_walker():\n    size = 1\n    return size\n"
PARENTS = [Parent(PARENT.replace("1", str(number)), number) for number in range(12)]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RudeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def server(shared_server: RudeServer, monkeypatch: pytest.MonkeyPatch) -> RudeServer:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shared_server.behave(echoes)
    shared_server.slow = 0.0
    return shared_server


def operator(
    server: RudeServer, folder: Path | None = None, name: str = "api", replay: Path | None = None, **options: Any
) -> ServedMutation:
    settings = ServedOptions(**{"back_off": 0.001, "retries": 2, "timeout": 30.0, **options})
    made = ServedMutation(f"tiny@{server.url}", settings, name=name)
    if folder is not None:
        made.open(folder, replay)
    return made


def mutated(made: ServedMutation, parents: list[Parent] = PARENTS, seed: int = 0) -> list[Child]:
    try:
        return made.mutate(parents, np.random.default_rng(seed))
    finally:
        made.close()


def ledger_lines(folder: Path, name: str = "api") -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger_path(folder, name).read_text().splitlines()]


def test_each_parent_gets_its_child_and_the_request_stands_where_the_child_says(
    server: RudeServer, tmp_path: Path
) -> None:
    children = mutated(operator(server, tmp_path, price_in=1.0, price_out=10.0))
    lines = {(line["kind"], line["key"]): line for line in ledger_lines(tmp_path)}
    for parent, child in zip(PARENTS, children, strict=True):
        assert child.program is not None
        assert child.program.startswith(CHILD)
        assert child.prompt is not None
        file, key = child.prompt.split("#")
        assert file == "requests/api.jsonl"
        asked = lines["asked", key]["body"]["messages"][-1]["content"]
        assert parent.program in asked
        assert child.message in asked
        assert child.program in lines["replied", key]["text"]
        assert child.cost == pytest.approx(100e-6 + 400e-6)
    assert len({child.prompt for child in children}) == len(PARENTS)
    body = server.bodies[0]
    assert set(body) == {"model", "messages", "temperature", "max_tokens", "seed"}
    assert (body["model"], body["max_tokens"]) == ("tiny", len(PARENT) + 256)
    assert len({body["seed"] for body in server.bodies}) == len(PARENTS)
    assert all(0 <= body["seed"] < 2**31 for body in server.bodies)


def test_every_option_of_a_request_reaches_the_server(server: RudeServer) -> None:
    options = {
        "temperature": 0.0,
        "top_p": 0.5,
        "min_p": 0.25,
        "max_tokens": 77,
        "seed": False,
        "extra": '{"top_k": 5}',
    }
    mutated(operator(server, **options, format="search_replace"), PARENTS[:1])
    (body,) = server.bodies
    messages = body.pop("messages")
    assert body == {"model": "tiny", "temperature": 0.0, "top_p": 0.5, "min_p": 0.25, "max_tokens": 77, "top_k": 5}
    assert "<<<<<<< SEARCH" in messages[-1]["content"]
    others = (Parent("# one of the others\n"),)
    combining = operator(server, parents=2, repair=True)
    assert (combining.parents_per_child, combining.repairs) == (2, True)
    failed = FailedAttempt("# a child that failed\n", "It has no joints.")
    mutated(combining, [Parent(PARENT, others=others), Parent(PARENT, failed=failed)])
    shown = sorted(body["messages"][-1]["content"] for body in server.bodies[1:])
    assert "# one of the others" in shown[0] + shown[1]
    assert any("# a child that failed" in text and "It has no joints." in text for text in shown)
    waiting, arriving = operator(server, wait=True, concurrency=3), operator(server, wait=False, concurrency=3)
    assert (waiting.ahead, waiting.concurrency, arriving.ahead, arriving.concurrency) == (True, 0, False, 3)


def test_what_worked_is_told_from_the_iteration_after_it_was_put_together(server: RudeServer, tmp_path: Path) -> None:
    made = operator(server, tmp_path, memory=True, memory_every=1)
    child = Child(CHILD, "api", "m")
    outcome = Outcome(PARENTS[0], child, fitness=9.5, measures={"height": 3.0}, admitted=True, gain=2.0)
    before = made.state()
    begun = made.children(PARENTS[:2], np.random.default_rng(0))
    made.learn([outcome])
    assert all(child.applied for child in begun)
    mutated(made, PARENTS[2:4])
    told = ["Changes that worked in this run" in body["messages"][0]["content"] for body in server.bodies]
    assert told == [False, False, True, True], "what is being made is not told what came later"
    learnt = json.loads(json.dumps(made.state()))
    made.restore(before)
    assert made.state() == before
    made.restore(learnt)
    mutated(made, PARENTS[4:5])
    assert "9.5 after" in server.bodies[-1]["messages"][0]["content"]
    plain = operator(server)
    plain.learn([outcome])
    assert plain.state() == {}


def test_same_numbers_same_questions_and_children_whatever_arrives_first(server: RudeServer, tmp_path: Path) -> None:
    server.behave(sends(500), echoes, breaks_off, echoes, echoes)
    first = mutated(operator(server, tmp_path / "a", concurrency=5))
    server.behave(echoes)
    second = mutated(operator(server, tmp_path / "b", concurrency=1))
    assert first == second
    third = mutated(operator(server, tmp_path / "c"), seed=1)
    assert [child.prompt for child in third] != [child.prompt for child in first]
    server.behave(echoes)
    one_by_one = operator(server, tmp_path / "d")
    again = [one_by_one.mutate([parent], np.random.default_rng(0))[0] for parent in PARENTS[:1] * 2]
    one_by_one.close()
    assert again[0] == again[1]
    assert len(server.bodies) == 1, "the same question with the same numbers is asked once"


@pytest.mark.parametrize("how", ["children", "child"])
def test_the_ceiling_holds_through_failures_and_is_reached(server: RudeServer, tmp_path: Path, how: str) -> None:
    server.slow = 0.02
    server.behave(
        *[echoes, sends(500), disconnects, sends(200, b"rubbish"), echoes, sends(429, Retry_After="0.01")] * 99
    )
    made = operator(server, tmp_path, concurrency=3, wait=how == "children", retries=99, back_off=0.0)
    parents = [Parent(PARENT, number) for number in range(30)]
    if how == "children":
        children = mutated(made, parents)
    else:
        with ThreadPoolExecutor(12) as pool:
            generators = [np.random.default_rng(number) for number in range(len(parents))]
            children = list(pool.map(made.child, parents, generators))
        made.close()
    assert all(child.applied for child in children)
    assert server.most == 3
    totals = made.totals()
    assert (totals["requests"], totals["answers"]) == (30, 30)
    assert totals["failed_attempts"] == len(server.bodies) - 30


def test_a_run_that_goes_on_asks_for_nothing_twice(server: RudeServer, tmp_path: Path) -> None:
    made = operator(server, tmp_path)
    some = made.children(PARENTS, np.random.default_rng(0))
    first = [next(some) for _ in range(3)]
    some.close()
    made.close()
    again = operator(server, tmp_path)
    children = mutated(again)
    assert children[:3] == first
    assert len(children) == len(PARENTS)
    asked = Counter(line["key"] for line in ledger_lines(tmp_path) if line["kind"] == "replied")
    assert set(asked.values()) == {1}
    assert len(asked) == len(PARENTS)


def test_a_run_replays_without_the_server_bit_for_bit(tmp_path: Path) -> None:
    prices = {"price_in": 3.0, "price_out": 15.0}
    with serving() as server:
        server.behave(echoes, sends(500), echoes, answers("no program"), answers("cut", "length"), sends(413), echoes)
        made = operator(server, tmp_path / "old", retries=0, concurrency=1, **prices)
        made.check_parents([PARENT])
        children = mutated(made)
    failures = Counter(child.failure for child in children if not child.applied)
    assert failures == {"no_answer": 1, "not_applied": 1, "cut": 1, "parent_too_long": 1}
    replay = operator(server, tmp_path / "new", replay=tmp_path / "old", **prices)
    assert mutated(replay) == children
    assert {**made.totals(), "cost": 0} == {**replay.totals(), "cost": 0} | {
        name: made.totals()[name] for name in ("prompt_tokens", "completion_tokens")
    }
    second = operator(server, tmp_path / "newer", "other", replay=tmp_path / "new", **prices)
    assert [child.program for child in mutated(second)] == [child.program for child in children]
    with pytest.raises(ElmError, match="asks what the replayed run never asked"):
        mutated(operator(server, tmp_path / "newest", replay=tmp_path / "old"), seed=1)
    with pytest.raises(ElmError, match="no requests to replay"):
        operator(server, tmp_path / "last", replay=tmp_path / "nowhere")


def test_a_budget_ends_the_run_and_a_higher_one_lets_it_go_on(server: RudeServer, tmp_path: Path) -> None:
    limited = operator(server, tmp_path, max_total_tokens=500, concurrency=2)
    with pytest.raises(BudgetSpent, match="max_total_tokens=500"):
        mutated(limited)
    assert 4 <= len(server.bodies) <= 5, "140 tokens each, and what was under way was waited for"
    assert limited.totals()["answers"] == len(server.bodies)
    with pytest.raises(BudgetSpent):
        mutated(operator(server, tmp_path, max_total_tokens=500))
    assert len(server.bodies) <= 5
    prices = {"price_in": 1.0, "price_out": 10.0}  # 0.0005 a child
    with pytest.raises(BudgetSpent, match=r"max_cost=0\.003"):
        mutated(operator(server, tmp_path, max_cost=0.003, concurrency=1, **prices))
    assert len(server.bodies) == 6
    children = mutated(operator(server, tmp_path, max_cost=1.0, **prices))
    assert all(child.applied for child in children)
    assert len(server.bodies) == len(PARENTS)
    server.behave(hangs)
    with pytest.raises(BudgetSpent):  # what failed attempts may have cost counts too
        mutated(operator(server, tmp_path / "b", timeout=0.2, retries=0, max_total_tokens=600, concurrency=1))
    assert len(server.bodies) == 1


def test_the_key_is_sent_and_written_nowhere(
    server: RudeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("MY_KEY", f"{key}\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    tell = {"error": {"message": f"What of {key}?"}}
    server.behave(sends(500, tell), sends(200, f"rubbish {key}".encode()), answers(f"```python\n# {key}\n{CHILD}```"))
    made = operator(server, tmp_path, key="MY_KEY", concurrency=1)
    made.check_parents([PARENT])
    (child,) = mutated(made, PARENTS[:1])
    assert set(server.keys) == {f"Bearer {key}"}
    server.behave(sends(401, tell))
    with pytest.raises(ServerRefusal, match=r"refuses the key in MY_KEY \(401: What of \[key\]\?\)") as refused:
        made.check_parents([PARENT])
    with pytest.raises(ServerRefusal):
        mutated(made, PARENTS[1:2])
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "[key]" in written
    for text in (written, str(child), str(refused.value), repr(made), repr(made.options), *capfd.readouterr()):
        assert key not in text
    server.behave(echoes)
    mutated(operator(server), PARENTS[:1])
    mutated(operator(server, key=""), PARENTS[1:2])
    monkeypatch.delenv("OPENAI_API_KEY")
    mutated(operator(server), PARENTS[2:3])
    assert server.keys == ["Bearer sk-another", "Bearer none", "Bearer none"]
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ElmError, match="environment variable MY_KEY, which is not set"):
        operator(server, key="MY_KEY").check_parents([PARENT])
    monkeypatch.setenv("MY_KEY", "sk-\N{LATIN SMALL LETTER E WITH ACUTE}")
    with pytest.raises(ConfigError, match="characters that no key has"):
        operator(server, key="MY_KEY")


def test_a_key_that_json_escapes_is_written_nowhere(
    server: RudeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = 'sk-SECRET/KEY+1"23'
    monkeypatch.setenv("MY_KEY", key)
    told = json.dumps({"error": {"message": f"What of {key}?"}})
    for text in (told, told.replace("/", "\\/")):
        server.behave(sends(500, text.encode()), answers(f"```python\n# {key}\n{CHILD}```"))
        made = operator(server, tmp_path, key="MY_KEY", concurrency=1)
        (child,) = mutated(made, PARENTS[:1], seed=len(text))
        written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
        assert "[key]" in written
        assert "SECRET" not in written
        assert "SECRET" not in str(child)


def test_what_will_never_work_is_said_before_anything_is_written(server: RudeServer, tmp_path: Path) -> None:
    for act, sentence in (
        (sends(401, {"error": {"message": "No key"}}), "refuses a request without a key .401: No key.; put a key"),
        (sends(404, {"error": {"message": "?"}}), "knows no model 'tiny' .* it offers tiny, large"),
        (sends(404, b"404 page not found"), "404 page not found"),
        (sends(500, b"Oops"), "gives no answer for the model 'tiny' .given up after 3 attempts: status 500: Oops."),
    ):
        server.behave(act)
        made = operator(server)
        with pytest.raises(ElmError, match=sentence) as error:
            made.check_parents([PARENT])
        assert "\n" not in str(error.value)
        made.close()
    server.behave(answers("yes", "length"))
    made = operator(server)
    made.check_parents([PARENT])
    made.open(tmp_path)
    assert made.totals()["prompt_tokens"] == 100, "the first question counts"
    made.close()


def test_a_server_that_is_gone_or_refuses_ends_the_run_soon(server: RudeServer, tmp_path: Path) -> None:
    parents = [Parent(PARENT, number) for number in range(100)]
    server.behave(echoes, echoes, sends(503, b"Out of memory"))
    made = operator(server, tmp_path, concurrency=2, retries=0)
    with pytest.raises(
        ElmError, match=r"left 1\d requests in a row without an answer \(the last was .*Out of memory\)"
    ):
        mutated(made, parents)
    assert len(server.bodies) <= 2 + 10 + 2
    server.behave(sends(403, b"Revoked"))
    made = operator(server, tmp_path, concurrency=2)
    with pytest.raises(ServerRefusal, match="Revoked"):
        mutated(made, parents)
    assert len(server.bodies) <= 2
    server.behave(*[sends(400, b"Bad words")] * 9, echoes)
    children = mutated(operator(server, tmp_path / "b", concurrency=1), parents[:20])
    assert [child.failure for child in children[:9]] == ["no_answer"] * 9
    assert all(child.applied for child in children[9:])


def test_a_process_killed_within_replies_leaves_what_another_goes_on_with(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        import numpy as np
        from elm_rl.mutation.api import ServedMutation, ServedOptions
        from tests.elm_rl.mutation.api.test_served_mutation import PARENTS
        operator = ServedMutation(sys.argv[1], ServedOptions(concurrency=3))
        operator.open(Path(sys.argv[2]))
        operator.mutate(PARENTS, np.random.default_rng(0))
    """
    with serving() as server:
        server.behave(echoes)
        expected = mutated(operator(server, tmp_path / "unkilled"))
        seventh = threading.Event()

        def stuck(handler: Any) -> None:
            """Half of a reply, and then nothing until the client is gone."""
            seventh.set()
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(completion(CHILD)[:50])
            hangs(handler)

        server.behave(*[echoes] * 6, stuck)
        arguments = [sys.executable, "-c", textwrap.dedent(code), f"tiny@{server.url}", str(tmp_path / "killed")]
        process = subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": os.getcwd()})
        assert seventh.wait(120)
        process.send_signal(signal.SIGKILL)
        process.wait()
        asked_before = {body["seed"] for body in server.bodies}
        paid = {line["key"] for line in ledger_lines(tmp_path / "killed") if line["kind"] == "replied"}
        assert 4 <= len(paid) <= 6
        server.behave(echoes)
        made = operator(server, tmp_path / "killed")
        assert mutated(made) == expected
        assert len(server.bodies) == len(PARENTS) - len(paid)
        lost = len(asked_before) - len(paid)
        assert 1 <= lost <= 3
        assert made.totals()["prompt_tokens"] > 100 * len(PARENTS), "a request whose reply was lost is counted"


def test_closed_in_the_middle_it_takes_what_comes_soon_and_gives_up_the_rest(
    server: RudeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "CLOSE_SECONDS", 0.2)
    server.behave(hangs)
    made = operator(server, tmp_path, concurrency=2)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(made.mutate, PARENTS, np.random.default_rng(0))
        while len(server.bodies) < 2:
            time.sleep(0.01)
        made.close()
        with pytest.raises(ElmError, match="closed while it waited"):
            future.result()
    server.behave(echoes)
    assert all(child.applied for child in mutated(operator(server, tmp_path)))
