"""A test of an assignment: one piece of work, done by the student's code and by the solution, and compared.

    @points(3, task="1.2")
    def linear_pullback(lib, rng):
        \"\"\"dx, dW and db of y = x W + b\"\"\"
        x, W, b, dy = rng.standard_normal((4, 3)), …
        _, pull = lib.call("minivae.ops:linear", x, W, b)
        dx, dW, db = lib.call(pull, dy)
        return {"db": db, "dW": Expected(dW, "linear_dW", x, dy), "dx": dx}

`lib` is the student's process once, and the solution once; the generator draws the same numbers both times.  What comes
back is compared name by name, in the order given: from the loss backwards, so that the first difference is the cause.
A test file holds no answer: it can be handed out, together with a recording of what the solution returned.  What a
gradient is made of, so that a mistake in it can be named, is in hints.py, which stays with the instructor:

    def linear_dW(x, dy):
        return {"sizes": {"the batch size B": len(x)}}
"""

from __future__ import annotations

import importlib.util
import math
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minivae.coursework import counted, meter, wire
from minivae.coursework.budget import Budget, over
from minivae.coursework.confined import Bench
from minivae.coursework.diagnose import Context, diagnose, same
from minivae.coursework.things import Things, module_of
from minivae.coursework.wire import Handle, Name

CHAPTERS = Path(__file__).parents[2] / "chapters"
EXACT, FLOAT32 = 1e-10, 1e-5          # of a length: what is asked of float64, and of what comes in float32
Hints = Mapping[str, Callable[..., dict[str, Any]]]
Work = Callable[["Library", np.random.Generator], Mapping[str, Any]]


class Library(Protocol):
    """Somebody's minivae: the student's, in another process, or the solution, in this one."""

    def call(self, target: str | Handle, *arguments: Any, **keywords: Any) -> Any: ...
    def get(self, thing: str | Handle, path: str) -> Any: ...
    def set(self, thing: Handle, path: str, values: Any) -> None: ...
    def module(self, name: str, source: str) -> Handle: ...
    def counted(self, name: str, textbook: str) -> Handle: ...
    def counts(self) -> dict[str, Any]: ...


class Solution:
    """The installed minivae, asked in the same way."""

    def __init__(self) -> None:
        self.things = Things(wire)
        self.things.bench = Bench(counted, meter)
        if str(CHAPTERS) not in sys.path:              # pieces of chapters may be tasks
            sys.path.append(str(CHAPTERS))

    def call(self, target: str | Handle, *arguments: Any, **keywords: Any) -> Any:
        return self.things.answer(("call", _name(target), arguments, keywords))

    def get(self, thing: str | Handle, path: str) -> Any:
        return self.things.answer(("get", _name(thing), path))

    def set(self, thing: Handle, path: str, values: Any) -> None:
        self.things.answer(("set", thing, path, values))

    def module(self, name: str, source: str) -> Handle:
        return self.things.answer(("module", name, source))

    def counted(self, name: str, textbook: str) -> Handle:
        """What comes out is what comes out of the textbook; what is counted of it is what a share is asked of."""
        return self.things.answer(("counted", name, textbook))

    def counts(self) -> dict[str, Any]:
        return self.things.answer(("counts", ""))


def _name(target: str | Handle) -> Name | Handle:
    return Name(target) if isinstance(target, str) else target


class Expected:
    """A value, the name of a hint about it, and the arrays that the hint asks for."""

    def __init__(self, value: Any, hint: str, *arrays: Any) -> None:
        self.value, self.hint, self.arrays = value, hint, arrays


class FormError(AssertionError):
    """What was returned is not of the form asked for: the message is for the student."""


def returned(answer: Any, *names: str) -> Sequence[Any]:
    """What a pullback of several inputs returned, to be unpacked.  Raises FormError if it is not that many things."""
    several = isinstance(answer, (tuple, list))
    if several and len(answer) == len(names):
        return list(answer)
    came = (f"{len(answer)} things were" if several else "nothing was" if answer is None else "one array was"
            if isinstance(answer, np.ndarray) else f"a {getattr(answer, 'kind', '') or type(answer).__name__} was")
    raise FormError(f"{came} returned, expected {len(names)}: {', '.join(names)}"
                    + (" (is a `return` missing?)" if answer is None else ""))


def value_of(answer: Any) -> Any:
    """The value, of an op's value and pullback.  Raises FormError if it is not those two."""
    return returned(answer, "the value", "its pullback")[0]


@dataclass(frozen=True)
class Test:
    """A piece of work, and what it is worth."""

    __test__ = False                   # not one of pytest's

    name: str
    title: str
    task: str
    points: float
    hidden: bool
    work: Work
    tolerance: float = EXACT
    """of the length of what is compared, if it comes in float64"""
    joined: bool = False
    """on the student's own parts, not on the solution's under it"""

    def run(self, lib: Library, seed: int, hints: Hints | None = None) -> dict[str, Any]:
        """What this library makes of it: name -> [value, context], the context empty without hints."""
        # a stream of its own for each test: another test more does not change this one's numbers
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        found: dict[str, Any] = {}
        for name, x in self.work(lib, rng).items():
            if isinstance(x, Expected):
                found[name] = [x.value, hints[x.hint](*x.arrays) if hints else {}]
            elif isinstance(x, Budget):
                found[name] = [x.counts, {"shares": x.shares}]
            else:
                found[name] = [x, {}]
        return found


def points(number: float, *, task: str, hidden: bool = False, tolerance: float = EXACT,
           joined: bool = False) -> Callable[[Work], Work]:
    """Marks a function as a test that is worth so many points of a task.

    tolerance   where ten digits are too many
    joined      it runs on the student's own earlier parts; else, when it is graded, on the solution's
    """
    def mark(work: Work) -> Work:
        work.points, work.task, work.hidden = number, task, hidden                    # type: ignore[attr-defined]
        work.tolerance, work.joined = tolerance, joined                               # type: ignore[attr-defined]
        return work

    return mark


def collect(path: Path, seed: int = 0) -> list[Test]:
    """The tests of a file, in its order; it may look at SEED, by which files are made."""
    for file, text in made(path.parent, seed, "starter", "solution").items():  # importable here: the solution runs here
        name = file.removesuffix(".py").replace("/", ".")
        sys.modules[name] = module_of(name, text)
    return [Test(name, (work.__doc__ or name).strip().splitlines()[0], work.task, work.points, work.hidden, work,
                 work.tolerance, work.joined)
            for name, work in _names_in(path, SEED=seed).items() if hasattr(work, "points")]


def made(folder: Path, seed: int, *functions: str) -> dict[str, str]:
    """file -> text, of what functions of the folder's make.py return: files that are made of others, and lie nowhere.

    make.py has `starter(seed)`, all files that are made for students, and `solution(seed)`, those that a right one
    hands in; the seed is the secret one.
    Without a make.py there are none.
    """
    path = folder / "make.py"
    found: dict[str, str] = {}
    if path.exists():
        names = _names_in(path)
        for function in functions:
            found |= names[function](seed)
    return found


def hints_of(path: Path) -> Hints:
    """The functions of hints.py, by name."""
    return {name: thing for name, thing in _names_in(path).items() if callable(thing)}


def _names_in(path: Path, **given: Any) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(f"assignment_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module).update(given)
    spec.loader.exec_module(module)
    return vars(module)


def compare(got: Mapping[str, Any], want: Mapping[str, Any], tolerance: float = EXACT) -> str | None:
    """None if all is right, else what is wrong with the first that differs."""
    for name, (right, context) in want.items():
        value = got[name][0] if name in got else None
        if "shares" in context:
            says = over(value, right, context["shares"])
        else:
            says = _differs(value, right, Context(**context), tolerance)
        if says:
            return f"{name}: {(_taken_for(got, name, want) if name in got else '') or says}"
    return None


def _taken_for(got: Mapping[str, Any], name: str, want: Mapping[str, Any]) -> str:
    """If it is what another name should be, and that one is wrong too: they come in another order."""
    def alike(x: Any, right: Any) -> bool:
        return isinstance(x, np.ndarray) and isinstance(right, np.ndarray) and same(x, right, FLOAT32)

    others = [other for other in want if other != name and other in got and np.any(want[other][0])
              and alike(got[name][0], want[other][0]) and not alike(got[other][0], want[other][0])]
    return f"it is what {others[0]} should be (are they returned in another order?)" if others else ""


def _differs(got: Any, right: Any, context: Context, tolerance: float) -> str | None:
    if isinstance(right, (np.ndarray, float, int)) and not isinstance(right, bool):
        want, rounded = np.asarray(right, dtype=np.float64), getattr(got, "dtype", None) in (np.float16, np.float32)
        if rounded:                                    # what is computed in float32 is judged as such
            return diagnose(got, want, context, max(tolerance, FLOAT32), alike=1e-4)
        return _digits(got, want, tolerance) or diagnose(got, want, context, tolerance, alike=max(tolerance, 1e-6))
    return None if type(got) is type(right) and got == right else f"it is {got!r:.200}, should be {right!r:.200}"


def _digits(got: Any, want: np.ndarray, tolerance: float) -> str | None:
    """What is right to some digits and no more is no mistake in a term or a factor."""
    if not isinstance(got, (np.ndarray, float)) or not same(np.asarray(got), want, FLOAT32):
        return None
    if same(np.asarray(got), want, tolerance):
        return None
    digits = next(d for d in range(16, 0, -1) if same(np.asarray(got), want, 10.0**-d))
    return (f"it is right to {digits} digits, and should be to {-math.log10(tolerance):.0f}: a finite difference "
            "instead of a derivation, a small number added, or something rounded to float32 on the way?")


def record(tests: list[Test], seed: int, hints: Hints) -> bytes:
    """What the solution returns for each of these tests, in one file that can be handed out."""
    return wire.pack({test.name: test.run(Solution(), seed, hints) for test in tests})


def replay(recording: bytes) -> dict[str, dict[str, Any]]:
    """Back from `record`.  Raises WireError if it is damaged."""
    head, body = (int.from_bytes(recording[i:i + 4], "little") for i in (0, 4))
    return wire.unpack(recording[8:8 + head], recording[8 + head:8 + head + body])
