"""Chipmunk's own functions, callable from compiled code.

pymunk binds the Chipmunk library through cffi. The addresses of the C functions are therefore at hand, and numba can call
them without going through Python: no interpreter in the inner loop, and no global interpreter lock while a walker runs.

The addresses are handed to the compiled code as an array argument (``function_addresses()``) instead of being baked into
it, so that the machine code does not depend on where the library happens to be loaded and numba can cache it on disk.

One thing is written without a function: a spring's rest length (``spring_set_rest_length``). Chipmunk's own also wakes the
bodies at both ends, which never sleep here: 2% of a walking step of the square, 6.5% of one of the grid cppn_fixed (measured).

Two-dimensional vectors travel by value. On the platforms named in ``COMPILED_PLATFORMS`` the C calling convention passes a
struct of two doubles exactly as two doubles, which is what the calls below do; elsewhere (Windows) the loop
cannot be measured.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray
from pymunk._chipmunk_cffi import ffi, lib

COMPILED_PLATFORMS = frozenset({("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "x86_64"), ("Darwin", "arm64")})
"""(system, machine) pairs whose C calling convention is the one the compiled calls assume."""

# Result and argument kinds of each function: p pointer, d double, v vector by value (two doubles), i 32-bit integer,
# f shape filter by value (two 64-bit words), n nothing.
_SIGNATURES: dict[str, tuple[str, str]] = {
    "cpSpaceNew": ("p", ""),
    "cpSpaceFree": ("n", "p"),
    "cpSpaceSetIterations": ("n", "pi"),
    "cpSpaceSetGravity": ("n", "pv"),
    "cpSpaceSetDamping": ("n", "pd"),
    "cpSpaceStep": ("n", "pd"),
    "cpSpaceAddBody": ("p", "pp"),
    "cpSpaceAddShape": ("p", "pp"),
    "cpSpaceAddConstraint": ("p", "pp"),
    "cpBodyNew": ("p", "dd"),
    "cpBodyNewStatic": ("p", ""),
    "cpBodyFree": ("n", "p"),
    "cpBodySetPosition": ("n", "pv"),
    "cpBodySetVelocity": ("n", "pv"),
    "cpBodyGetPosition": ("v", "p"),
    "cpBodyGetVelocity": ("v", "p"),
    "cpCircleShapeNew": ("p", "pdv"),
    "cpSegmentShapeNew": ("p", "pvvd"),
    "cpSegmentShapeSetNeighbors": ("n", "pvv"),
    "cpShapeSetFriction": ("n", "pd"),
    "cpShapeSetElasticity": ("n", "pd"),
    "cpShapeSetFilter": ("n", "pf"),
    "cpShapeFree": ("n", "p"),
    "cpDampedSpringNew": ("p", "ppvvddd"),
    "cpConstraintFree": ("n", "p"),
}
_NUMBA_TYPES: dict[str, list[Any]] = {
    "p": [types.int64],
    "d": [types.float64],
    "i": [types.int32],
    "v": [types.float64, types.float64],
    "f": [types.int64],
}
_INDEX = {name: index for index, name in enumerate(_SIGNATURES)}


def rest_length_offset() -> int | None:
    """Bytes from the start of a damped spring to its rest length, found by looking at one; None if it is not there."""
    marks = [1.25, 2.5, 3.75]  # rest length, stiffness and damping lie side by side, behind the head of any constraint
    bodies = [lib.cpBodyNew(1.0, 1.0) for _ in range(2)]
    spring = lib.cpDampedSpringNew(*bodies, (0.0, 0.0), (0.0, 0.0), *marks)
    words = ffi.unpack(ffi.cast("double *", spring), _SPRING_WORDS)
    lib.cpConstraintFree(spring)
    for body in bodies:
        lib.cpBodyFree(body)
    found = [index for index in range(_SPRING_WORDS) if words[index : index + 3] == marks]
    return 8 * found[0] if len(found) == 1 else None


_SPRING_WORDS = 20  # Chipmunk 7's spring has more words of 8 bytes than these, and its rest length is the 18th


def compiled_calls_supported() -> bool:
    """Whether this machine's C calling convention and Chipmunk's springs are what the compiled calls are written for."""
    return (platform.system(), platform.machine()) in COMPILED_PLATFORMS and rest_length_offset() is not None


def function_addresses() -> NDArray[np.int64]:
    """What the compiled calls need to know of Chipmunk in this process.

    Returns:
        The addresses of its functions, in the order of the signatures, and ``rest_length_offset()``; shape (functions + 1,).
    """
    addresses = [int(ffi.cast("intptr_t", ffi.addressof(lib, name))) for name in _SIGNATURES]
    return np.array([*addresses, rest_length_offset() or 0], dtype=np.int64)


def _element(context: Any, builder: Any, array_type: Any, array: Any, position: int) -> Any:
    """Code that loads an element of an array of integers."""
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.load(builder.gep(data, [ir.Constant(ir.IntType(64), position)]))


def _foreign(name: str) -> Callable[..., Any]:
    """Makes the compiled call of one Chipmunk function: ``call(addresses, *arguments)``.

    Pointers are 64-bit integers on the Python side of numba; a vector argument is written as two floats, a vector result
    is a tuple of two floats, a filter is written as its group (its categories and mask stay "everything").
    """
    result_kind, argument_kinds = _SIGNATURES[name]
    position = _INDEX[name]
    numba_result = {"p": types.int64, "n": types.void, "v": types.UniTuple(types.float64, 2)}[result_kind]
    numba_arguments: list[Any] = []
    for kind in argument_kinds:
        numba_arguments += _NUMBA_TYPES[kind]
    expected = tuple(numba_arguments)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        double, word, pointer = ir.DoubleType(), ir.IntType(64), ir.IntType(8).as_pointer()
        address = _element(context, builder, signature.args[0], arguments[0], position)
        values, kinds = [], []
        given = iter(
            context.cast(builder, value, actual, wanted)
            for value, actual, wanted in zip(
                cgutils.unpack_tuple(builder, arguments[1]), signature.args[1].types, expected, strict=True
            )
        )
        for kind in argument_kinds:
            if kind == "p":
                values.append(builder.inttoptr(next(given), pointer))
                kinds.append(pointer)
            elif kind == "f":
                # {uintptr group; uint32 categories; uint32 mask} is two machine words.
                values += [next(given), ir.Constant(word, 0xFFFFFFFFFFFFFFFF)]
                kinds += [word, word]
            else:
                count = 2 if kind == "v" else 1
                values += [next(given) for _ in range(count)]
                kinds += [ir.IntType(32) if kind == "i" else double] * count
        if result_kind == "v":
            llvm_result: Any = ir.LiteralStructType([double, double])
        else:
            llvm_result = pointer if result_kind == "p" else ir.VoidType()
        function = builder.inttoptr(address, ir.FunctionType(llvm_result, kinds).as_pointer())
        result = builder.call(function, values)
        if result_kind == "p":
            return builder.ptrtoint(result, word)
        if result_kind == "v":
            pair = [builder.extract_value(result, 0), builder.extract_value(result, 1)]
            return context.make_tuple(builder, numba_result, pair)
        return context.get_dummy_value()

    @intrinsic
    def call(typing_context: Any, addresses: Any, arguments: Any) -> Any:
        if len(arguments) != len(expected):
            return None
        return numba_result(addresses, arguments), codegen

    return call


space_new = _foreign("cpSpaceNew")
space_free = _foreign("cpSpaceFree")
space_set_iterations = _foreign("cpSpaceSetIterations")
space_set_gravity = _foreign("cpSpaceSetGravity")
space_set_damping = _foreign("cpSpaceSetDamping")
space_step = _foreign("cpSpaceStep")
space_add_body = _foreign("cpSpaceAddBody")
space_add_shape = _foreign("cpSpaceAddShape")
space_add_constraint = _foreign("cpSpaceAddConstraint")
body_new = _foreign("cpBodyNew")
body_new_static = _foreign("cpBodyNewStatic")
body_free = _foreign("cpBodyFree")
body_set_position = _foreign("cpBodySetPosition")
body_set_velocity = _foreign("cpBodySetVelocity")
body_position = _foreign("cpBodyGetPosition")
body_velocity = _foreign("cpBodyGetVelocity")
circle_new = _foreign("cpCircleShapeNew")
segment_new = _foreign("cpSegmentShapeNew")
segment_set_neighbors = _foreign("cpSegmentShapeSetNeighbors")
shape_set_friction = _foreign("cpShapeSetFriction")
shape_set_elasticity = _foreign("cpShapeSetElasticity")
shape_set_filter = _foreign("cpShapeSetFilter")
shape_free = _foreign("cpShapeFree")
spring_new = _foreign("cpDampedSpringNew")
constraint_free = _foreign("cpConstraintFree")


def _store_rest_length(typing_context: Any, addresses: Any, arguments: Any) -> Any:
    """The compiled call ``spring_set_rest_length(addresses, (spring, rest_length))``: a store, no function."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        offset = _element(context, builder, signature.args[0], values[0], len(_SIGNATURES))
        spring, rest_length = cgutils.unpack_tuple(builder, values[1])
        place = builder.inttoptr(builder.add(spring, offset), ir.DoubleType().as_pointer())
        builder.store(rest_length, place)
        return context.get_dummy_value()

    return types.void(addresses, arguments), codegen


spring_set_rest_length: Callable[..., Any] = intrinsic(_store_rest_length)
