"""What was paid for is kept whatever happens to the process, found again, and counted once."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pandas as pd
import pytest

from elm_rl.errors import BudgetSpent, ElmError
from elm_rl.mutation.api.exchange import NOTHING, Reply, Request, Usage
from elm_rl.mutation.api.ledger import Ledger, Terms
from elm_rl.mutation.api.ledger_file import REQUESTS_FOLDER, ledger_path, recorded_ledgers

TERMS = Terms(price_in=2.0, price_out=10.0)
ANSWER = Reply("answered", 'print("é")\n', True, Usage(1000, 200))
NONE = Reply("no_answer", reason="given up")


def request(number: int, text: str = "Change it.") -> Request:
    return Request({"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 9}, number)


def test_the_key_is_of_content_and_nonce() -> None:
    keys = {request(0).key, request(1).key, request(0, "Change it!").key, request(0, "é\ud800").key}
    assert len(keys) == 4
    assert request(0).key == Request(dict(reversed(request(0).body.items())), 0).key


def test_a_reply_is_found_again_with_what_all_attempts_cost(tmp_path: Path) -> None:
    path = ledger_path(tmp_path, "small")
    ledger = Ledger("small", TERMS, path)
    assert ledger.find(request(0)) is None
    ledger.asked(request(0))
    assert ledger.find(request(0)) is None
    assert ledger.failed(request(0), "status 500", Usage(500, 0, True)) == pytest.approx(0.001)
    assert ledger.replied(request(0), ANSWER) == pytest.approx(0.004)
    ledger.asked(request(1))
    ledger.replied(request(1), NONE)
    totals = ledger.totals()
    assert totals == {
        "requests": 2,
        "answers": 1,
        "failed_attempts": 1,
        "prompt_tokens": 1500,
        "completion_tokens": 200,
        "cost": pytest.approx(0.005),
    }
    for each in (ledger, Ledger("small", TERMS, path)):
        found = each.find(request(0))
        assert found is not None
        assert (found.reply, found.cost) == (ANSWER, pytest.approx(0.005))
        assert each.find(request(1)) == (NONE, 0.0)
        assert each.find(request(2)) is None
        assert each.totals() == totals
    frame = pd.read_json(path, lines=True)
    assert list(frame["kind"]) == ["asked", "failed", "replied", "asked", "replied"]
    assert frame["body"][0]["messages"][0]["content"] == "Change it."


def test_a_file_cut_anywhere_gives_the_replies_that_were_whole_and_can_be_continued(tmp_path: Path) -> None:
    path = ledger_path(tmp_path, "small")
    ledger = Ledger("small", TERMS, path)
    for number in range(2):
        ledger.asked(request(number))
        ledger.replied(request(number), ANSWER)
    data = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(data) if byte == ord("\n")]
    assert len(ends) == 4
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        again = Ledger("small", TERMS, path)
        whole = sum(end <= length for end in ends)
        assert path.stat().st_size == max([0, *ends[:whole]])
        assert [again.find(request(number)) is not None for number in range(2)] == [whole >= 2, whole >= 4]
        if length % 50 == 0:
            again.asked(request(1))
            again.replied(request(1), ANSWER)
            assert Ledger("small", TERMS, path).find(request(1)) is not None
    path.write_bytes(b"x" * 200_000)
    assert Ledger("small", TERMS, path).find(request(0)) is None


def test_a_request_that_a_kill_left_open_is_counted_once_and_asked_again(tmp_path: Path) -> None:
    path = ledger_path(tmp_path, "small")
    ledger = Ledger("small", TERMS, path)
    ledger.asked(request(0, "x" * 300))
    ledger.asked(request(1))
    ledger.failed(request(1), "refused", NOTHING, last=True)
    assert ledger.totals()["prompt_tokens"] == 0
    for _ in range(2):
        ledger = Ledger("small", TERMS, path)
        assert ledger.totals()["prompt_tokens"] == 100
        assert ledger.find(request(0, "x" * 300)) is None
    ledger.asked(request(0, "x" * 300))
    ledger.replied(request(0, "x" * 300), ANSWER)
    for each in (ledger, Ledger("small", TERMS, path)):
        assert each.totals()["prompt_tokens"] == 1100


def test_budgets_allow_no_further_request_and_still_give_what_was_paid_for(tmp_path: Path) -> None:
    path = ledger_path(tmp_path, "small")
    for terms, sentence in (
        (Terms(max_tokens=1200), r"'small' has used 1,200 of max_total_tokens=1,200 tokens; to go on, raise it"),
        (Terms(2.0, 10.0, max_cost=0.004), r"'small' has spent 0\.004 of max_cost=0\.004; to go on, raise it"),
    ):
        path.unlink(missing_ok=True)
        ledger = Ledger("small", terms, path)
        assert ledger.find(request(0)) is None
        ledger.asked(request(0))
        ledger.replied(request(0), ANSWER)
        for each in (ledger, Ledger("small", terms, path)):
            found = each.find(request(0))
            assert found is not None
            assert found.reply == ANSWER
            with pytest.raises(BudgetSpent, match=sentence):
                each.find(request(1))
        assert Ledger("small", Terms(2.0, 10.0, max_cost=1.0, max_tokens=10**6), path).find(request(1)) is None
    spent = Ledger("small", Terms(max_tokens=10))
    spent.failed(request(0), "no whole reply", Usage(10, 0, True))
    with pytest.raises(BudgetSpent):
        spent.find(request(0))
    first = Ledger("small", Terms(max_tokens=10))
    first.checked(Usage(5, 5))
    with pytest.raises(BudgetSpent):
        first.find(request(0))


def test_a_replay_finds_every_reply_keeps_it_and_asks_for_nothing(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    recorded = Ledger("large", TERMS, ledger_path(old, "large"))
    recorded.asked(request(0))
    recorded.failed(request(0), "status 500", Usage(500, 0, True))
    recorded.replied(request(0), ANSWER)
    recorded.asked(request(1))  # its reply never came
    for name in ("small", "large"):  # the operator may have another name
        replay = Ledger(name, TERMS, ledger_path(new, name), recorded_ledgers(old))
        for _ in range(2):
            assert replay.find(request(0)) == recorded.find(request(0))
        for number in (1, 2):
            with pytest.raises(ElmError, match="asks what the replayed run never asked") as error:
                replay.find(request(number))
            assert not isinstance(error.value, BudgetSpent)
        assert replay.totals()["prompt_tokens"] == 1500
    assert Ledger("large", TERMS, ledger_path(new, "large")).find(request(0)) == recorded.find(request(0))
    limited = Ledger("large", Terms(max_tokens=1500), ledger_path(tmp_path / "limited", "large"), recorded_ledgers(old))
    assert limited.find(request(0)) is not None
    with pytest.raises(BudgetSpent):
        limited.find(request(1))
    with pytest.raises(ElmError, match=r"no requests to replay in '.*nothing"):
        recorded_ledgers(tmp_path / "nothing")


def test_a_replay_has_paid_for_the_first_question_too(tmp_path: Path) -> None:
    old, new = ledger_path(tmp_path / "old", "large"), ledger_path(tmp_path / "new", "large")
    recorded = Ledger("large", TERMS, old)
    recorded.checked(Usage(5, 7))
    recorded.asked(request(0))
    recorded.replied(request(0), ANSWER)
    for _ in range(2):  # begun, and resumed
        replay = Ledger("large", TERMS, new, [old])
        assert replay.find(request(0)) == recorded.find(request(0))
        assert replay.totals() == recorded.totals()


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"[]\n", b'"asked"\n', b"\xff\n", b'{"kind": "told"}\n', b'{"kind": "asked", "key": "a"}\n'],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = ledger_path(tmp_path, "small")
    Ledger("small", TERMS, path).checked(Usage(1, 1))
    path.write_bytes(path.read_bytes() + line + path.read_bytes())
    with pytest.raises(ElmError, match=r"small\.jsonl' is damaged: line 2 is not of a ledger"):
        Ledger("small", TERMS, path)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = ledger_path(tmp_path, "small")
    ledger = Ledger("small", TERMS, path)
    ledger.asked(request(0))
    length = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length + 20, hard))
    try:
        with pytest.raises(ElmError, match="The disk is full"):
            ledger.replied(request(0), ANSWER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == length
    ledger.replied(request(0), ANSWER)
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == ["asked", "replied"]


def test_every_name_has_a_file_of_its_own(tmp_path: Path) -> None:
    names = [
        "small",
        "Small",
        "a/b",
        "a_b",
        "a:b",
        "../up",
        "",
        ".",
        "é",
        "x" * 300,
        "x" * 301,
        "qwen@http://localhost:8000/v1",
    ]
    paths = [ledger_path(tmp_path, name) for name in names]
    assert {path.parent for path in paths} == {tmp_path / REQUESTS_FOLDER}
    assert len({path.name.lower() for path in paths}) == len(names)
    assert all(path.name.isascii() and len(path.name) < 100 for path in paths)
    assert paths[0].name == "small.jsonl"
