"""What a walker program finds in its sandbox, and what is done to its text before it runs there.

Nothing here is ever run by the host's Python on behalf of a program: the preludes run inside the sandbox, and programs
are only ever handled as lines of text.

What a program finds: ``walker_creator`` (``add_joint``, ``add_muscle``, ``get_walker``), ``query_cppn``, ``math`` and a
small ``np`` (sandbox_library). ``query_cppn(wc, xgrid, ygrid, scale, connect_func, amp_func, phase_func)`` puts an
``xgrid`` x ``ygrid`` grid of joints ``scale`` apart, column by column, and joins pairs of them by oscillating muscles, as
the routine published with Lehman et al. (2022) does: node (x1, y1) is joined to (x2, y2) if
``connect_func(x1, y1, x2, y2)`` holds. It is asked for x2 >= x1 and y2 >= y1 only, also about a node and itself (which
joins nothing), and not where x1 = y1 and x2 = y2 at once. ``amp_func`` and ``phase_func`` give amplitude and phase. The
functions get grid coordinates (whole numbers, before scaling). What is returned holds the joint of each node: under
``(x, y)``, as the published dictionary, and by number in the order of the ids.
"""

from __future__ import annotations

from sodarace_gym.programs.imports import replace_imports
from sodarace_gym.programs.inplace import rewrite_inplace
from sodarace_gym.programs.sandbox_library import makes_arrays, whole_library

MAX_RAW_JOINTS = 4_096
"""Joints a program may add before repairs; far above what any walker keeps (bounds the work of the host)."""
MAX_RAW_MUSCLES = 8_192
"""Muscles a program may add before repairs."""
MAX_REPLY_CHARS = 600_000
"""Longest description of a walker that the host will read."""
REPLY_MARK = "\x1e"
"""What stands before the description of the walker, in what is printed: ASCII's record separator."""

_SOURCE = """
import json
import math
from collections import namedtuple

# Under names of their own, for programs that call something of theirs json or print.
_sodarace_dumps = json.dumps
_sodarace_print = print

_Walker = namedtuple("Walker", "joints muscles")


class walker_creator:
    def __init__(self):
        self.joints = []
        self.muscles = []

    def add_joint(self, x, y):
        self.joints.append((x, y))
        return len(self.joints) - 1

    def add_muscle(self, a, b, distance_only=None, amplitude=None, phase=None):
        # What was left out is for the host to fill in.
        self.muscles.append((a, b, distance_only, amplitude, phase))

    def get_walker(self):
        return _Walker(self.joints, self.muscles)


def _sodarace_export(walker):
    if isinstance(walker, dict):
        joints, muscles = walker.get("joints"), walker.get("muscles")
    else:
        joints, muscles = getattr(walker, "joints", None), getattr(walker, "muscles", None)
    if joints is None and isinstance(walker, (list, tuple)) and len(walker) == 2:
        joints, muscles = walker
    if not isinstance(joints, (list, tuple)) or not isinstance(muscles, (list, tuple)):
        return {"type": type(walker).__name__, "parts": [type(joints).__name__, type(muscles).__name__]}
    if len(joints) > MAX_RAW_JOINTS or len(muscles) > MAX_RAW_MUSCLES:
        return {"joints": len(joints), "muscles": len(muscles)}
    return [joints, muscles]


def _sodarace_send(walker):
    # Text or an error, whatever the program did to the names in it.
    _sodarace_print(f"REPLY_MARK{_sodarace_dumps(_sodarace_export(walker)):.CHARS_SENTs}")
"""

PRELUDE = (
    _SOURCE.replace("MAX_RAW_JOINTS", str(MAX_RAW_JOINTS))
    .replace("MAX_RAW_MUSCLES", str(MAX_RAW_MUSCLES))
    .replace("REPLY_MARK", repr(REPLY_MARK)[1:-1])
    .replace("CHARS_SENT", str(MAX_REPLY_CHARS + 1))
)
"""What every program finds; ``_sodarace_send(walker)`` in it prints the walker's description."""
NUMPY_PRELUDE = PRELUDE + whole_library()
"""What any program may find."""


def prepare(source: str) -> str:
    """The text that the sandbox runs in place of a program, line for line.

    Imports of what the prelude provides become assignments, and where there may be arrays, ``a += b`` becomes a call
    that changes an array in place.
    """
    program = replace_imports(source)
    return rewrite_inplace(program) if makes_arrays(program) else program
