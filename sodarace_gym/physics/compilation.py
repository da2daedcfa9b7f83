"""Compiling with numba: the machine code stays on disk until any of the sources it was made from changes."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from importlib.abc import ResourceLoader
from types import ModuleType
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])


def compiler(*modules: ModuleType) -> Callable[[Function], Function]:
    """Makes a decorator that compiles functions without Python objects, frees the interpreter lock and caches on disk.

    numba compiles what a function calls into it, yet it only notices changes of the file that the function itself stands in
    (its manual names this among the limitations of caching). It files machine code under the function's qualified name;
    here that name gets a digest of the other sources, so that another text of theirs finds no old code.

    Where no folder can be written (a read-only installation and a home that is none), everything works as well but is compiled
    by each process anew; one warning says so.

    Args:
        modules: The other modules of ours whose functions, types or constants the functions use, also through each other.

    Returns:
        The decorator. What it makes of a function is numba's dispatcher, called as the function is.
    """
    digest = hashlib.sha256()
    for module in (sys.modules[__name__], *modules):
        loader = cast(ResourceLoader, module.__loader__)  # reads from folders and from archives
        digest.update(hashlib.sha256(loader.get_data(str(module.__file__))).digest())

    def decorate(function: Function) -> Function:
        function.__qualname__ += f"_{digest.hexdigest()[:16]}"
        compiled = numba.njit(nogil=True)(function)
        if isinstance(compiled, Dispatcher):  # a plain function under NUMBA_DISABLE_JIT
            try:
                compiled._cache = _Cache(function)  # type: ignore[attr-defined] # as enable_caching() does, with numba's own class
            except (RuntimeError, OSError) as error:
                _warn_uncached(str(error))
        return cast(Function, compiled)

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
