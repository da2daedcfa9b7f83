"""What the sandbox's interpreter says about a failed program, turned into sentences for the program's author."""

from __future__ import annotations

import pydantic_monty as monty

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.prelude import MAX_REPLY_CHARS, NUMPY_NAMES

MAX_PRINT_BYTES = MAX_REPLY_CHARS + 64 * 1024
"""What may be printed: the description of the walker, and some more for the program (it is thrown away). Beyond it the program
is stopped."""

# The prelude is a session's first feed, the program its second; tracebacks name them so.
_PROGRAM_FILE = "<python-input-1>"
_SHOWN_CHARS = 160


def suspended(
    snapshot: monty.FunctionSnapshot | monty.NameLookupSnapshot | monty.FutureSnapshot, code: str, program: str
) -> ProgramError:
    """The error for a program that waits for the host: an unknown name, an unknown module, a system call.

    Only positions and names are read from the snapshot, never arguments: those are the program's to shape.

    Args:
        snapshot: What the first feed ended with.
        code: What was fed: the program and the lines that call it.
        program: The program alone.
    """
    if isinstance(snapshot, monty.FutureSnapshot):
        return ProgramError("runtime_error", "the program awaits something that never happens; remove 'await'.")
    position = snapshot.position
    where = ""
    excerpt = ""
    if position.filename == _PROGRAM_FILE:
        encoded = code.encode()
        if position.start < len(program.encode()):
            number = encoded.count(b"\n", 0, position.start) + 1
            where = f"line {number}: "
        excerpt = _brief(encoded[position.start : position.end].decode(errors="replace"))
    if isinstance(snapshot, monty.NameLookupSnapshot):
        name = _brief(snapshot.variable_name)
    elif snapshot.is_os_function:
        return ProgramError(
            "unknown_name",
            f"{where}{_brief(excerpt or snapshot.function_name)!r} is not available to walker programs; "
            "use math, np and plain Python.",
        )
    else:
        name = _brief(snapshot.function_name)
    if name == "make_walker" and not where:
        return ProgramError("no_make_walker", "the program defines no make_walker(); add 'def make_walker():'.")
    return ProgramError(
        "unknown_name",
        f"{where}the name {name!r} is not defined; define it, or use walker_creator, query_cppn, math and np.",
    )


def syntax_error(error: monty.MontySyntaxError, program: str) -> ProgramError:
    """The error for a program that does not parse."""
    frames = error.traceback()
    where = _where(frames, program)
    if frames and not where and frames[-1].filename == _PROGRAM_FILE:
        return ProgramError(
            "syntax_error",
            "the program ends in the middle of a statement; close its brackets and quotes and complete it.",
        )
    return ProgramError("syntax_error", f"{where}{_brief(str(error))}; write plain Python and nothing else.")


def runtime_error(error: monty.MontyRuntimeError, program: str) -> ProgramError:
    """The error for a program that raised, or that was stopped by a limit."""
    text = _brief(str(error))
    kind, _, message = text.partition(":")
    frames = error.traceback()
    where = _where(frames, program)
    if is_time_limit(error):
        return time_limit()
    if any(frame.function_name == "_sodarace_send" for frame in frames):
        return ProgramError(
            "wrong_result", f"the walker cannot be read ({text}); give its joints and muscles plain numbers."
        )
    if kind == "MemoryError":
        if f"> {MAX_PRINT_BYTES} bytes" in message and not frames:
            return ProgramError("memory_limit", "the program prints too much; remove its print calls.")
        return ProgramError(
            "memory_limit", f"{where}the program uses too much memory; build smaller lists and strings."
        )
    if kind == "RecursionError":
        return ProgramError("recursion_limit", f"{where}the program's calls are nested too deeply; use loops instead.")
    if kind == "NotImplementedError" and frames and frames[-1].function_name is None:
        # Found while compiling: classes that inherit, yield, del, ...
        what = message.replace("The monty syntax parser does not yet support", "the sandbox does not support").strip()
        return ProgramError("syntax_error", f"{where}{what}; write it with plain functions, loops and lists.")
    if kind in ("NameError", "ImportError", "ModuleNotFoundError"):
        return ProgramError("unknown_name", f"{where}{message.strip()}; use math, np and plain Python.")
    if kind == "AttributeError" and message.startswith(" type object 'np' has no attribute"):
        name = message.rpartition(" ")[2]
        has = ", ".join(NUMPY_NAMES)
        return ProgramError("unknown_name", f"{where}np has no {name}; use lists, math and what np has: {has}.")
    if kind == "TypeError" and (message.startswith(" make_walker()") or _blames_the_call(frames, program)):
        return ProgramError(
            "no_make_walker", f"make_walker() cannot be called ({message.strip()}); define it as 'def make_walker():'."
        )
    return ProgramError("runtime_error", f"{where}{text}; correct it so that make_walker() runs to its end.")


def is_time_limit(error: monty.MontyRuntimeError) -> bool:
    """Whether the interpreter stopped the program for its running time (a program may raise TimeoutError, too)."""
    return not error.traceback() and str(error)[:20].startswith("TimeoutError")


def time_limit() -> ProgramError:
    """The error for a program that does not end in time."""
    return ProgramError("time_limit", "the program runs for too long; check that its loops end and shorten them.")


def _last_line(program: str) -> int:
    """Number of the last line of the program that is not blank."""
    return program.rstrip().count("\n") + 1


def _where(frames: list[monty.Frame], program: str) -> str:
    """``line N: `` for the innermost line of the program in a traceback (outermost first); empty if it has none."""
    last = _last_line(program)
    for frame in reversed(frames):
        if frame.filename == _PROGRAM_FILE and frame.line <= last:
            return f"line {frame.line}: "
    return ""


def _blames_the_call(frames: list[monty.Frame], program: str) -> bool:
    """Whether an error arose in the line that calls make_walker(), below the program."""
    return bool(frames) and frames[-1].filename == _PROGRAM_FILE and frames[-1].line > _last_line(program)


def _brief(text: str) -> str:
    """A text of the program's making on one line of acceptable length."""
    # Cut before cleaning: the text may have megabytes.
    text = " ".join(text[: 4 * _SHOWN_CHARS].split())
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
