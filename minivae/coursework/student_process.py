"""The process in which the student's code runs, and the one that watches it.

    python -I student_process.py LINE

LINE is a socket.  This process, the nursery, reads Python and NumPy, and then forks whenever it is asked to: with a
work folder, limits, and five files: requests, answers, the lease, how it ended, what it printed.  The new process forks
again: the child shuts itself in (sandbox.py) and then does what the judge asks, one request after another: call a
function, read a part of a thing, write into an array.  Arrays and numbers go back as they are; whatever else comes out,
such as a pullback, stays there, and the judge gets a handle for it.  The parent waits until the child has ended, or the
judge lets go of the lease, if only by being killed; then it ends whatever is left (watch.py), and prints how the child
ended.

It stands alone: no test and no answer is ever in these processes, so there is nothing here to find or to forge.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
import confined  # type: ignore[import-not-found]  # noqa: E402
import counted  # type: ignore[import-not-found]  # noqa: E402
import evaluations  # type: ignore[import-not-found]  # noqa: E402
import meter  # type: ignore[import-not-found]  # noqa: E402
import parts  # type: ignore[import-not-found]  # noqa: E402
import purity  # type: ignore[import-not-found]  # noqa: E402
import sandbox  # type: ignore[import-not-found]  # noqa: E402
import watch  # type: ignore[import-not-found]  # noqa: E402
import wire  # type: ignore[import-not-found]  # noqa: E402
import worlds  # type: ignore[import-not-found]  # noqa: E402
from things import Things  # type: ignore[import-not-found]  # noqa: E402

sys.path.remove(HERE)
sys.modules["judges_parts"] = sys.modules.pop("parts")         # the line that asks imports it; a student's own may be
for own in ("confined", "counted", "evaluations", "meter", "purity"):                          # called as ours are
    del sys.modules[own]
REFUSED = "(the judge lets code compute, and not write files, start processes or use the network)"


def complaint(error: BaseException, work: Path) -> str:
    """What went wrong, and where in the student's files."""
    if isinstance(error, NotImplementedError):
        return f"not implemented yet: {error}"
    if isinstance(error, (purity.Written, evaluations.Measured, parts.PartError, confined.Refused)):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory: an array is far larger than it should be"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(work))]
    where = ""
    if frames:
        name = os.path.relpath(frames[-1].filename, work)
        where = f"\n  {name}, line {frames[-1].lineno}: {frames[-1].line}"
    elif isinstance(error, SyntaxError) and error.filename:
        where = f"\n  {os.path.relpath(error.filename, work)}, line {error.lineno}: {(error.text or '').strip()}"
    refused = isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES, errno.EROFS)
    says = str(error).replace(f"{work}/", "")[:500]          # where it lies this time is no part of the mistake
    return f"{type(error).__name__}: {says}{f' {REFUSED}' if refused else ''}{where}"


def explain(error: BaseException, work: Path) -> str:
    """The complaint; but an error may be of the student's own making, and have no words."""
    try:
        return complaint(error, work)
    except BaseException:
        return f"{type(error).__name__}, which cannot be printed"


def serve(requests: int, answers: int, work: Path) -> None:
    """Answer until nobody asks: with the number of the request, whether it went well, and what came out."""
    things = Things(wire, purity.Witness(), evaluations.Watch())
    things.bench = confined.Bench(counted, meter)
    parts.connect(parts.Line(wire, things, requests, answers))
    while True:
        try:
            number, *request = wire.receive(requests)
        except wire.WireError:                              # the judge has what it wanted
            return
        answer: Any
        try:
            answer = (number, True, things.answer(request))
        except BaseException as error:                      # SystemExit too: the code asked for it, we did not
            answer = (number, False, explain(error, work))
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        try:
            frame = wire.pack(answer)
        except Exception as error:                          # too large, or no text
            frame = wire.pack((number, False, f"what came out cannot be read: {error}"))
        wire.send(answers, frame)


def inside(requests: int, answers: int, work: Path, limits: dict[str, Any], own_world: bool) -> None:
    """Shut in, then serve."""
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)             # type: ignore[union-attr]
    walls = sandbox.restrict(work, own_world=own_world, **limits)
    sys.path[:0] = [str(work), str(work / "chapters")]
    for path in (work, Path(os.__file__).parent):           # if not, the student is not to blame
        if not os.access(path, os.R_OK):
            raise SystemExit(f"{path} cannot be read by the user that the code runs as: grade as one who is not root, "
                             "or with a Python that does not lie in root's home")
    os.chdir(work)
    wire.send(answers, wire.pack((0, True, walls)))
    serve(requests, answers, work)


def nursed(line: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork whenever the judge asks for it: returns in every new process, with what it is for; None at the end."""
    while True:
        order, fds, _, _ = socket.recv_fds(line, 1 << 16, 5)
        while order and not order.endswith(b"\n"):
            order += line.recv(1 << 16)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:            # those that have ended
                pass
        if not order:
            return None
        try:
            child = os.fork()
        except OSError as error:
            line.send(f"no process: {error.strerror}".encode())
            child = -1
        if child == 0:
            line.close()                                    # what a student's code could ask for more with
            return json.loads(order), fds
        for fd in fds:
            os.close(fd)
        if child > 0:
            line.send(str(child).encode())


def main() -> None:
    """Two processes for each that is asked for."""
    sandbox.prepare()
    order = nursed(socket.socket(fileno=int(sys.argv[1])))
    if order is None:
        return
    os.setsid()
    requests, answers, lease, how, say = order[1]
    work, limits = Path(order[0]["work"]), order[0]["limits"]
    os.dup2(how, 1)
    os.dup2(say, 2)
    os.close(how)
    os.close(say)
    os.environ["HOME"] = os.environ["TMPDIR"] = str(work)
    watch.gather_orphans()
    own_world = "own world" not in limits["without"] and worlds.enter()
    child = os.fork()
    if child == 0:
        os.close(lease)
        inside(requests, answers, work, limits, own_world)
        return
    os.close(requests)
    os.close(answers)
    print(watch.until_the_end(child, lease, limits["megabytes"], limits["user"]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
