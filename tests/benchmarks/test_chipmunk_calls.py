"""What compiled code does to Chipmunk's objects without a function of Chipmunk's."""

from __future__ import annotations

import numba
import pytest
from pymunk import Body, DampedSpring
from pymunk._chipmunk_cffi import ffi, lib

from benchmarks import chipmunk_calls as chipmunk


@pytest.mark.skipif(not chipmunk.compiled_calls_supported(), reason="this loop does not run on this platform")
def test_a_written_rest_length_is_read_by_chipmunk_and_nothing_else_changes() -> None:
    store = numba.njit(lambda addresses, spring, value: chipmunk.spring_set_rest_length(addresses, (spring, value)))
    spring = DampedSpring(Body(1.0, 1.0), Body(1.0, 1.0), (0.25, 0.5), (0.75, 1.0), 3.0, 70.0, 0.125)
    address = int(ffi.cast("intptr_t", spring._constraint))
    before = bytes(ffi.buffer(ffi.cast("char *", address), 160))
    store(chipmunk.function_addresses(), address, 4.5)
    assert spring.rest_length == lib.cpDampedSpringGetRestLength(spring._constraint) == 4.5
    store(chipmunk.function_addresses(), address, 3.0)
    assert bytes(ffi.buffer(ffi.cast("char *", address), 160)) == before


def test_springs_laid_out_in_another_way_mean_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chipmunk, "_SPRING_WORDS", 10)
    assert chipmunk.rest_length_offset() is None
    assert not chipmunk.compiled_calls_supported()
