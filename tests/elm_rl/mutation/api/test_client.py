"""A server that misbehaves is asked again as often as that can help, and what cannot be mended is said in one sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from elm_rl.errors import ElmError
from elm_rl.mutation.api.client import ServedModel, ServerRefusal
from elm_rl.mutation.api.exchange import Reply, Request, Trouble, Usage
from tests.elm_rl.mutation.api.rude_server import (
    CHILD,
    USAGE,
    Act,
    RudeServer,
    answers,
    breaks_off,
    completion,
    disconnects,
    floods,
    hangs,
    sends,
    serving,
    trickles,
)

ANSWER = f"```python\n{CHILD}```"
BODY = {
    "model": "tiny",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x" * 300}],
    "max_tokens": 50,
    "seed": 7,
}


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RudeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def server(shared_server: RudeServer) -> RudeServer:
    shared_server.behave(answers())
    shared_server.slow = 0.0
    return shared_server


def served(server: RudeServer, **settings: Any) -> ServedModel:
    return ServedModel(server.url, "tiny", **{"timeout": 30.0, "retries": 2, "back_off": 0.001, **settings})


def asked(model: ServedModel, nonce: int = 0) -> tuple[Reply, list[Trouble]]:
    troubles: list[Trouble] = []
    try:
        return model.ask(Request(BODY, nonce), troubles.append, threading.Event()), troubles
    finally:
        model.close()


def test_an_answer_comes_with_its_tokens(server: RudeServer) -> None:
    reply, troubles = asked(served(server))
    assert reply == Reply("answered", ANSWER, True, Usage(100, 40))
    assert troubles == []
    assert server.bodies == [BODY]


@pytest.mark.parametrize(
    ("rude", "reason", "spent"),
    [
        (sends(500, b"<html>Oops</html>"), "status 500: <html>Oops</html>", Usage()),
        (sends(503, {"error": {"message": "Loading model"}}), "status 503: Loading model", Usage()),
        (sends(429, {"error": {"message": "Slow down"}}), "status 429: Slow down", Usage()),
        (sends(200, b"rubbish"), "no JSON: 'rubbish'", Usage(103, 3, True)),
        (sends(200, b"[" * 100_000), "no JSON", Usage(103, 33334, True)),
        (sends(200, {"choices": []}), "no chat completion", Usage(103, 5, True)),
        (sends(200, {"choices": [{"message": None}], "usage": USAGE}), "no chat completion", Usage(100, 40)),
        (sends(200, [1, 2]), "no chat completion", Usage(103, 2, True)),
        (breaks_off, "the connection broke within the reply", Usage(103, 56, True)),
        (disconnects, "the connection broke", Usage(103, 0, True)),
        (floods, "more than 4,194,304 bytes", Usage(103, 0, True)),
    ],
    ids=["500", "503", "429", "rubbish", "nested", "no choices", "no message", "a list", "half", "hangs up", "endless"],
)
def test_what_may_pass_is_tried_again_and_given_up_in_the_end(
    server: RudeServer, rude: Act, reason: str, spent: Usage
) -> None:
    server.behave(rude, rude, answers())
    reply, troubles = asked(served(server))
    assert reply.text == ANSWER
    assert len(server.bodies) == 3
    assert [reason in trouble.reason for trouble in troubles] == [True, True], troubles
    assert [trouble.spent(Request(BODY, 0)) for trouble in troubles] == [spent] * 2
    server.behave(rude)
    reply, troubles = asked(served(server))
    assert (reply.status, reply.text, len(troubles), len(server.bodies)) == ("no_answer", "", 3, 3)
    assert reply.reason.startswith("given up after 3 attempts: ")
    assert reason in reply.reason


@pytest.mark.parametrize("rude", [hangs, trickles])
def test_an_attempt_ends_at_its_time_out_though_the_server_goes_on(server: RudeServer, rude: Act) -> None:
    server.behave(rude, answers())
    reply, troubles = asked(served(server, timeout=0.5))
    assert reply.text == ANSWER
    assert [trouble.reason for trouble in troubles] == ["no whole reply in 0.5 seconds"]
    assert troubles[0].spent(Request(BODY, 0)).prompt == 103, "the server may charge for it"


def test_a_server_is_left_alone_for_as_long_as_it_asks(server: RudeServer) -> None:
    later = formatdate(time.time() + 1.5, usegmt=True)  # dates are in whole seconds
    server.behave(
        sends(429, Retry_After="0.2"), sends(503, Retry_After=later), sends(429, retry_after_ms="150"), answers()
    )
    reply, _ = asked(served(server, retries=3))
    assert reply.text == ANSWER
    first, second, third, last = server.times
    assert second - first >= 0.2
    assert third - second > 0.0
    assert last - third >= 0.15
    server.behave(sends(429, Retry_After="86400"))
    reply, _ = asked(served(server))
    assert (reply.status, len(server.bodies)) == ("no_answer", 1), "nobody waits for a day"
    server.behave(sends(429, Retry_After="soon"), sends(429, Retry_After="nan"), answers())
    assert asked(served(server))[0].text == ANSWER


def test_pauses_double_and_differ_between_requests_but_not_between_runs() -> None:
    model = ServedModel("http://localhost/v1", "tiny", back_off=1.0)
    pauses = [
        [model._pause_after(attempt, Request(BODY, nonce), Trouble("")) for attempt in range(9)] for nonce in range(20)
    ]
    for row in pauses:
        for attempt, pause in enumerate(row):
            assert min(60, 2**attempt) / 2 <= pause <= min(60, 2**attempt)
    assert len({row[0] for row in pauses}) == 20
    again = ServedModel("http://localhost/v1", "tiny", back_off=1.0)
    assert again._pause_after(3, Request(BODY, 5), Trouble("")) == pauses[5][3]


@pytest.mark.parametrize(
    ("status", "content", "sentence"),
    [
        (
            401,
            {"error": {"message": "Incorrect API key"}},
            r"refuses the key in MY_KEY \(401: Incorrect API key\); put a key",
        ),
        (403, {"detail": "Not for you"}, r"refuses the key in MY_KEY \(403: Not for you\)"),
        (
            404,
            {"error": {"message": "No such model"}},
            r"knows no model 'tiny' \(404: No such model\); it offers tiny, large\.",
        ),
        (402, {"message": "Insufficient balance"}, r"account at \S+ is used up \(402: Insufficient balance\)"),
        (429, {"error": {"message": "Pay", "code": "insufficient_quota"}}, r"account at \S+ is used up \(429: Pay\)"),
    ],
)
def test_what_no_attempt_mends_is_one_sentence_after_one_attempt(
    server: RudeServer, status: int, content: Any, sentence: str
) -> None:
    server.behave(sends(status, content))
    model = served(server, key="sk-123", key_variable="MY_KEY")
    for ask in (model.check, lambda request: model.ask(request, lambda trouble: None, threading.Event())):
        with pytest.raises(ServerRefusal, match=sentence) as refusal:
            ask(Request(BODY, 0))
        assert str(refusal.value).count("\n") == 0
    assert len(server.bodies) == 2
    model.close()


def test_a_server_that_is_not_there_is_said_at_once_at_first_and_waited_for_later() -> None:
    with serving() as server:
        url = server.url
    for address in (url, "http://nowhere.invalid/v1"):
        model = ServedModel(address, "tiny", retries=2, back_off=0.001)
        with pytest.raises(ServerRefusal, match=r"cannot be reached \(.+\); start it, or correct the address"):
            model.check(Request(BODY, 0))
        troubles: list[Trouble] = []
        reply = model.ask(Request(BODY, 0), troubles.append, threading.Event())
        assert (reply.status, len(troubles)) == ("no_answer", 3)
        assert [trouble.spent(Request(BODY, 0)) for trouble in troubles] == [Usage()] * 3, "nothing was sent"
        model.close()


def test_a_bad_request_is_said_at_first_and_costs_one_child_later(server: RudeServer) -> None:
    server.behave(sends(400, {"error": {"message": "temperature does not support 0.7, only 1"}}))
    model = served(server)
    with pytest.raises(
        ServerRefusal, match=r"does not take a request .* \(400: temperature does not support 0\.7, only 1\)"
    ):
        model.check(Request(BODY, 0))
    reply, troubles = asked(model)
    assert (reply.status, reply.reason[:10], troubles) == ("no_answer", "status 400", [])
    server.behave(hangs)
    with pytest.raises(ElmError, match="gives no answer for the model 'tiny'"):
        served(server, timeout=0.1, retries=0).check(Request(BODY, 0))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
        (400, "the request exceeds the available context size. try increasing the context size"),
        (413, "Payload"),
        (422, "prompt is too long: 210000 tokens > 200000 maximum"),
    ],
)
def test_a_request_beyond_the_context_is_told_apart(server: RudeServer, status: int, text: str) -> None:
    server.behave(sends(status, {"error": {"message": text}}))
    reply, _ = asked(served(server))
    assert (reply.status, len(server.bodies)) == ("parent_too_long", 1)


def test_requests_take_the_form_that_a_server_knows(server: RudeServer) -> None:
    def particular(handler: Any) -> None:
        body = handler.body
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        elif "seed" in body:
            message = "extra fields not permitted: seed"
        elif body["messages"][0]["role"] == "system":
            message = "System role not supported"
        else:
            return handler.send(200, completion(ANSWER))
        return handler.send(422, completion(message).replace(b'"choices"', b'"detail"'))

    server.behave(particular)
    model = served(server, retries=0)
    assert model.check(Request(BODY, 0)).text == ANSWER
    assert len(server.bodies) == 4
    assert asked(model)[0].text == ANSWER
    assert len(server.bodies) == 5, "it is known by now"
    last = server.bodies[-1]
    assert last == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Be brief.\n\n" + "x" * 300}],
        "max_completion_tokens": 50,
    }


@pytest.mark.parametrize(
    ("content", "finish", "text", "ended"),
    [
        ("half", "length", "half", False),
        (None, "length", "", False),
        ("part", "content_filter", "part", False),
        ([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}], "stop", "ab", True),
        ("odd \ud800 one", "eos", "odd ? one", True),
    ],
)
def test_answers_are_read_in_every_form(server: RudeServer, content: Any, finish: str, text: str, ended: bool) -> None:
    server.behave(answers(content, finish, usage=None))
    reply, _ = asked(served(server))
    assert (reply.text, reply.ended) == (text, ended)
    assert reply.usage == Usage(103, -(-len(text) // 3), True)


def test_closing_ends_what_is_under_way_and_pauses_too(server: RudeServer) -> None:
    server.behave(hangs)
    model = served(server)
    waiting = ServedModel("http://127.0.0.1:9/v1", "tiny", back_off=1e6, retries=1)
    errors: list[BaseException] = []
    first_failed, closed = threading.Event(), threading.Event()

    def ask(model: ServedModel) -> None:
        with pytest.raises(ElmError, match="closed while it waited") as error:
            model.ask(Request(BODY, 0), lambda trouble: first_failed.set(), closed)
        errors.append(error.value)

    threads = [threading.Thread(target=ask, args=(each,)) for each in (model, model, waiting)]
    for thread in threads:
        thread.start()
    while len(server.bodies) < 2:
        time.sleep(0.01)
    first_failed.wait()
    model.close()
    closed.set()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 3
    server.behave(answers())
    assert asked(model)[0].text == ANSWER, "and it can be used again"
