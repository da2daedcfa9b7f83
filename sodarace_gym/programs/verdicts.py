"""What the sandbox's interpreter says about a failed program, turned into sentences for the program's author."""

from __future__ import annotations

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.imports import unavailable_modules
from sodarace_gym.programs.interpreter_messages import FUTURES, SYSTEM_CALL, Frame, Raised, Suspended
from sodarace_gym.programs.prelude import MAX_REPLY_CHARS
from sodarace_gym.programs.sandbox_library import NUMPY_NAMES

MAX_PRINT_BYTES = MAX_REPLY_CHARS + 64 * 1024
"""What may be printed: the description of the walker, and some more for the program (it is thrown away). Beyond it the program
is stopped."""

# The prelude is a session's first feed, the program its second; tracebacks name them so.
_PROGRAM_FILE = "<python-input-1>"
_SHOWN_CHARS = 160


def rejected(ending: Raised | Suspended, code: str, program: str) -> ProgramError:
    """The error for a program that did not run to its end.

    Args:
        ending: How it ended.
        code: What was fed: the program and the lines that call it.
        program: The program alone.
    """
    if isinstance(ending, Suspended):
        return suspended(ending, code, program)
    return syntax_error(ending, program) if ending.exc_type == "SyntaxError" else runtime_error(ending, program)


def suspended(waiting: Suspended, code: str, program: str) -> ProgramError:
    """The error for a program that waits for the host: an unknown name, an unknown module, a system call.

    Args:
        waiting: What the feed ended with.
        code: What was fed: the program and the lines that call it.
        program: The program alone.
    """
    if waiting.kind == FUTURES:
        return ProgramError("runtime_error", "the program awaits something that never happens; remove 'await'.")
    where = ""
    excerpt = ""
    if waiting.filename == _PROGRAM_FILE:
        encoded = code.encode()
        if waiting.start < len(program.encode()):
            number = encoded.count(b"\n", 0, waiting.start) + 1
            where = f"line {number}: "
        excerpt = _brief(encoded[waiting.start : waiting.end].decode(errors="replace"))
    name = _brief(waiting.name)
    if waiting.kind == SYSTEM_CALL:
        others = ""
        if where and excerpt.startswith(("import ", "from ")):
            missing = dict.fromkeys(name for _, name in unavailable_modules(program, number + 1))
            others = f", nor is {_brief(', '.join(missing))}" if missing else ""
        return ProgramError(
            "unknown_name",
            f"{where}{_brief(excerpt or waiting.name)!r} is not available to walker programs{others}; "
            "use math, np and plain Python.",
        )
    if name == "make_walker" and not where:
        return ProgramError("no_make_walker", "the program defines no make_walker(); add 'def make_walker():'.")
    return ProgramError(
        "unknown_name",
        f"{where}the name {name!r} is not defined; define it, or use walker_creator, query_cppn, math and np.",
    )


def syntax_error(error: Raised, program: str) -> ProgramError:
    """The error for a program that does not parse."""
    fence = _fence(program)
    if fence is not None:
        return ProgramError(
            "syntax_error",
            f"line {fence}: a code fence (``` or ~~~) is no Python; send the program alone, without its fences and the "
            "words around them.",
        )
    frames = error.frames
    where = _where(frames, program)
    if frames and not where and frames[-1].filename == _PROGRAM_FILE:
        return ProgramError(
            "syntax_error",
            "the program ends in the middle of a statement; close its brackets and quotes and complete it.",
        )
    return ProgramError("syntax_error", f"{where}{_brief(error.message)}; write plain Python and nothing else.")


def runtime_error(error: Raised, program: str) -> ProgramError:
    """The error for a program that raised, or that was stopped by a limit."""
    text = _brief(error.text)
    kind, _, message = text.partition(":")
    frames = error.frames
    where = _where(frames, program)
    if is_time_limit(error):
        return time_limit()
    if any(frame.function_name == "_sodarace_send" for frame in frames):
        return ProgramError(
            "wrong_result", f"the walker cannot be read ({text}); give its joints and muscles plain numbers."
        )
    if kind == "MemoryError":
        return memory_limit(where)
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
    if kind == "AttributeError" and "'_sodarace_random'" in message:
        return ProgramError(
            "unknown_name",
            f"{where}np.random has no {message.rpartition(' ')[2]}; use rng = np.random.default_rng(seed) and its random, "
            "uniform, integers, normal and choice.",
        )
    if kind == "TypeError" and (message.startswith(" make_walker()") or _blames_the_call(frames, program)):
        return ProgramError(
            "no_make_walker", f"make_walker() cannot be called ({message.strip()}); define it as 'def make_walker():'."
        )
    return ProgramError("runtime_error", f"{where}{text}; correct it so that make_walker() runs to its end.")


def is_time_limit(error: Raised) -> bool:
    """Whether the interpreter stopped the program for its running time (a program may raise TimeoutError, too)."""
    return not error.frames and error.text.startswith("TimeoutError")


def time_limit() -> ProgramError:
    """The error for a program that does not end in time."""
    return ProgramError("time_limit", "the program runs for too long; check that its loops end and shorten them.")


def memory_limit(where: str) -> ProgramError:
    """The error for a program that uses too much memory, ``where`` being ``line N: `` or nothing."""
    return ProgramError("memory_limit", f"{where}the program uses too much memory; build smaller lists and strings.")


def prints_too_much() -> ProgramError:
    """The error for a program that prints more than anybody reads."""
    return ProgramError("memory_limit", "the program prints too much; remove its print calls.")


def _fence(program: str) -> int | None:
    """Number of the line with the first code fence outside of docstrings; None if there is none."""
    quotes = 0
    for number, line in enumerate(program.split("\n"), start=1):
        if quotes % 2 == 0 and line.lstrip().startswith(("```", "~~~")):
            return number
        quotes += line.count('"""') + line.count("'''")
    return None


def _last_line(program: str) -> int:
    """Number of the last line of the program that is not blank."""
    return program.rstrip().count("\n") + 1


def _where(frames: list[Frame], program: str) -> str:
    """``line N: `` for the innermost line of the program in a traceback (outermost first); empty if it has none."""
    last = _last_line(program)
    for frame in reversed(frames):
        if frame.filename == _PROGRAM_FILE and frame.line <= last:
            return f"line {frame.line}: "
    return ""


def _blames_the_call(frames: list[Frame], program: str) -> bool:
    """Whether an error arose in the line that calls make_walker(), below the program."""
    return bool(frames) and frames[-1].filename == _PROGRAM_FILE and frames[-1].line > _last_line(program)


def _brief(text: str) -> str:
    """A text of the program's making on one line of acceptable length."""
    # Cut before cleaning: the text may have megabytes.
    text = " ".join(text[: 4 * _SHOWN_CHARS].split())
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
