"""Pickles values for the Go tests to read, and reads what they wrote: `oracle.py dump` and `oracle.py load`.

A value is described in a way that both sides write alike: its type, then its text, as in (i5 sD18F).
"""

import json
import math
import pickle
import random
import struct
import sys
import zlib


def describe(v):
    if v is None:
        return "N"
    if isinstance(v, bool):
        return "T" if v else "F"
    if isinstance(v, int):
        return f"i{v:x}"
    if isinstance(v, float):
        return "f" + struct.pack(">d", v).hex()
    if isinstance(v, str):
        return "s" + v.encode().hex()
    if isinstance(v, bytes):
        return "b" + v.hex()
    if isinstance(v, list):
        return "[" + " ".join(map(describe, v)) + "]"
    if isinstance(v, tuple):
        return "(" + " ".join(map(describe, v)) + ")"
    if isinstance(v, dict):
        return "{" + " ".join(describe(k) + ":" + describe(x) for k, x in v.items()) + "}"
    raise TypeError(type(v))


def scalars():
    yield from (None, True, False, 0, 1, -1, 255, 256, -256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1)
    for bits in (62, 63, 64, 65, 127, 128, 2039, 2040, 2048, 14280):
        yield from (2**bits, -(2**bits), 2**bits - 1, -(2**bits) - 1)
    yield from (10**4300 - 1, 1 - 10**4300)
    yield from (0.0, -0.0, 1.5, -1e300, 5e-324, 1e16, math.inf, -math.inf, math.nan)
    yield from ("", "a", "Анна", "👤", "\x00", "a" * 255, "a" * 256, "я" * 200, "a" * 70000)


def values():
    yield from scalars()
    same = ["shared", ("t",), {"k": "shared"}]
    yield from ([], (), {}, [[]], ((),), {"": {}}, [1, (2, [3, {"a": (4, 5, 6, 7)}])])
    yield from ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [same, same, (same, same)], {"a": same, "b": same})
    yield from ({1: "a", "1": "b", None: "c", 1.5: "d", (1, "x"): "e", False: "f"}, {2**70: 1, -1: 2})
    yield from (list(range(2500)), {str(i): i for i in range(2500)}, [["x"] * 1100] * 2, tuple(range(70000)))
    deep = []
    for _ in range(63):
        deep = [deep]
    yield deep
    rand = random.Random(5)
    pool = [v for v in scalars() if v == v]

    def make(depth):
        kind = rand.randrange(6) if depth else 0
        if kind == 3:
            return tuple(make(depth - 1) for _ in range(rand.randrange(6)))
        if kind == 4:
            return {rand.choice(pool): make(depth - 1) for _ in range(rand.randrange(6))}
        if kind == 5:
            return [make(depth - 1) for _ in range(rand.randrange(6))]
        return rand.choice(pool)

    for _ in range(300):
        yield make(4)


def dump():
    for v in values():
        for protocol in range(2, 6):
            for version in (pickle.dumps(v, protocol), pickle._dumps(v, protocol)):  # In C, and in Python.
                emit(version, v)
    for v in (b"", b"\x00\xff", b"a" * 256, [b"x", b"x"], {b"k": b"v"}, b"a" * 70000):
        for protocol in range(3, 6):
            emit(pickle.dumps(v, protocol), v)
    for v in (2**63, 5, -5, 10**4300 - 1):
        print(json.dumps({"raw": str(v).encode().hex(), "want": describe(v)}))


def emit(pickled, v):
    for raw in (pickled, zlib.compress(pickled, 6)):
        print(json.dumps({"raw": raw.hex(), "want": describe(v)}))


def load():
    for line in sys.stdin:
        raw = bytes.fromhex(line)
        # As django-redis does it.
        try:
            v = int(raw)
        except ValueError:
            try:
                raw = zlib.decompress(raw)
            except zlib.error:
                pass
            v = pickle.loads(raw)
        print(describe(v))


if __name__ == "__main__":
    {"dump": dump, "load": load}[sys.argv[1]]()
