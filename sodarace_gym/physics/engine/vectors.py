"""Four floats at once: code over LLVM's vectors, for the solver's inner loops.

numba makes vector code of loops over neighbouring numbers. The solver reaches its joints through indices, where it does not,
so that the loops which take most of the time are emitted by hand. Springs and contacts are kept in *quads*: four of them that
share no joint, so that it makes no difference whether they are solved at once or one after the other. Nothing here carries a
fast-math flag: every element of every operation rounds as the same operation on a single float does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sodarace_gym.physics.compilation import inlined

WIDTH = 4
"""Floats in a vector: what fits a register of 256 bits; on processors with shorter ones LLVM takes two."""

_WIDTH = np.uint64(WIDTH)


def offsets(fields: int) -> tuple[np.uint64, ...]:
    """What to add to the place of an element's first field to get to the others, for scalar code.

    Unsigned, as are the places: numba checks signed indices for counting from the end.
    """
    return tuple(np.uint64(WIDTH * field) for field in range(fields))


@inlined
def place(number: int, fields: int) -> np.uint64:
    """Where the first field of an element stands in rows that hold ``fields`` vectors for each quad."""
    unsigned = np.uint64(number)
    return _WIDTH * np.uint64(fields) * (unsigned // _WIDTH) + unsigned % _WIDTH


_DOUBLE, _WORD, _INDEX = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
_PAIR, _QUAD = ir.VectorType(_DOUBLE, 2), ir.VectorType(_DOUBLE, WIDTH)


def quad_intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes numba's intrinsic of a function that takes the typing context and types and gives a signature and a generator."""
    return cast(Callable[..., Any], intrinsic(function))


def quad_loop(name: str, body: Callable[..., None]) -> Callable[..., Any]:
    """Makes the code generator of an intrinsic that goes through quads.

    The loop becomes a function of its own that is not inlined: among the many variables of its caller the compiler would run
    out of registers and reload pointers in the middle of the loop, which costs some percent of the time.

    Args:
        name: Name of the function.
        body: ``body(code, quad, *pointers, *scalars)`` emits what is to be done with one quad; pointers are to the first
            elements of arrays.

    Returns:
        Code generator for arguments that are arrays, the number of quads, and any scalars after it.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = []
        for kind, value in zip(signature.args, arguments, strict=True):
            is_array = isinstance(kind, types.Array)
            values.append(cgutils.create_struct_proxy(kind)(context, builder, value).data if is_array else value)
        kinds = [value.type for value in values]
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
        if function.is_declaration:
            function.linkage = "internal"
            function.attributes.add("noinline")
            inside = ir.IRBuilder(function.append_basic_block("entry"))
            arrays = sum(isinstance(kind, types.Array) for kind in signature.args)
            for pointer in function.args[:arrays]:
                pointer.add_attribute("noalias")
            code = Quads(inside)
            with cgutils.for_range(inside, function.args[arrays]) as loop:
                body(code, loop.index, *function.args[:arrays], *function.args[arrays + 1 :])
            inside.ret_void()
        builder.call(function, values)
        return context.get_dummy_value()

    return codegen


class Quads:
    """Emits code over vectors of four floats; values are LLVM vectors unless stated otherwise.

    Args:
        builder: LLVM's instruction builder.
    """

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self.add, self.subtract, self.multiply, self.divide = builder.fadd, builder.fsub, builder.fmul, builder.fdiv
        self.negate = builder.fneg

    def constant(self, value: float) -> Any:
        """A number four times."""
        return ir.Constant(_QUAD, [ir.Constant(_DOUBLE, value)] * WIDTH)

    def spread(self, scalar: Any) -> Any:
        """A scalar four times."""
        single = self._builder.insert_element(ir.Constant(_QUAD, ir.Undefined), scalar, ir.Constant(_INDEX, 0))
        return self._shuffle(single, single, [0] * WIDTH)

    def root(self, value: Any) -> Any:
        """Square roots, correctly rounded."""
        kind = ir.FunctionType(_QUAD, [_QUAD])
        function = cgutils.get_or_insert_function(self._builder.module, kind, "llvm.sqrt.v4f64")
        return self._builder.call(function, [value])

    def greater(self, value: Any, bound: Any) -> Any:
        """The value where it is above the bound, otherwise (also for a NaN) the bound."""
        return self._builder.select(self._builder.fcmp_ordered(">", value, bound), value, bound)

    def smaller(self, value: Any, bound: Any) -> Any:
        """The value where it is below the bound, otherwise the bound."""
        return self._builder.select(self._builder.fcmp_ordered("<", value, bound), value, bound)

    def nonzero_or_infinite(self, value: Any) -> Any:
        """The value, or infinity in the place of zeros."""
        nonzero = self._builder.fcmp_unordered("!=", value, self.constant(0.0))
        return self._builder.select(nonzero, value, self.constant(float("inf")))

    def row(self, rows: Any, quad: Any, fields: int) -> QuadRow:
        """The fields of a quad in an array that holds ``fields`` vectors for each."""
        return QuadRow(self._builder, rows, quad, fields)

    def indices(self, array: Any, quad: Any, count: int) -> list[Any]:
        """``count`` integers of a quad in an array that holds as many for each."""
        start = self._builder.mul(quad, ir.Constant(_WORD, count))
        places = [self._builder.add(start, ir.Constant(_WORD, offset)) for offset in range(count)]
        return [self._builder.load(self._builder.gep(array, [place])) for place in places]

    def gather(self, array: Any, indices: Sequence[Any]) -> Gathered:
        """Loads the pairs (x, y) that stand at four indices of an array."""
        places = [self._builder.bitcast(self._builder.gep(array, [index]), _PAIR.as_pointer()) for index in indices]
        pairs = [self._builder.load(place, align=8) for place in places]
        even, odd = self._shuffle(pairs[0], pairs[2], range(4)), self._shuffle(pairs[1], pairs[3], range(4))
        return Gathered(even, odd, places)

    def transpose(self, even: Any, odd: Any) -> tuple[Any, Any]:
        """Turns (x0 y0 x2 y2), (x1 y1 x3 y3) into (x0 x1 x2 x3), (y0 y1 y2 y3), and the other way round."""
        return self._shuffle(even, odd, [0, 4, 2, 6]), self._shuffle(even, odd, [1, 5, 3, 7])

    def scatter(self, even: Any, odd: Any, places: Sequence[Any]) -> None:
        """Stores four pairs where they were gathered."""
        for pairs, (low, high) in ((even, (0, 2)), (odd, (1, 3))):
            self._builder.store(self._shuffle(pairs, pairs, [0, 1]), places[low], align=8)
            self._builder.store(self._shuffle(pairs, pairs, [2, 3]), places[high], align=8)

    def _shuffle(self, first: Any, second: Any, picks: Sequence[int]) -> Any:
        mask = ir.Constant(ir.VectorType(_INDEX, len(picks)), [ir.Constant(_INDEX, pick) for pick in picks])
        return self._builder.shuffle_vector(first, second, mask)


class Gathered:
    """Pairs of four joints as they are loaded: joints 0 and 2 in one vector, 1 and 3 in the other.

    Sums and differences need no transposition, so that it is left to whoever needs it.
    """

    def __init__(self, even: Any, odd: Any, places: Sequence[Any]) -> None:
        self.even, self.odd, self.places = even, odd, places


class QuadRow:
    """The fields of one quad: ``row[field]`` loads a vector, ``row[field] = value`` stores it."""

    def __init__(self, builder: Any, rows: Any, quad: Any, fields: int) -> None:
        self._builder, self._rows = builder, rows
        self._start = builder.mul(quad, ir.Constant(_WORD, fields * WIDTH))

    def _place(self, field: int) -> Any:
        start = self._builder.add(self._start, ir.Constant(_WORD, field * WIDTH))
        return self._builder.bitcast(self._builder.gep(self._rows, [start]), _QUAD.as_pointer())

    def __getitem__(self, field: int) -> Any:
        return self._builder.load(self._place(field), align=8)

    def __setitem__(self, field: int, value: Any) -> None:
        self._builder.store(value, self._place(field), align=8)
