"""Hostile submissions, for test_hostile.py: code that does what it should not, and crafted folders and zips."""

import os
import stat
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

from conftest import ROOT

from minivae.coursework.report import PROMISES

ANOTHER = "of another form|was returned"                # what is said of an answer that is none
_, READ, WRITE, STAY, TOUCH, CALL = PROMISES           # in the order of the report

# name: (what it breaks if it succeeds, where the code stands, the code, what the report says)
ATTACKS = {
    "an endless loop": (None, "linear", "while True: pass", "stopped after"),
    "sleeps for ever when imported": (None, "module", "import time; time.sleep(1e6)", "stopped after"),
    "ends the process": (None, "linear", "import os; os._exit(0)", r"ended its process \(exit code 0\)"),
    "asks Python to end": (None, "module", "raise SystemExit", "SystemExit"),
    "a null pointer": (None, "linear", "import ctypes; ctypes.string_at(0)", "ended its process"),
    "prints a better report": (None, "linear", "print('{\"tests\": [{\"score\": 54, \"max_score\": 54}]}')",
                               ANOTHER),
    "patches the checker": (None, "linear", """
        import sys, numpy
        numpy.allclose = numpy.array_equal = lambda *a, **k: True
        numpy.linalg.norm = lambda *a, **k: 0.0
        sys.modules["things"].Things.answer = lambda self, request: True
        return x, lambda dy: (x, W, b)""", ANOTHER),
    "one number that is all numbers": (None, "module", """
        class Equal(float):
            __eq__ = __le__ = __ge__ = lambda self, other: True
            __hash__ = float.__hash__
        linear = lambda x, W, b: (x, lambda dy: (Equal(1.0),) * 3)""", r"it has shape \(\), should be"),
    "numbers whose squares are infinite": (None, "module", """
        linear = lambda x, W, b: (x, lambda dy: (1e200 + 0 * x, 1e200 + 0 * W, 1e200 + 0 * b))""", "dx: "),
    "an array that lies": (None, "module", """
        class Evil(np.ndarray):
            def __array__(self, *a, **k): raise SystemExit
            def __array_function__(self, *a, **k): raise SystemExit
            def tobytes(self, *a): return b"evil"
        linear = lambda x, W, b: (x, lambda dy: (np.ones(x.shape).view(Evil),) * 3)""", "."),
    "something to unpickle": (None, "module", """
        class Evil:
            def __reduce__(self): return __import__("os").system, ("touch /tmp/TOKEN",)
        linear = lambda x, W, b: (x, lambda dy: (Evil(), Evil(), Evil()))""", "dx: it is a Evil, expected an array"),
    "an array of objects": (None, "module", """
        linear = lambda x, W, b: (x, lambda dy: (np.array([print] * 3),) * 3)""", "dx: it is a array of object"),
    "junk on the pipe": (None, "linear", "say(b'\\xff' * 4096)", "junk on the line"),
    "a frame of 8 GB": (None, "linear", "say(struct.pack('<II', 2 ** 32 - 1, 2 ** 32 - 1))", "junk on the line"),
    "an array of 10¹² numbers": (None, "linear", "frame(b'{\"array\": [\"<f8\", [1000000, 1000000]]}')", "junk on the"),
    "lists in lists in lists": (None, "linear", "frame(b'[' * 10 ** 6)", "junk on the line"),
    "an answer nobody asked for": (None, "linear", "say(sys.modules['wire'].pack((7, True, x)))", "was not asked"),
    "an answer byte by byte": (None, "linear", """
        for byte in struct.pack("<II", 1000, 0) + b" " * 1000:
            say(bytes([byte])); time.sleep(0.2)""", "stopped after"),
    "a handle of nothing": (None, "linear", """
        sys.modules["things"].Things.out = lambda self, x: sys.modules["wire"].Handle(10 ** 9)""", ANOTHER),
    "closes every file": (None, "linear", "import os; os.closerange(0, 64)", "ended its process"),
    "an error without words": (None, "linear", """
        class Evil(Exception):
            def __str__(self): raise SystemExit
        raise Evil""", "Evil, which cannot be printed"),
    "an error that clears the screen": (None, "linear", r"""
        raise ValueError('\x1b[2J\r\u202e54 of 54 points\ud800')""", "ValueError: .*54 of"),
    "a trace that sleeps": (None, "linear", """
        sys.settrace(lambda *a: time.sleep(9))
        (lambda: 1)()""", "stopped after"),
    "an array of 20 GB": (None, "linear", "np.ones((20 << 30) // 8)", "out of memory"),
    "memory bit by bit": (None, "linear", """
        kept = []
        while True: kept.append(bytearray(10 ** 7))""", "out of memory|stopped after"),
    "memory that no limit counts": (STAY, "linear", """
        import os
        for i in range(64):
            os.write(os.memfd_create("TOKEN"), b"x" * 60000)""", "PermissionError|OSError"),
    "a thousand threads": (None, "linear", """
        import threading
        while True: threading.Thread(target=time.sleep, args=(1e6,)).start()""", "can't start new thread"),
    "a gigabyte of output": (None, "linear", "for i in range(1000): print('x' * 10 ** 6)", f"{ANOTHER}|stopped"),
    "output past Python": (None, "linear", "while True: os.write(2, b'x' * 10 ** 6)", "stopped after"),
    "a fork bomb": (STAY, "linear", "while True: os.fork()", "Error|stopped|ended"),
    "children in sessions of their own": (STAY, "linear", """
        if os.fork() == 0:
            os.setsid()
            while os.fork() == 0:
                time.sleep(0.01); os.setsid()
            time.sleep(1e6)""", f"Error|{ANOTHER}|stopped|ended"),
    "asks for more processes": (None, "linear", """
        import stat
        found = []
        for fd in range(256):
            try: found += [fd] if stat.S_ISSOCK(os.fstat(fd).st_mode) else []
            except OSError: pass
        raise ValueError(f"the nursery's line: {found}")""", r"the nursery's line: \[\]"),
    "another program": (STAY, "linear", "os.execv('/bin/sh', ['sh', '-c', 'sleep 1000 & sleep 1000'])", "Error"),
    "signals to everybody": (TOUCH, "linear", """
        for pid in (-1, 0, os.getppid(), JUDGE):
            try: os.kill(pid, 9)
            except OSError: pass
        try: os.killpg(0, 9)
        except OSError: pass""", f"{ANOTHER}|ended"),
    "limits for the judge": (TOUCH, "linear", """
        import resource
        resource.prlimit(JUDGE, resource.RLIMIT_CPU, (1, 1))""", "Error"),
    "writes where it can": (WRITE, "linear", """
        wrote = []
        for folder in (".", "/tmp", "/var/tmp", "/dev/shm", "/autograder/results", os.path.dirname(np.__file__)):
            for do in (lambda p: open(p, "w").close(), os.mkdir, lambda p: os.symlink("/", p), os.mkfifo):
                try: do(folder + "/TOKEN"); wrote.append(folder)
                except OSError: pass
        raise ValueError(f"wrote {wrote}")""", r"ValueError: wrote \[\]"),
    "fills the disk": (WRITE, "linear", """
        for fd in range(3):
            try: os.posix_fallocate(fd, 0, 10 ** 10)
            except OSError: pass
        with open("TOKEN", "wb") as file:
            while True: file.write(bytes(10 ** 7))""", "OSError|PermissionError"),
    "a million files": (WRITE, "linear", "for i in range(10 ** 6): open(f'TOKEN{i}', 'w').close()", "Error"),
    "changes its own files": (WRITE, "linear", "os.chmod(__file__, 0o777); open(__file__, 'a').write('#')", "Error"),
    "reads the judge's files": (READ, "linear", """
        read = []
        for path in (ASSIGNMENT + "/hidden.py", SOLUTION, "/autograder/source/seed", "/etc/passwd", "/proc/1/environ",
                     f"/proc/{JUDGE}/cmdline", f"/proc/{JUDGE}/mem", f"/proc/{JUDGE}/fd"):
            try: os.listdir(path) if path.endswith("fd") else open(path).read(1); read.append(path)
            except OSError: pass
        read += [p for p in sys.path if os.path.exists(p + "/minivae") and p != os.getcwd()]
        raise ValueError(f"read {read}")""", r"ValueError: read \[\]"),
    "asks the judge for the answer": (None, "linear", """
        import judges_parts
        return judges_parts.ask("minivae/ops/dense.py:linear", (x, W, b), {})""", "this is not offered"),
    "asks the judge for a program": (None, "linear", """
        import judges_parts
        return judges_parts.ask("os:system", ("touch /tmp/TOKEN",), {})""", "this is not offered"),
    "asks the judge for ever": (None, "linear", """
        import judges_parts
        while True:
            try: judges_parts.ask(0, [x], {})
            except judges_parts.PartError: pass""", "stopped after"),
    "asks the judge something else": (None, "linear", """
        wire = sys.modules["wire"]
        for question in (("ask",) * 4, ("ask", {"a": 1}, 3, None), ("ask", -1, None, None),
                         ("ask", 0, [[[x]] * 9] * 9, {"a": wire.Name("os:_exit")}),
                         ("ask", "minivae/ops/dense.py:linear", [], {"self": 1})):
            say(wire.pack(question))
        return x, x""", "."),
    "calls home": (CALL, "linear", """
        import socket
        socket.create_connection(('127.0.0.1', PORT), 1).send(b'!')""", "Error"),
}
TOOLS = """
import os, struct, sys, time
def say(content):
    for fd in range(3, 64):
        try: os.write(fd, content)
        except OSError: pass
def frame(head): say(struct.pack("<II", len(head), 0) + head)
"""

# their points are earned, but they will not go
RIGHT_BUT = {
    "sleeps when it is thrown away": """
        class Evil:
            def __init__(self, pull): self.pull = pull
            def __call__(self, dy): return self.pull(dy)
            def __del__(self): time.sleep(1e6)
        right, kept = linear, []
        def linear(x, W, b):
            y, pull = right(x, W, b)
            return y, Evil(pull)
        import atexit; atexit.register(time.sleep, 1e6)""",
    "a thread that never ends, deaf to signals": """
        import ctypes, signal, threading
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        try: os.setsid()
        except OSError: pass
        getattr(ctypes.CDLL(None), "prctl", print)(1, 0, 0, 0, 0)
        def burn():
            while True: pass
        threading.Thread(target=burn).start()""",
    "prints a megabyte for every call": """
        right = linear
        def linear(x, W, b):
            print("x" * 10 ** 6)
            return right(x, W, b)""",
}


def zip_of(path: Path, *entries: tuple[str, bytes]) -> Path:
    """A zip with these entries, whatever they are called."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")                # of names that come twice
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name) if content else name, content)
    return path


def symbolic_link(folder: Path) -> Path:
    (folder / "minivae" / "ops").mkdir(parents=True)
    (folder / "minivae" / "ops" / "dense.py").symlink_to(ROOT / "minivae" / "ops" / "dense.py")
    return folder


def link_to_a_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "minivae").symlink_to(ROOT / "minivae")
    return folder


def pipe(folder: Path) -> Path:
    (folder / "minivae" / "ops").mkdir(parents=True)
    os.mkfifo(folder / "minivae" / "ops" / "dense.py")
    return folder


def folders_1200_deep(folder: Path) -> Path:
    folder.mkdir()
    home = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    try:
        for _ in range(1200):
            os.mkdir("a")
            os.chdir("a")
    finally:
        os.fchdir(home)
        os.close(home)
    return folder


def many_files(folder: Path) -> Path:
    folder.mkdir()
    for i in range(10_001):
        (folder / str(i)).touch()
    return folder


def zip_with_link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("minivae/ops/dense.py")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, str(ROOT / "minivae" / "ops" / "dense.py"))
    return path


def bomb(path: Path) -> Path:
    """10 GB of newlines in 10 MB: a thousand times the same piece of a deflated stream."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = deflate.compress(b"\n" * 10_000_000) + deflate.flush(zlib.Z_FULL_FLUSH)
    body = piece * 1000 + b"\x03\x00"
    name, size = b"minivae/ops/dense.py", 2 ** 32 - 1
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 33, 0, len(body), size, len(name), 0) + name
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 33, 0, len(body), size, len(name), 0, 0, 0,
                        0, 0, 0) + name
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local) + len(body), 0)
    path.write_bytes(local + body + entry + end)
    return path


def packed_with(method: int):
    def make(path: Path) -> Path:
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("minivae/ops/dense.py", b"\n" * 50_000_000)
        return path
    return make


def encrypted(path: Path) -> Path:
    content = bytearray(zip_of(path, ("minivae/ops/dense.py", b"x = 1")).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    return path


def endless_contents(path: Path) -> Path:
    """A table of contents of 100,000 entries, all the same."""
    one = zip_of(path, ("minivae/ops/dense.py", b"x = 1")).read_bytes()
    at = one.index(b"PK\1\2")
    entry = one[at:one.index(b"PK\5\6")]
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 65535, 65535, 100_000 * len(entry), at, 0)
    path.write_bytes(one[:at] + entry * 100_000 + end)
    return path


DENSE = "minivae/ops/dense.py"
HANDED_IN = {
    "a symbolic link": (symbolic_link, "minivae/ops/dense.py cannot be read"),
    "a link to a folder": (link_to_a_folder, f"{DENSE} was not handed in"),
    "a pipe": (pipe, "minivae/ops/dense.py is no plain file"),
    "folders 1200 deep": (folders_1200_deep, f"{DENSE} was not handed in"),
    "ten thousand files": (many_files, "more than 10,000 files"),
    "a path upwards": (lambda p: zip_of(p, ("../../minivae/ops/dense.py", b"x = 1")), f"{DENSE} was not handed in"),
    "an absolute path": (lambda p: zip_of(p, ("/tmp/minivae/ops/dense.py", b"x = 1")), f"{DENSE} was not handed in"),
    "a name in capitals": (lambda p: zip_of(p, ("MINIVAE/OPS/DENSE.PY", b"x = (")), "taken from MINIVAE/OPS/DENSE.PY"),
    "a name that ends early": (lambda p: zip_of(p, ("minivae/ops/dense.py\0.txt", b"x = (")), "SyntaxError"),
    "a name twice": (lambda p: zip_of(p, (DENSE, b"x = ("), (DENSE, b"y = (")), "SyntaxError"),
    "a name with a bell in it": (lambda p: zip_of(p, ("\a\x1b[2J/minivae/ops/dense.py", b"x = (")), "taken from"),
    "a link in a zip": (zip_with_link, "minivae/ops/dense.py is no plain file"),
    "10 GB in 10 MB": (bomb, "minivae/ops/dense.py is longer than 1,048,576 bytes"),
    "another kind of bomb": (packed_with(zipfile.ZIP_BZIP2), "is packed in a way that is not read"),
    "and another": (packed_with(zipfile.ZIP_LZMA), "is packed in a way that is not read"),
    "an encrypted file": (encrypted, "minivae/ops/dense.py is encrypted"),
    "100,000 entries": (endless_contents, "not a zip that can be read|a zip of 100,000 entries"),
    "NUL bytes": (lambda p: zip_of(p, (DENSE, b"x = 1\0")), "has NUL bytes in it"),
    "another alphabet": (lambda p: zip_of(p, (DENSE, "x = 'é'".encode("latin-1"))), "is no text in UTF-8"),
    "no zip": (lambda p: p.write_bytes(b"PK\3\4" + b"x" * 1000) and p, f"{DENSE} was not handed in"),
    "half a zip": (lambda p: p.write_bytes(zip_of(p, (DENSE, b"x" * 1000)).read_bytes()[40:]) and p,
                   "not a zip that can be read|cannot be unpacked|minivae/ops/dense.py was not handed in"),
}
