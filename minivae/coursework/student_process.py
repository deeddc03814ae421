"""The process in which the student's code runs: it does what the judge asks, one request after another.

    python -I student_process.py REQUESTS ANSWERS WORK LIMITS

REQUESTS and ANSWERS are file descriptors.  First this process shuts itself in (sandbox.py); then it answers:
call a function, read a part of a thing, write into an array.  Arrays and numbers go back as they are; whatever else
comes out, such as a pullback, stays here, and the judge gets a handle for it.

It stands alone: no test and no answer is ever in this process, so there is nothing here to find or to forge.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import sandbox  # type: ignore[import-not-found]  # noqa: E402
import wire  # type: ignore[import-not-found]  # noqa: E402
from things import Things  # type: ignore[import-not-found]  # noqa: E402


def complaint(error: BaseException, work: Path) -> str:
    """What went wrong, and where in the student's files."""
    if isinstance(error, NotImplementedError):
        return f"not implemented yet: {error}"
    if isinstance(error, MemoryError):
        return "out of memory: an array is far larger than it should be"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(work))]
    where = ""
    if frames:
        name = os.path.relpath(frames[-1].filename, work)
        where = f"\n  {name}, line {frames[-1].lineno}: {frames[-1].line}"
    elif isinstance(error, SyntaxError) and error.filename:
        where = f"\n  {os.path.relpath(error.filename, work)}, line {error.lineno}: {(error.text or '').strip()}"
    return f"{type(error).__name__}: {str(error)[:500]}{where}"


def serve(requests: int, answers: int, work: Path) -> None:
    """Answer until nobody asks."""
    things = Things(wire)
    while True:
        try:
            request = wire.receive(requests)
        except wire.WireError:                              # the judge has what it wanted
            return
        try:
            answer = (True, things.answer(request))
        except Exception as error:
            answer = (False, complaint(error, work))
        try:
            wire.send(answers, answer)
        except wire.WireError as error:
            wire.send(answers, (False, str(error)))


def main() -> None:
    """Shut in, then serve."""
    requests, answers, work, limits = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    walls = sandbox.restrict(work, **limits)
    os.chdir(work)
    sys.path[:1] = [str(work), str(work / "chapters")]
    wire.send(answers, (True, walls))
    serve(requests, answers, work)


if __name__ == "__main__":
    main()
