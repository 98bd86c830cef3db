"""Loads, stores and bit tricks that kernels share: unaligned little-endian access and 128-bit products.

Each has a plain Python twin that runs when the JIT is off. A load of 8 bytes needs 8 readable bytes; buffers
that kernels read are allocated with PAD spare bytes (see `headrace.kernels.buffers`).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.jit import compiled_as

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PAD = 16
"""Spare bytes after the valid ones, so that 8-byte loads and copies stay inside the allocation."""

_MASK64 = (1 << 64) - 1


def _make_load(numba_name: str, bits: int, *, is_float: bool = False) -> Callable[[], Any]:
    def make() -> Any:
        from llvmlite import ir
        from numba import types

        result = getattr(types, numba_name)
        llvm = ir.DoubleType() if is_float else ir.IntType(bits)

        def load(_typing: Any, array: Any, _index: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                data = context.make_array(signature.args[0])(context, builder, args[0]).data
                pointer = builder.bitcast(builder.gep(data, [args[1]]), llvm.as_pointer())
                return builder.load(pointer, align=1)

            return result(array, types.intp), generate

        return load

    return make


def _make_store() -> Any:
    from llvmlite import ir
    from numba import types

    def store(_typing: Any, array: Any, _index: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())
            builder.store(args[2], pointer, align=1)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.uint64), generate

    return store


def _make_mulhi() -> Any:
    from llvmlite import ir
    from numba import types

    def mulhi(_typing: Any, _a: Any, _b: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            wide = ir.IntType(128)
            product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
            return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

        return types.uint64(types.uint64, types.uint64), generate

    return mulhi


def _make_count_bits(instruction: str) -> Callable[[], Any]:
    def make() -> Any:
        from llvmlite import ir
        from numba import types

        def count(_typing: Any, _a: Any) -> Any:
            def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                return getattr(builder, instruction)(args[0], ir.Constant(ir.IntType(1), 0))

            return types.uint64(types.uint64), generate

        return count

    return make


def _make_prefetch() -> Any:
    from llvmlite import ir
    from numba import types

    def prefetch(_typing: Any, array: Any, _index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), number, number, number])
            function = builder.module.globals.get("llvm.prefetch.p0")
            if function is None:
                function = ir.Function(builder.module, kind, "llvm.prefetch.p0")
            # To be read, in all caches, data.
            builder.call(function, [pointer, number(0), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.intp), generate

    return prefetch


def _make_count_ones() -> Any:
    from numba import types

    def count(_typing: Any, _a: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.ctpop(args[0])

        return types.uint64(types.uint64), generate

    return count


def _make_cast(source: str, target: str) -> Callable[[], Any]:
    def make() -> Any:
        from llvmlite import ir
        from numba import types

        llvm = ir.DoubleType() if target == "float64" else ir.IntType(64)

        def cast(_typing: Any, _a: Any) -> Any:
            def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                return builder.bitcast(args[0], llvm)

            return getattr(types, target)(getattr(types, source)), generate

        return cast

    return make


@compiled_as(_make_load("uint64", 64))
def load_u64(buf: NDArray[np.uint8], pos: int) -> np.uint64:
    """Read 8 little-endian bytes of `buf` at `pos`; the caller knows that they exist."""
    return np.uint64(int.from_bytes(buf[pos : pos + 8].tobytes(), "little"))


@compiled_as(_make_load("uint32", 32))
def load_u32(buf: NDArray[np.uint8], pos: int) -> np.uint32:
    """Read 4 little-endian bytes of `buf` at `pos`; the caller knows that they exist."""
    return np.uint32(int.from_bytes(buf[pos : pos + 4].tobytes(), "little"))


@compiled_as(_make_load("float64", 64, is_float=True))
def load_f64(buf: NDArray[np.uint8], pos: int) -> np.float64:
    """Read a little-endian double of `buf` at `pos`, NaN payload and all."""
    return np.float64(np.frombuffer(buf[pos : pos + 8].tobytes(), np.float64)[0])


@compiled_as(_make_store)
def store_u64(buf: NDArray[np.uint8], pos: int, value: np.uint64) -> None:
    """Write `value` as 8 little-endian bytes at `pos`; the caller knows that there is room."""
    buf[pos : pos + 8] = np.frombuffer(int(value).to_bytes(8, "little"), np.uint8)


@compiled_as(_make_mulhi)
def mulhi(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return the upper 64 bits of the 128-bit product."""
    return np.uint64((int(a) * int(b)) >> 64)


@compiled_as(_make_count_bits("ctlz"))
def leading_zeros(a: np.uint64) -> np.uint64:
    """Count the zero bits above the highest set bit; 64 for zero."""
    return np.uint64(64 - int(a).bit_length())


@compiled_as(_make_count_bits("cttz"))
def trailing_zeros(a: np.uint64) -> np.uint64:
    """Count the zero bits below the lowest set bit; 64 for zero."""
    value = int(a)
    return np.uint64((value & -value).bit_length() - 1 if value else 64)


@compiled_as(_make_prefetch)
def prefetch(array: NDArray[Any], place: int) -> None:
    """Have the cache line with element `place` of the flattened C-contiguous array fetched; any place is allowed."""


@compiled_as(_make_count_ones)
def count_ones(a: np.uint64) -> np.uint64:
    """Count the set bits."""
    return np.uint64(int(a).bit_count())


@compiled_as(_make_cast("float64", "uint64"))
def float_bits(a: np.float64) -> np.uint64:
    """Return the bit pattern of a double."""
    return np.uint64(struct.unpack("<Q", np.float64(a).tobytes())[0])


@compiled_as(_make_cast("uint64", "float64"))
def bits_float(a: np.uint64) -> np.float64:
    """Return the double with bit pattern `a`."""
    return np.float64(np.frombuffer(int(a).to_bytes(8, "little"), np.float64)[0])
