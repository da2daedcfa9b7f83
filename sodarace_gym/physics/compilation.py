"""Compiling with numba: the machine code stays on disk until a source in this room changes."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import pkgutil
import sys
import warnings
from collections.abc import Callable
from importlib.abc import ResourceLoader
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ZERO = cast(int, np.int64(0))
"""What a count starts from that is handed to compiled functions: they are compiled once more for a plain 0, which numba takes
for a type of its own."""


def _digest_of_the_room() -> str:
    """Tells one text of this room's sources from another.

    numba compiles what a function calls into it, yet it only notices changes of the file that the function itself stands in
    (its manual names this among the limitations of caching). It files machine code under the function's qualified name; here
    that name gets a digest of all sources of the room, so that another text of theirs finds no old code.
    """
    digest = hashlib.sha256()
    room = sys.modules[__name__.rpartition(".")[0]]
    for module in sorted(module.name for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")):
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None
        loader = cast(ResourceLoader, spec.loader)  # reads from folders and from archives
        digest.update(hashlib.sha256(loader.get_data(spec.origin)).digest())
    return digest.hexdigest()[:16]


_COMMON: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True}


def _compiler(**options: Any) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        function.__qualname__ += f"_{_DIGEST}"
        # As in C and numpy, a division by zero gives infinity or NaN instead of an exception.
        # What calls through C function pointers would need (the cfunc wrapper) is left out: nobody does.
        made = numba.njit(error_model="numpy", **options, **_COMMON)(function)
        if isinstance(made, Dispatcher):  # a plain function under NUMBA_DISABLE_JIT
            try:
                made._cache = _Cache(function)  # type: ignore[attr-defined] # as enable_caching() does, with numba's own class
            except (RuntimeError, OSError) as error:
                _warn_uncached(str(error))
        return cast(Function, made)

    return decorate


class _Cache(FunctionCache):
    """numba's cache, but trouble with its files costs time and not the result.

    numba looks for a folder that can be written when a function is decorated. Later a disk may fill up, a file may turn out to
    be another user's or cut short, and for packages in an archive numba does not try the folder at all.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            try:
                return super().load_overload(sig, target_context)
            except (EOFError, pickle.PickleError):
                self.flush()  # cut short, by a loss of power say: an empty index takes its place
        except OSError as error:
            _warn_uncached(str(error))
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn_uncached(str(error))


_WARNED = "SODARACE_GYM_WARNED_UNCACHED"


def _warn_uncached(reason: str) -> None:
    """Warns, but once however many functions are compiled, here and in the worker processes, which inherit the mark."""
    if _WARNED in os.environ:
        return
    os.environ[_WARNED] = "1"
    warnings.warn(
        f"compiled code cannot be kept on disk, so each process compiles it anew, which takes some seconds ({reason}); set "
        "the environment variable NUMBA_CACHE_DIR to a folder that can be written.",
        RuntimeWarning,
        stacklevel=3,
    )


_DIGEST = _digest_of_the_room()

compiled = _compiler(_nrt=True)
"""Compiles a function without Python objects, frees the interpreter lock and caches the machine code on disk.

Where no folder can be written (a read-only installation and a home that is none), everything works as well but is compiled by
each process anew; one warning says so. What it makes of a function is numba's dispatcher, called as the function is.
"""

borrowing = _compiler(_nrt=False)
"""The same for a function that makes no arrays and gives none away: numba then leaves out the counting of references, which in
functions over many arrays would take most of the time."""

inner = _compiler(_nrt=True, no_cpython_wrapper=True)
"""As ``compiled``, for a function that only compiled ones call. Python cannot: what would take its objects apart is left out,
which for tuples of dozens of arrays takes longer to compile than the function."""

inner_borrowing = _compiler(_nrt=False, no_cpython_wrapper=True)
"""As ``borrowing``, for a function that only compiled ones call."""

inlined = _compiler(_nrt=False, forceinline=True, no_cpython_wrapper=True)
"""As ``inner_borrowing``, for a function that becomes a part of those which call it."""
