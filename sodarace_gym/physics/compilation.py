"""Compiling with numba: the machine code stays on disk until any of the sources it was made from changes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from importlib.abc import ResourceLoader
from types import ModuleType
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiler(*modules: ModuleType) -> Callable[[Function], Function]:
    """Makes a decorator that compiles functions without Python objects, frees the interpreter lock and caches on disk.

    numba compiles what a function calls into it, yet it only notices changes of the file that the function itself stands in
    (its manual names this among the limitations of caching). It files machine code under the function's qualified name;
    here that name gets a digest of the other sources, so that another text of theirs finds no old code.

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
        return cast(Function, numba.njit(cache=True, nogil=True)(function))

    return decorate
