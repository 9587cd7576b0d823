"""Sees whether a SavedModel is the one that its fingerprint was taken of when it was saved.

TensorFlow writes `fingerprint.pb` since 2.12 and never compares it. It protects from nobody who can write a new one;
it tells that a graph, or the index of its variables, was changed or exchanged later.
Formats: fingerprint.proto of TensorFlow; the hash is Fingerprint64 of FarmHash (https://github.com/google/farmhash).
"""

from __future__ import annotations

import struct
from pathlib import Path

from zoo.errors import UnsafeFileError
from zoo.store.guards.map_orders import ordered_saved_model
from zoo.store.guards.places import file_size
from zoo.store.guards.refusals import explained
from zoo.store.guards.wire import BYTES, VARINT, Wire, level, wire_of
from zoo.store.unpacking import CHUNK, Held, Source, opened

FINGERPRINT = "fingerprint.pb"

_GRAPH, _VARIABLES, _VERSION = 1, 5, 6
_LARGEST_COMPARED = 32 << 20  # some seconds
_MOST_FIELDS = 10_000_000
_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def check_fingerprint(folder: Path) -> None:
    """Sees whether the graph and the index of the variables in a folder are those its `fingerprint.pb` tells of.

    A graph of more than 32 MB is not compared, nor one that is text, nor with what TensorFlow wrote before 2.12.

    Raises:
        UnsafeFileError: They are others.
        IntegrityError: The fingerprint is damaged.
        DiskError: A file cannot be read.
    """
    path = folder / FINGERPRINT
    with wire_of(path, "", "the fingerprint of a SavedModel") as wire:
        found = level(wire, {_GRAPH: VARINT, _VARIABLES: VARINT, _VERSION: BYTES})
        versions = [level(wire, {1: VARINT}, each.start, each.stop)[1] for each in found[_VERSION]]
        told = {number: found[number][-1].value for number in (_GRAPH, _VARIABLES) if found[number]}
    if not any(number.value for numbers in versions for number in numbers):
        told.pop(_GRAPH, None)  # which was the hash of something else
    with explained(str(folder), "what its fingerprint (fingerprint.pb) was taken of"):
        _compare(folder / "saved_model.pb", told.get(_GRAPH), is_saved_model=True)
        variables = folder / "variables" / "variables.index"
        if told.get(_VARIABLES) and file_size(variables) is None:
            raise UnsafeFileError(f"{variables} is missing")
        _compare(variables, told.get(_VARIABLES))


def _compare(path: Path, told: int | None, is_saved_model: bool = False) -> None:
    size = file_size(path)
    if not told or size is None or size > _LARGEST_COMPARED:
        return
    with opened(path) as source:
        found = fingerprint64(source)
        if found != told and is_saved_model:
            found = fingerprint64(Held(ordered_saved_model(Wire(Held(source.read_at(0, size)), _MOST_FIELDS))))
    if found != told:
        raise UnsafeFileError(f"{path} has the hash {found:016x}, and {FINGERPRINT} tells of {told:016x}")


def fingerprint64(source: Source) -> int:
    """Returns the hash of a file that TensorFlow calls Fingerprint64, on every machine the same.

    Raises:
        DiskError: It cannot be read.
    """
    size = source.size
    if size > 64:
        return _hash_of_long(source)
    data = source.read_at(0, size)
    if size > 32:
        return _hash_to_64(data)
    return _hash_to_32(data) if size > 16 else _hash_to_16(data)


# --- FarmHash, whose names of variables are kept ---


def _fetch(data: bytes, at: int, width: int = 8) -> int:
    at += len(data) if at < 0 else 0
    return int.from_bytes(data[at : at + width], "little")


def _rotate(value: int, by: int) -> int:
    value &= _MASK
    return (value >> by | value << 64 - by) & _MASK


def _shift_mix(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _hash_of_two(u: int, v: int, mul: int) -> int:
    a = _shift_mix((u ^ v) * mul)
    return _shift_mix((v ^ a) * mul) * mul & _MASK


def _hash_to_16(data: bytes) -> int:
    size = len(data)
    mul = _K2 + size * 2
    if size >= 8:
        a, b = _fetch(data, 0) + _K2 & _MASK, _fetch(data, -8)
        c, d = _rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul
        return _hash_of_two(c & _MASK, d & _MASK, mul)
    if size >= 4:
        return _hash_of_two(size + (_fetch(data, 0, 4) << 3), _fetch(data, -4, 4), mul)
    if not size:
        return _K2
    y, z = data[0] + (data[size >> 1] << 8), size + (data[-1] << 2)
    return _shift_mix(y * _K2 ^ z * _K0) * _K2 & _MASK


def _hash_to_32(data: bytes) -> int:
    mul = _K2 + len(data) * 2
    a, b = _fetch(data, 0) * _K1, _fetch(data, 8)
    c, d = _fetch(data, -8) * mul, _fetch(data, -16) * _K2
    u = _rotate(a + b, 43) + _rotate(c, 30) + d
    return _hash_of_two(u & _MASK, a + _rotate(b + _K2, 18) + c & _MASK, mul)


def _hash_to_64(data: bytes) -> int:
    mul = _K2 + len(data) * 2
    a, b = _fetch(data, 0) * _K2, _fetch(data, 8)
    c, d = _fetch(data, -8) * mul, _fetch(data, -16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d & _MASK
    z = _hash_of_two(y, a + _rotate(b + _K2, 18) + c & _MASK, mul)
    e, f = _fetch(data, 16) * mul, _fetch(data, 24)
    g, h = (y + _fetch(data, -32)) * mul, (z + _fetch(data, -24)) * mul
    u = _rotate(e + f, 43) + _rotate(g, 30) + h
    return _hash_of_two(u & _MASK, e + _rotate(f + a, 18) + g & _MASK, mul)


def _weak_hash(w: int, x: int, y: int, z: int, a: int, b: int) -> tuple[int, int]:
    a += w
    b = _rotate(b + a + z, 21)
    c = a
    a += x + y
    return a + z & _MASK, b + _rotate(a, 44) + c & _MASK


def _hash_of_long(source: Source) -> int:
    size = source.size
    x, y = 81 * _K2, 81 * _K1 + 113 & _MASK
    z = _shift_mix(y * _K2 + 113) * _K2 & _MASK
    v0 = v1 = w0 = w1 = 0
    x += int.from_bytes(source.read_at(0, 8), "little")
    whole = (size - 1) // 64 * 64
    for at in range(0, whole, CHUNK):
        for s0, s1, s2, s3, s4, s5, s6, s7 in struct.iter_unpack("<8Q", source.read_at(at, min(CHUNK, whole - at))):
            x = _rotate(x + y + v0 + s1, 37) * _K1
            y = _rotate(y + v1 + s6, 42) * _K1
            x = (x ^ w1) & _MASK
            y = y + v0 + s5 & _MASK
            z = _rotate(z + w0, 33) * _K1 & _MASK
            v0, v1 = _weak_hash(s0, s1, s2, s3, v1 * _K1, x + w0)
            w0, w1 = _weak_hash(s4, s5, s6, s7, z + w1, y + s2)
            z, x = x, z
    mul = _K1 + ((z & 0xFF) << 1)
    s0, s1, s2, s3, s4, s5, s6, s7 = struct.unpack("<8Q", source.read_at(size - 64, 64))
    w0 += size - 1 & 63
    v0 += w0
    w0 += v0
    x = _rotate(x + y + v0 + s1, 37) * mul
    y = _rotate(y + v1 + s6, 42) * mul
    x = (x ^ w1 * 9) & _MASK
    y = y + v0 * 9 + s5 & _MASK
    z = _rotate(z + w0, 33) * mul & _MASK
    v0, v1 = _weak_hash(s0, s1, s2, s3, v1 * mul, x + w0)
    w0, w1 = _weak_hash(s4, s5, s6, s7, z + w1, y + s2)
    z, x = x, z
    u = _hash_of_two(v0, w0, mul) + _shift_mix(y) * _K0 + z
    return _hash_of_two(u & _MASK, _hash_of_two(v1, w1, mul) + x & _MASK, mul)
