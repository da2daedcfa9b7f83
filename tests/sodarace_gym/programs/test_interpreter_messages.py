"""What is said to interpreters and understood of them is what pydantic-monty's own client says and understands."""

from __future__ import annotations

import datetime
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pydantic_monty as monty
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_monty._binary import find_monty_binary

from sodarace_gym.programs import interpreter_messages as messages
from sodarace_gym.programs.interpreter import Interpreter, InterpreterDiedError

LIMITS: monty.ResourceLimits = {
    "max_feed_duration_secs": 5.0,
    "max_memory": 32 << 20,
    "max_recursion_depth": 200,
    "max_suspensions": 4,
}
POLICY: monty.OSPolicy = {
    "sleep": "zero",
    "random_start": {"seed": 0},
    "datetime": datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC),
}
CONFIGURE = messages.configure(5.0, 32 << 20, 200, 946_684_800)

PATH = "from pathlib import Path\nimport os\n"
SYSTEM_CALLS = (
    *(f"Path('x').{name}()" for name in ("exists", "is_file", "is_dir", "is_symlink", "read_text", "read_bytes")),
    *(f"Path('x').{name}()" for name in ("mkdir", "unlink", "rmdir", "iterdir", "stat", "resolve", "absolute")),
    *(
        "Path('x').write_text('a')",
        "Path('x').write_bytes(b'a')",
        "Path('x').rename('y')",
        "open('x')",
        "open('x', 'a')",
    ),
    *("os.getenv('x')", "os.environ", "os.urandom(4)", "os.scandir('.')", "os.listdir('.')"),
)
SNIPPETS = {
    "ends": "x = 1",
    "value": "[1, 'a', (2.5, None), {1: {2}}]",
    "shared": "x = [0] * 1000\nfor _ in range(4): x = [x] * 1000\nx",
    "printed": "print('hellö')\nprint('a' * 20_000)\nprint('b', end='')",
    "name": "x = 1\n  \nfoo",
    "call": "def f():\n    return foo(1, [2], a=3)\nf()",
    "import": "import foo.bar as b",
    "import in exec": "exec('import foo')",
    "name in exec": "exec('foo')",
    "syntax": "x = (",
    "syntax in eval": "eval('1+')",
    "raised syntax": "raise SyntaxError('boo')",
    "unsupported": "class A(B): pass",
    "raised": "def f():\n    raise ValueError('ü' * 200)\n\nf()",
    "raised bare": "raise ValueError",
    "key": "{}['b']",
    "json": "import json\njson.loads('{')",
    "decoding": "b'\\xff'.decode()",
    "recursion": "def f(): return f()\nf()",
    "memory": "x = [0]\nwhile True: x += x",
    "clock": "import time, datetime\nprint(time.time(), datetime.datetime.now(), datetime.date.today())",
    "random": "import random\nprint(random.random(), random.Random().random())",
    "sleep": "import time\ntime.sleep(1e6)\nprint(time.process_time())",
    **{call: PATH + call for call in SYSTEM_CALLS},
    **{f"{call} in eval": PATH + f"eval({call!r})" for call in SYSTEM_CALLS},
}


@pytest.fixture(scope="module")
def library() -> Iterator[monty.Monty]:
    with monty.Monty(max_processes=1) as pool:
        yield pool


@pytest.fixture
def own() -> Iterator[Interpreter]:
    interpreter = Interpreter(find_monty_binary())
    yield interpreter
    interpreter.kill()


def heard_by_library(pool: monty.Monty, code: str) -> tuple[object, ...]:
    printed = monty.CollectString(1_000_000)
    with pool.checkout(limits=LIMITS, os_policy=POLICY) as session:
        try:
            outcome = session.feed_start(code, print_callback=printed)
        except monty.MontySyntaxError as error:
            return "SyntaxError", str(error), frames_of(error)
        except monty.MontyRuntimeError as error:
            return "raised", str(error), frames_of(error)
        if isinstance(outcome, monty.MontyComplete):
            return "complete", printed.output
        assert isinstance(outcome, (monty.FunctionSnapshot, monty.NameLookupSnapshot))
        position = (outcome.position.filename, outcome.position.start, outcome.position.end)
        if isinstance(outcome, monty.NameLookupSnapshot):
            return messages.NAME_LOOKUP, outcome.variable_name, *position
        return messages.SYSTEM_CALL if outcome.is_os_function else messages.CALL, outcome.function_name, *position


def frames_of(error: monty.MontySyntaxError | monty.MontyRuntimeError) -> list[tuple[str, int, str | None]]:
    return [(frame.filename, frame.line, frame.function_name) for frame in error.traceback()]


def heard(interpreter: Interpreter, code: str) -> tuple[object, ...]:
    interpreter._clock()
    interpreter._oks += 1
    interpreter._send(CONFIGURE + messages.feed(code, first=True))
    try:
        answer = interpreter.finish(1_000_000)
    except InterpreterDiedError as died:
        return "raised", "MemoryError" if died.out_of_memory else "", []
    if answer.ending is None:
        return "complete", answer.printed
    if isinstance(answer.ending, messages.Suspended):
        return tuple(answer.ending)
    frames = [tuple(frame) for frame in answer.ending.frames]
    if answer.ending.exc_type == "SyntaxError":
        return "SyntaxError", answer.ending.message, frames
    return "raised", answer.ending.text, frames


@pytest.mark.parametrize("code", SNIPPETS.values(), ids=SNIPPETS)
def test_endings_are_understood_as_the_library_understands_them(
    code: str, library: monty.Monty, own: Interpreter
) -> None:
    expected, found = heard_by_library(library, code), heard(own, code)
    if found[:2] == ("raised", "MemoryError"):
        # An interpreter that ends itself says no more; the library adds words of its own.
        assert str(expected[1]).startswith("MemoryError")
    else:
        assert found == expected


@pytest.mark.skipif(sys.platform == "win32", reason="needs an executable script")
def test_requests_are_those_of_the_library(tmp_path: Path) -> None:
    said = tmp_path / "said"
    deaf = tmp_path / "deaf"
    # It answers what an interpreter would to the first requests, and keeps what it is told.
    deaf.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        f"with open({str(said)!r}, 'wb') as file:\n"
        "    for _ in range(3):\n"
        "        head = sys.stdin.buffer.read(4)\n"
        "        file.write(head + sys.stdin.buffer.read(int.from_bytes(head, 'little')))\n"
        "        file.flush()\n"
        "        os.write(1, bytes([2, 0, 0, 0, 10 << 3 | 2, 0]))\n"
    )
    deaf.chmod(deaf.stat().st_mode | stat.S_IXUSR)
    code = "print('ü')\n" * 50
    loaded, fresh = messages.load(b"a state") + messages.feed(code), messages.feed(code, first=True)
    for rest in (loaded, fresh):
        with (
            monty.Monty(binary_path=deaf, max_processes=1, request_timeout=10.0) as pool,
            pytest.raises(RuntimeError, match="got Ok"),
        ):
            feed(pool, b"a state" if rest is loaded else None, code)
        assert said.read_bytes() == CONFIGURE + rest


def feed(pool: monty.Monty, state: bytes | None, code: str) -> None:
    with pool.checkout(limits=LIMITS, os_policy=POLICY) as session:
        if state is not None:
            session.load_session(state)
        session.feed_start(code)


def test_an_interpreter_of_another_version_is_refused_by_its_own_words(own: Interpreter) -> None:
    foreign = CONFIGURE.replace(b"\x48\x06", b"\x48\x63")
    assert foreign != CONFIGURE
    with pytest.raises(InterpreterDiedError, match="version 99"):
        own.state_after(foreign, messages.feed("1", first=True))
    assert not own.alive


@given(st.binary(max_size=60))
def test_malformed_events_raise_nothing_but_value_errors(event: bytes) -> None:
    for understand in (messages.kind_of, messages.printed, messages.dumped, messages.fatal, messages.ending):
        try:
            understand(event)
        except ValueError:
            continue


def test_truncated_events_are_refused(own: Interpreter) -> None:
    own._oks += 1
    own._send(CONFIGURE + messages.feed(SNIPPETS["call"], first=True))
    whole = own._event()
    assert messages.ending(whole) == messages.Suspended(messages.CALL, "foo", "<python-input-0>", 20, 36)
    for size in range(2, whole.index(b"<python") + 10):
        with pytest.raises(ValueError, match=r"longer than its message|ends within"):
            messages.ending(whole[:size])
