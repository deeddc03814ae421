"""What NumPy's calls cost is counted as it is, and code that is counted has no way round."""

import tracemalloc

import numpy as np
import pytest

from minivae.coursework import counted, meter
from minivae.coursework.budget import over
from minivae.coursework.confined import Bench, Refused, refusal

N, ROW = 4 * 40 * 30, 4 * 30           # bytes of x, (40, 30), and of one row, in float32
COSTS = {                              # what is done -> bytes moved, bytes new
    "x + y": (3 * N, N), "x * x": (2 * N, N), "x += y": (3 * N, 0), "x *= 2": (2 * N, 0), "2 - x": (2 * N, N),
    "np.add(x, y, out=y)": (3 * N, 0), "np.add(x, y, y)": (3 * N, 0), "np.exp(-x)": (4 * N, 2 * N),
    "np.exp(x, out=x)": (2 * N, 0), "x ** 2": (2 * N, N), "x.T": (0, 0), "x[:, None]": (0, 0), "x[3:7]": (0, 0),
    "x.reshape(30, 40)": (0, 0), "x.T.reshape(-1)": (2 * N, N), "x + b": (2 * N + ROW, N),
    "x.sum(axis=0)": (N + ROW, ROW),
    "x.sum()": (N + 4, 4), "np.sum(x, axis=0, out=b)": (N + ROW, 0), "np.add.reduce(x)": (N + ROW, ROW),
    "x > 0": (N + N // 4, N // 4), "np.where(x > 0, x, 0)": (N + N // 4 + N // 4 + 2 * N, N // 4 + N),
    "np.copyto(x, y)": (2 * N, 0), "np.copyto(x, 1, where=m)": (N // 4 + N, 0), "np.empty_like(x)": (0, N),
    "np.zeros((40, 30), np.float32)": (N, N), "x.astype(np.float64)": (3 * N, 2 * N),
    "x.astype(np.float32, copy=False)": (0, 0), "x @ w": (N + 4 * 30 * 5 + 4 * 40 * 5, 4 * 40 * 5),
    "np.matmul(x.T, y, out=c)": (2 * N + 4 * 30 * 30, 0), "np.einsum('bx,bx->b', x, y)": (2 * N + 4 * 40, 4 * 40),
    "x[i]": (8 * 3 + 2 * 3 * ROW, 3 * ROW), "x[2, 3]": (8, 4), "x[2:4] = 0": (2 * ROW, 0), "x[2:4] = b": (3 * ROW, 0),
    "np.broadcast_to(b, x.shape) + x": (2 * N + ROW, N), "np.concatenate([x, y])": (4 * N, 2 * N),
    "np.multiply(x, y, out=x, where=m)": (3 * N + N // 4, 0), "abs(x)": (2 * N, N),
    "np.square(x).mean()": (3 * N + 4, N + 4),
    "1 / (1 + x)": (4 * N, 2 * N), "np.stack([b, b])": (ROW + 2 * ROW, 2 * ROW), "x.copy()": (2 * N, N),
}


def given():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 40, 30)).astype(np.float32)
    return {"x": x, "y": y, "b": x[0].copy(), "w": np.ones((30, 5), np.float32), "c": np.empty((30, 30), np.float32),
            "m": x > 0.5, "i": np.array([1, 5, 1])}


def counts(text, **arrays):
    """(what the function f of that text returns of these, what that cost)"""
    bench = Bench(counted, meter)
    f = bench.opened("f", text).f
    bench.counts()
    return f(**arrays), bench.counts()


@pytest.mark.parametrize("does", COSTS)
def test_a_call_costs_what_it_reads_and_writes(does):
    statement = does if "=" in does.replace("==", "").split("(")[0] else f"return {does}"
    _, found = counts(f"import numpy as np\ndef f(x, y, b, w, c, m, i):\n    {statement}\n", **given())
    assert (found["moved"], found["new"]) == COSTS[does]
    assert [text for text, _ in found["lines of moved"]] == ([f"line 3: {statement}"] if COSTS[does][0] else [])


@pytest.mark.parametrize("does", [does for does in COSTS if "=" not in does.replace("==", "").split("(")[0]])
def test_it_computes_what_numpy_computes(does):
    text = f"import numpy as np\ndef f(x, y, b, w, c, m, i):\n    return {does}\n"
    names = {}
    exec(text, names)
    ours, theirs = counts(text, **given())[0], names["f"](**given())
    assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None)
    assert type(ours) in (np.ndarray, type(None))
    if "empty" not in does and ours is not None:
        np.testing.assert_array_equal(ours, theirs)


def test_new_memory_is_what_python_says_was_taken():
    text = ("import numpy as np\ndef f(x, y):\n"
            "    kept = [x + y, np.exp(x), np.zeros((500, 100)), x.astype(np.float64)]\n"
            "    kept.append(np.where(x > 0, x, y))\n    np.add(x, y, out=kept[0])\n"
            "    kept[1] *= x.T.reshape(x.shape)\n    return len(kept)\n")
    x, y = np.ones((2, 400, 300), np.float32)
    bench = Bench(counted, meter)
    f = bench.opened("f", text).f
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        bench.counts()
        f(x, y)
        taken, new = tracemalloc.get_traced_memory()[1] - before, bench.counts()["new"]
    finally:
        tracemalloc.stop()
    mask, turned = 400 * 300, 4 * 400 * 300            # made, and gone again: one at a time
    assert new > 2e6
    assert new - mask - turned < taken < 1.02 * new


def test_float64_is_traced_to_where_it_came_in():
    text = ("import numpy as np\ndef f(x):\n    w = np.full(len(x), 0.5)\n    d = x * w[:, None]\n"
            "    return (d * 2).sum()\n")
    _, found = counts(text, x=given()["x"])
    assert found["leaks"] == ["line 3: w = np.full(len(x), 0.5)"]
    assert found["float64"] == 8 * 40 + (8 * 40 + 2 * N) + 4 * N + 2 * N
    assert counts(text.replace("0.5)", "0.5, np.float32)"), x=given()["x"])[1]["float64"] == 0.0


def test_functions_and_calls_are_counted():
    text = ("import numpy as np\ndef f(x):\n    np.logaddexp(0, np.log1p(x))\n    np.sqrt(x)\n"
            "    return sum(float(v) for v in x[0])\n")
    value, found = counts(text, x=given()["x"])
    assert value == pytest.approx(given()["x"][0].sum())
    assert found["functions"] == 3 * 40 * 30
    assert found["calls"] == 3 + 1 + 2 * 30


@pytest.mark.parametrize(("does", "multiplications"), [
    ("x @ w", 40 * 30 * 5), ("np.matmul(x.T, y)", 30 * 40 * 30), ("np.dot(x, b)", 40 * 30), ("x * y", 0),
    ("np.einsum('bi,io->bo', x, w)", 40 * 30 * 5), ("np.einsum('bx,bx->b', x, y)", 40 * 30),
    ("np.einsum('bx->b', x)", 0), ("np.dot(2.0, 3.0)", 0),
])
def test_multiplications_of_products_are_counted(does, multiplications):
    text = f"import numpy as np\ndef f(x, y, b, w, c, m, i):\n    return {does}\n"
    assert counts(text, **given())[1]["products"] == multiplications


# ── no way round ──────────────────────────────────────────────────────────────────────────────

BEHIND = {
    "import os": "import os", "import numpy.linalg": "import numpy.linalg", "from math import __loader__": "__loader__",
    "from numpy import __offered__": "__offered__", "import textbook": "import textbook",
    "from . import step": "import .",
    "x = np.add.__class__": "__class__", "x = f.__globals__": "__globals__", "x = a.__plain__": "__plain__",
    "x = (1 for _ in a).gi_frame": "gi_frame", "x = getattr(np, 'add')": "getattr", "x = eval('1')": "eval",
    "x = open('step.py')": "open", "x = type(np)": "type", "x = vars(np)": "vars", "x = memoryview(a)": "memoryview",
    "x = '{0.__plain__}'.format(a)": "format", "x = __builtins__": "__builtins__", "x = __import__('os')": "__import__",
    "class A:\n    __plain__ = 1": "__plain__", "class A:\n    def __getattribute__(self, n): pass": "__getattribute__",
    "match a:\n    case object(__plain__=x): pass": "match", "def g():\n    global __builtins__": "__builtins__",
    "try:\n    a @ 1\nexcept Exception as e:\n    x = e.__traceback__": "__traceback__", "x = e.ufunc": "ufunc",
    "import numpy as __builtins__": "__builtins__", "x = e.obj": "obj", "async def g(): pass": "async",
}


@pytest.mark.parametrize("text", BEHIND)
def test_what_leads_behind_things_is_refused_with_its_line(text):
    says = refusal(f"import numpy as np\n{text}\n", "step.py")
    assert f": {BEHIND[text]} is not there when the passes of this file are counted" in says
    assert says.startswith("step.py, line ")
    with pytest.raises(Refused):
        Bench(counted, meter).opened("step", text)


FINE = """
from __future__ import annotations
import math
import numpy as np
from numpy import exp, float32

class Room:
    def __init__(self, *shape, type="none"):
        self._own, self.type = np.empty(shape, dtype=np.float32), type

    @property
    def size(self):
        return self._own.size

    def __call__(self, id):
        return f"{id:.1f} {math.pi:.2f} {type_of(id)}"

def type_of(x):
    return isinstance(x, np.ndarray), [y for y in range(2)]

def f(x):
    room, input = Room(2, 3), {"a": exp(x)}
    with np.errstate(all="ignore"):
        lambda_ = sorted(input.items(), key=lambda pair: pair[0])
    try:
        x @ x[:1]
    except ValueError as error:
        says = str(error)
    return room.size, room(1.0), says[:6], lambda_[0][1].dtype == float32, x.dtype == "float32", str(x.dtype)
"""


def test_ordinary_python_is_fine():
    assert counts(FINE, x=given()["x"])[0] == (6, "1.0 3.14 (False, [0, 1])", "matmul", True, True, "float32")


@pytest.mark.parametrize(("does", "says"), [
    ("np.vectorize(f)", "np.vectorize is not there when the code is judged"),
    ("x.view()", "x.view of an array is not there"),
    ("x.tolist()", "x.tolist of an array"), ("np.random.default_rng()", "np.random is not there"),
    ("np.array([f])", "a function where an array or a number"), ("np.array(['a'])", "only numbers are counted"),
    ("np.zeros(3, dtype='O')", "only numbers are counted"), ("np.array(b'abcd')", "a bytes where"),
    ("np.einsum('b,b,b', x, x, x)", "one or two arrays is counted"), ("np.lib", "np.lib is not there"),
])
def test_what_cannot_be_counted_is_not_there_and_says_so(does, says):
    with pytest.raises((AttributeError, TypeError), match=says):
        counts(f"import numpy as np\ndef f(x):\n    return {does}\n", x=np.ones(3, np.float32))


def test_no_array_of_numpys_own_is_ever_in_reach():
    """Whatever is offered, called with arrays, numbers and lists, gives arrays that are counted, or no arrays."""
    x = counted.counted(np.ones((3, 3), np.float32))
    counted.METER = meter.Meter()
    own = (np.ndarray, np.generic, np.ufunc, np.dtype, type(np))

    def look(thing):
        assert not isinstance(thing, own), thing
        if isinstance(thing, (list, tuple)):
            for part in thing:
                look(part)

    called = 0
    for name, thing in counted.numpy.__offered__.items():
        look(thing)
        for arguments in ((x,), (x, x), ([1.0, 2.0],), (2.0, 3.0), (x, 1), (3,), ("ij->ji", x), ((2, 2), 1.0),
                          (x > 0, x, 0)):
            for f in [thing, *(getattr(thing, part, None) for part in ("reduce", "accumulate"))]:
                if callable(f) and name != "errstate":
                    try:
                        look(f(*arguments))
                    except (TypeError, ValueError, IndexError) as error:
                        look(error.args)
                    else:
                        called += 1
    for name in dir(counted.Array):
        if not name.startswith("__"):
            thing = getattr(x, name)
            look(thing)
    assert called > 300


def test_numbers_are_told_one_at_a_time():
    x = counted.counted(np.ones((3, 3), np.float32))
    counted.METER = meter.Meter()
    assert "1" not in f"{x} {x!r} {x:>40}".replace("32", "")
    assert (f"{x[0, 0]:.1f}", str(x.sum()), float(x[1, 1])) == ("1.0", "array(9., dtype=float32)", 1.0)
    assert counted.METER.told()["calls"] > 5


def test_a_budget_names_what_is_over_and_where():
    told = {"moved": 300.0, "new": 10.0, "float64": 0.0, "functions": 0.0, "products": 0.0, "calls": 3.0,
            "lines of moved": [["line 7: a = b + c", 200.0]], "leaks": []}
    textbook = told | {"moved": 400.0}
    assert over(told, textbook, {"moved": 0.75, "new": 1.0, "float64": 0.0}) is None
    assert over(told, textbook, {"moved": 0.7}) == (
        "300 bytes are read and written: 400 in the textbook, at most 280 are asked for\n"
        "  most of it:\n    line 7: a = b + c (200)")
    leaky = told | {"float64": 8.0, "leaks": ["line 3: x"]}
    assert "none should be\n  it comes in at\n    line 3: x" in over(leaky, textbook, {"float64": 0.0})
    assert over(None, textbook, {}) == "nothing was counted"
