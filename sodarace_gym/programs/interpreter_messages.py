"""What is said between this process and an interpreter process of pydantic-monty: its published protocol, as bytes.

Requests and events are protobuf messages, each after its length as four bytes, little-endian. The protocol is made to be
spoken from any language (monty-proto's ``monty.proto``); an interpreter refuses a client whose declared version it does not
serve. Only what the sandbox uses is here: a session is configured, restored from a dump, fed one program and reset. An event
is as little to be trusted as the program that provoked it: lengths are checked, and values (what a feed ends with, the
arguments of a call) are skipped unread, because they are the program's to shape.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

PROTOCOL_VERSION = 6
"""Version of the messages below."""

# Kinds of events: the number of the one field that an event has beside its statistics.
PRINT, CALL, SYSTEM_CALL, NAME_LOOKUP, FUTURES, COMPLETE, ERROR = range(1, 8)
DUMPED, OK, FATAL = 9, 10, 11

_SYSTEM_CALLS = {
    2: "Path.exists",
    3: "Path.is_file",
    4: "Path.is_dir",
    5: "Path.is_symlink",
    6: "Path.read_text",
    7: "Path.read_bytes",
    8: "Path.stat",
    9: "Path.iterdir",
    10: "Path.resolve",
    11: "Path.absolute",
    12: "Path.unlink",
    13: "Path.rmdir",
    14: "Path.write_text",
    15: "Path.append_text",
    16: "Path.write_bytes",
    17: "Path.append_bytes",
    18: "open",
    19: "Path.mkdir",
    20: "Path.rename",
    21: "os.getenv",
    22: "os.environ",
    25: "os.urandom",
    31: "import",
    33: "Path.scan",
}
_SYSTEM_CALL_POSITION = 52


class Frame(NamedTuple):
    """A line of a traceback: the source it is in (``<python-input-N>`` for the N-th feed), its number and its function."""

    filename: str
    line: int
    function_name: str | None


class Raised(NamedTuple):
    """An exception that ended a program; frames outermost first."""

    exc_type: str
    message: str
    frames: list[Frame]

    @property
    def text(self) -> str:
        """The exception as Python prints it."""
        return f"{self.exc_type}: {self.message}" if self.message else self.exc_type


class Suspended(NamedTuple):
    """A program that waits for its host: for a name, a call, a system call or a future (the ``kind`` of event).

    Where: in the source ``filename``, from byte ``start`` to byte ``end``.
    """

    kind: int
    name: str
    filename: str
    start: int
    end: int


def configure(feed_seconds: float, memory_bytes: int, recursion_depth: int, epoch_seconds: int) -> bytes:
    """The request for a fresh session: limits, and the same world for every program (no clock, no entropy, no waiting).

    Args:
        feed_seconds: Wall-clock time after which the interpreter stops a program.
        memory_bytes: Memory of one session.
        recursion_depth: Calls within calls.
        epoch_seconds: What its clock always says, seconds since 1970.
    """
    limits = (
        _number(2, memory_bytes) + _number(4, recursion_depth) + _number(5, 4) + _number(6, round(feed_seconds * 1e6))
    )
    unit = b""
    world = (
        _bytes(3, _number(1, epoch_seconds))  # the clock stands still
        + _bytes(4, _bytes(1, unit))  # in UTC
        + _bytes(5, _bytes(3, unit))  # sleeping takes no time
        + _bytes(8, _bytes(1, b"\0"))  # random's seed is 0
        + _bytes(9, unit)  # no processor time has passed
    )
    return _request(
        1,
        _bytes(1, b"main.py")
        + _bytes(2, limits)
        + _bytes(5, b"1.4.0")
        + _number(6, 120)  # bytes shown of the operands of a failed assertion
        + _number(7, 1)  # diagnostics of a type checker that never runs, in full
        + _number(9, PROTOCOL_VERSION)
        + _bytes(11, world),
    )


def feed(code: str, first: bool = False) -> bytes:
    """The request to run code in a session.

    Args:
        code: What to run.
        first: Whether the session is a fresh one, which has yet to be put into its (virtual) directory.
    """
    return _request(3, _bytes(1, code.encode()) + _bytes(3, b"") + (_bytes(5, b"/") if first else b""))


def load(state: bytes) -> bytes:
    """The request to put a session where another was when it was dumped."""
    return _request(8, _bytes(1, state))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _request(kind: int, body: bytes) -> bytes:
    message = _bytes(kind, body)
    return struct.pack("<I", len(message)) + message


DUMP = _request(7, b"")
"""The request for a session's state, to be loaded into others."""
RESET = _request(9, b"")
"""The request to forget the session."""


def kind_of(event: bytes) -> int:
    """Which kind of event a message is.

    Raises:
        ValueError: The message is malformed.
    """
    if not event:
        raise ValueError("an event without a kind")
    return event[0] >> 3


def printed(event: bytes) -> list[bytes]:
    """The texts that a ``PRINT`` event brings, as UTF-8.

    Raises:
        ValueError: The message is malformed.
    """
    return [
        text
        for _, segment in _fields(_body(event))
        if isinstance(segment, bytes)
        for field, text in _fields(segment)
        if field == 2 and isinstance(text, bytes)
    ]


def dumped(event: bytes) -> bytes:
    """The state that a ``DUMPED`` event brings.

    Raises:
        ValueError: The message is malformed.
    """
    return _first(_body(event), 1)


def fatal(event: bytes) -> str:
    """Why an interpreter gives up, from its ``FATAL`` event.

    Raises:
        ValueError: The message is malformed.
    """
    return _first(_body(event), 1).decode(errors="replace")


def ending(event: bytes) -> Raised | Suspended | None:
    """What ended a feed: an exception, a wait for the host, or None if it ran to its end.

    Raises:
        ValueError: The message is malformed, or of a kind that ends no feed.
    """
    kind = kind_of(event)
    if kind == COMPLETE:
        return None
    body = _body(event)
    if kind == ERROR:
        return _raised(_first(body, 1))
    if kind == FUTURES:
        return Suspended(kind, "", "", 0, 0)
    if kind not in (CALL, NAME_LOOKUP, SYSTEM_CALL):
        raise ValueError(f"an event of kind {kind} ends no feed")
    fields = dict(_fields(body))
    if kind == SYSTEM_CALL:
        name = next((_SYSTEM_CALLS[field] for field in fields if field in _SYSTEM_CALLS), "a system call")
        position = fields.get(_SYSTEM_CALL_POSITION)
    else:
        name = _text(fields.get(1))
        position = fields.get(8 if kind == CALL else 3)
    where = dict(_fields(position)) if isinstance(position, bytes) else {}
    start, end = where.get(2, 0), where.get(3, 0)
    if not isinstance(start, int) or not isinstance(end, int):
        raise ValueError("a position that is no number")
    return Suspended(kind, name, _text(where.get(1)), start, end)


def _raised(exception: bytes) -> Raised:
    exc_type, message, frames = "", "", []
    for field, value in _fields(exception):
        if not isinstance(value, bytes):
            continue
        if field == 1:
            exc_type = _text(value)
        elif field == 2:
            message = _text(value)
        elif field == 3:
            parts = dict(_fields(value))
            start = parts.get(2)
            line = dict(_fields(start)).get(1) if isinstance(start, bytes) else None
            function = _text(parts[4]) if 4 in parts else None
            frames.append(Frame(_text(parts.get(1)), line if isinstance(line, int) else 0, function))
    return Raised(exc_type, message, frames)


def _text(value: bytes | int | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _body(event: bytes) -> bytes:
    return _first(event, kind_of(event))


def _first(message: bytes, wanted: int) -> bytes:
    for field, value in _fields(message):
        if field == wanted and isinstance(value, bytes):
            return value
    raise ValueError(f"a message without field {wanted}")


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message, in order: their numbers, and whole numbers or bytes."""
    at, size = 0, len(message)
    while at < size:
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _read_varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of unknown type {kind}")
        if at + length > size:
            raise ValueError("a field longer than its message")
        yield key >> 3, message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if at >= len(message):
            raise ValueError("a message that ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number of more than 64 bits")
