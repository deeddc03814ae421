"""The parts of the coursework, each alone: wire, filter of system calls, submissions, reports, cuts, diagnoses."""

import csv
import io
import json
import math
import os
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from minivae.coursework import cut, nursery, student, wire
from minivae.coursework import report as r
from minivae.coursework.cli import number
from minivae.coursework.diagnose import Context, diagnose, same
from minivae.coursework.grade import free_user
from minivae.coursework.seccomp import ALLOW, ERRNO, KILL, MACHINES, program
from minivae.coursework.testing import FormError, compare, returned
from minivae.coursework.wire import Handle, Name, Seed, Strange, WireError
from minivae.coursework.working_tree import laid_out

# ── the wire ──────────────────────────────────────────────────────────────────────────────────


def across(thing):
    """The same thing on the other side."""
    frame = wire.pack(thing)
    head, body = struct.unpack("<II", frame[:8])
    assert len(frame) == 8 + head + body
    return wire.unpack(frame[8:8 + head], frame[8 + head:])


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i4", "i8", "u8", "f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 5), (2, 3, 4)])
def test_arrays_cross_bit_by_bit(dtype, shape):
    x = (100 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)
    back = across({"x": [x, (x, 1)]})["x"][1][0]
    assert back.shape == x.shape
    assert back.dtype == x.dtype.newbyteorder("<")
    assert back.flags.writeable
    np.testing.assert_array_equal(back, x)


def test_arrays_cross_however_they_lie_in_memory():
    x = np.arange(24.0).reshape(4, 6)
    for y in (x.T, x[::2, ::-1], np.asfortranarray(x), np.broadcast_to(x[0], (3, 6)), x.view(np.matrix)):
        np.testing.assert_array_equal(across(y), np.asarray(y))


def test_everything_else_crosses():
    things = [None, True, False, 0, -2 ** 62, "é\n", [], (), {}, [1, (2, [3])], {"a": {"b": 1}}, Seed(3), Name("a:b"),
              Handle(7, "function"), 0.1, -0.0, 5e-324, math.inf]
    for thing in things:
        back = across(thing)
        assert back == thing
        assert type(back) is type(thing)
    assert math.isnan(across(math.nan))
    assert across({1, 2}) == Strange("set")
    assert across(np.array([print])) == Strange("array of object")
    assert across(np.longdouble(0.5)) == 0.5
    assert "\ud800" not in across("\ud800")             # half a character can be written nowhere


@pytest.mark.parametrize("thing", [np.zeros(wire.ENTRIES + 1, dtype=bool), np.zeros((1,) * 9), "x" * (wire.HEAD + 1)])
def test_what_is_too_large_does_not_cross(thing):
    with pytest.raises(WireError):
        wire.pack(thing)


JUNK = [
    (b"", b""), (b"x", b""), (b"\xff", b""), (b"1", b""), (b"[]", b""), (b"{}", b""), (b"null", b""), (b'"plain"', b""),
    (b"[" * 10 ** 6, b""), (b'{"list": [' * 10 ** 5, b""), (b'{"list": [' * 30 + b'{"plain": 1}' + b"]}" * 30, b""),
    (b'{"plain": NaN}', b""), (b'{"plain": 1.5}', b""), (b'{"plain": []}', b""), (b'{"plain": {"a": 1}}', b""),
    (b'{"plain": ' + b"9" * 100 + b"}", b""), (b'{"plain": ' + b"9" * 5000 + b"}", b""), (b'{"float": "x"}', b""),
    (b'{"float": 1}', b""), (b'{"Seed": 1e3}', b""), (b'{"Seed": true}', b""), (b'{"Name": 3}', b""),
    (b'{"Handle": "x"}', b""), (b'{"Handle": [1, 2]}', b""), (b'{"dict": 3}', b""), (b'{"evil": 1}', b""),
    (b'{"dict": [[[], {"plain": 1}]]}', b""), (b'{"plain": 1, "float": "0"}', b""), (b'{"plain": 1}', b"left over"),
    (b'{"array": 3}', b""), (b'{"array": ["<f8"]}', b""), (b'{"array": ["<f8", 3]}', b""),
    (b'{"array": ["|O", [1]]}', b""), (b'{"array": ["<f8", [2]]}', b"12345678"), (b'{"array": ["<f8", [-1]]}', b""),
    (b'{"array": ["<f8", [-1, -1]]}', b"x" * 8), (b'{"array": ["<f8", [1000000, 1000000]]}', b""),
    (b'{"array": ["<f8", [4611686018427387904, 8]]}', b""), (b'{"array": ["<f8", [0, 99999999999999999999]]}', b""),
    (b'{"array": ["<f8", [' + b"2," * 10 ** 5 + b"1]]}", b""), (b'{"array": ["<f16", [1]]}', b"x" * 16),
    (b'{"array": ["V8", [1]]}', b"x" * 8), (b'{"array": ["<U1", [1]]}', b"x" * 4),
    (b'{"list": [{"array": ["<f8", [1]]}, {"array": ["<f8", [1]]}]}', b"x" * 8),
]


@pytest.mark.parametrize("number", range(len(JUNK)))
def test_junk_is_refused(number):
    with pytest.raises(WireError):
        wire.unpack(*JUNK[number])


def test_random_junk_is_refused_or_is_something_plain():
    """A frame with one byte changed either cannot be read, or is made of what may cross."""
    rng = np.random.default_rng(0)
    frame = wire.pack((1, True, {"dW": np.arange(6.0).reshape(2, 3), "pull": Handle(3, "function"), "y": [1.5, None]}))
    head = int.from_bytes(frame[:4], "little")
    for _ in range(3000):
        changed = bytearray(frame)
        changed[rng.integers(8, len(frame))] = rng.integers(256)
        try:
            thing = wire.unpack(bytes(changed[8:8 + head]), bytes(changed[8 + head:]))
        except WireError:
            continue
        wire.pack(thing)


# ── the filter of system calls ────────────────────────────────────────────────────────────────


def run_filter(machine, call, arguments=(), architecture=None):
    """What the filter says: the little machine in the kernel, in Python."""
    column, audit = MACHINES[machine]
    data = struct.pack("<IIQ6Q", call, audit if architecture is None else architecture, 0,
                       *[*arguments, *[0] * 6][:6])
    code, at, value = program(column, audit), 0, 0
    while True:
        what, yes, no, k = code[at]
        if what == 0x06:
            return k
        if what == 0x20:
            value = int.from_bytes(data[k:k + 4], "little")
        else:
            holds = {0x15: value == k, 0x45: value & k != 0, 0x35: value >= k}[what]
            at += yes if holds else no
        at += 1


CALLS = [                              # x86-64, ARM, arguments, what comes
    (0, 63, (), ALLOW), (1, 64, (), ALLOW), (9, 222, (), ALLOW),                          # read, write, mmap
    (57, None, (), 1), (59, 221, (), 1), (435, 435, (), 38), (41, 198, (), 1),           # fork, execve, clone3, socket
    (56, 220, (0x3D0F00,), ALLOW), (56, 220, (17,), 1),                                  # clone: a thread, a process
    (2, None, (0, 0o100000), ALLOW), (2, None, (0, 1), 30), (2, None, (0, 0o100), 30),   # open
    (257, 56, (0, 0, 0o2000000), ALLOW), (257, 56, (0, 0, 2), 30), (257, 56, (0, 0, 0o1000), 30),         # openat
    (62, 129, (1, 9), 1), (234, 131, (1, 1, 9), 1), (302, 261, (0, 7), ALLOW), (302, 261, (1, 7), 1),
    (157, 167, (1, 9), 1), (157, 167, (38, 1), ALLOW), (72, 25, (3, 1), ALLOW), (72, 25, (3, 8, 1), 1),   # prctl, fcntl
    (72, 25, (3, 10, 9), 1), (72, 25, (3, 15, 0), 1), (87, None, (), 30), (263, 35, (), 30), (319, 279, (), 1),
    (463, 463, (), 38), (0x40000001, 0x40000001, (), 38), (0xFFFFFFFF, 0xFFFFFFFF, (), 38),
]


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_refuses_what_it_should_and_nothing_else(machine):
    for *calls, arguments, comes in CALLS:
        call = calls[MACHINES[machine][0]]
        if call is not None:
            says = run_filter(machine, call, arguments)
            assert says == (ALLOW if comes == ALLOW else ERRNO | comes), (call, arguments)
    assert run_filter(machine, 0, architecture=0x40000003) == KILL                   # 32-bit numbers mean other calls


def test_the_numbers_of_the_calls_are_those_of_the_kernels_headers():
    headers = [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")]
    if not all(path.exists() for path in headers):
        pytest.skip("the kernel's headers are not installed (linux-libc-dev)")
    known = [dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text(encoding="utf-8")))
             for path in headers]
    source = (ROOT / "minivae" / "coursework" / "seccomp.py").read_text(encoding="utf-8")
    tables = " ".join(re.findall(r'_table\("(?:"")?(.*?)"', source, re.DOTALL)).split()
    assert len(tables) > 200
    for name, *numbers in zip(tables[::3], tables[1::3], tables[2::3]):
        for call, names in zip(numbers, known):
            if name in names or call == "-":           # the headers may be older than a call
                assert names.get(name, "-") == call, name


# ── submissions ───────────────────────────────────────────────────────────────────────────────

def test_the_working_tree_is_the_starter_with_the_files_and_without_the_answers(tmp_path):
    for name in ("minivae/ops.py", "minivae/layers.py", "minivae/coursework/wire.py", "answers.bin", "visible.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("starter", encoding="utf-8")
    with laid_out(tmp_path, {"minivae/ops.py": b"theirs"}) as work:
        there = {str(path.relative_to(work)): path.read_bytes() for path in work.rglob("*.py")}
        compiled = {path.name.partition(".")[0] for path in work.rglob("*.pyc")}
        assert compiled == {"layers"}, "once, and nothing of theirs"
        assert there == {"minivae/ops.py": b"theirs", "minivae/layers.py": b"starter"}
    assert not work.exists()


# ── reports ───────────────────────────────────────────────────────────────────────────────────

RIGHT = r.Result("a", "1.1", "one", 2.0, 2.0, False, "", "hello")
WRONG = r.Result("b", "1.2", "two", 0.0, 3.0, True, "dx: its sign is wrong\nsecond line", "the hidden input")
REPORT = r.Report("zoe.zip", "a1", 3, [RIGHT], [WRONG], ["a note"], list(r.WALLS), 1.25)


def test_the_table_says_what_passed_and_why_not():
    text = r.table([r.Report("zoe.zip", "a1", 3, [RIGHT, WRONG], [], ["a\nnote"], ["limits"])])
    assert "ok      2/2    1.1   one\n" in text
    assert "FAIL    0/3    1.2   two  (hidden)\n" + " " * 18 + "dx: its sign is wrong\n" in text
    assert "2 of 5 points" in text
    assert "note: a note\n" in text
    assert "NOT promised here: hidden tests and solution cannot be read" in text


def test_gradescope_gets_every_test_even_those_to_come():
    found = json.loads(r.gradescope(REPORT))
    assert [(test["score"], test["max_score"], test["visibility"]) for test in found["tests"]] == [
        (2.0, 2.0, "visible"), (0.0, 3.0, "after_published")]
    assert "hello" in found["tests"][0]["output"]
    assert "the hidden input" not in found["tests"][1]["output"]
    assert found["output"] == "a note"                 # which students see: not which walls are missing
    assert found["execution_time"] == 1.25
    assert found["stdout_visibility"] == "hidden"


def test_csv_and_json_hold_the_same():
    rows = list(csv.reader(io.StringIO(r.as_csv([r.Report("z", "a1", 3, [RIGHT, WRONG])], ["1.1", "1.2"]))))
    assert rows == [["submission", "student", "id", "points", "of", "1.1", "1.2", "notes"],
                    ["z", "", "", "2", "5", "2", "0", ""]]
    found = json.loads(r.as_json([REPORT]))[0]
    assert (found["points"], found["of"], found["walls"]) == (2.0, 5.0, list(r.WALLS))
    assert [result["passed"] for result in found["results"]] == [True]


def test_what_is_promised_follows_from_the_walls():
    assert r.standing(r.WALLS) == "walls: " + ", ".join(r.WALLS)
    for wall in r.WALLS:                                 # no promise hangs on one wall alone, but that of memory
        rest = [other for other in r.WALLS if other != wall]
        assert ("NOT promised" in r.standing(rest)) == (wall == "limits")
    assert all(promise in r.standing([]) for promise in r.PROMISES)


def test_text_of_students_does_nothing_to_a_screen():
    assert r.plain("a\x1b[2J\tb\r\n\u202ec\ud800\x00é∂") == "a\ufffd[2J b \n\ufffdc\ufffd\ufffdé∂"


def test_root_becomes_somebody_that_nobody_is():
    user = free_user()
    assert (user is None) == (sys.platform == "win32" or os.getuid() != 0)
    assert user is None or user > 1000


# ── the judge's own troubles ──────────────────────────────────────────────────────────────────


def test_a_process_that_cannot_start_is_nobodys_fault(tmp_path, monkeypatch):
    nursery.close()
    monkeypatch.setattr(nursery, "PROCESS", tmp_path / "nothing.py")
    with pytest.raises(student.JudgeError, match="did not start"):
        student.Student(tmp_path)


def test_a_test_that_asks_for_too_much_is_not_the_students_fault(tmp_path):
    with student.Student(tmp_path, student.Limits()) as one:
        with pytest.raises(WireError, match="too large to cross"):
            one.call("numpy:sum", np.zeros(wire.ENTRIES + 1))
        assert one.call("numpy:sum", np.ones(3)) == 3.0
        with pytest.raises(student.StudentError, match="No module named 'minivae'"):
            one.call("minivae.ops:linear", 1.0)
    assert not one.alive
    with pytest.raises(student.StudentError, match="has ended"):
        one.call("numpy:sum", np.ones(3))


def test_what_is_printed_belongs_to_one_test(tmp_path):
    (tmp_path / "loud.py").write_text("def f(x):\n    print(x, end='')\n    return x\n", encoding="utf-8")
    with student.Student(tmp_path, student.Limits()) as one:
        one.call("loud:f", "first " * 10_000)
        assert one.printed() == ("first " * 1000)[:2000]
        one.begin()
        one.call("loud:f", "second")
        assert one.printed() == "second"


def test_a_seed_may_be_in_a_file(tmp_path):
    (tmp_path / "seed").write_text("secret\n", encoding="utf-8")
    assert number(f"@{tmp_path / 'seed'}") == number("secret") != number("public")
    assert number("12") == 12


# ── cuts ──────────────────────────────────────────────────────────────────────────────────────

SOURCE = '''import numpy as np
from minivae.ops.kernels import fast, slow


@fast
def f(x,                      # ∂f/∂x = 2x
      y):
    """A square."""
    if slow(x):
        return x
    def pullback(dy):
        # the derivative of x² is 2x
        return 2 * x * dy
    return x * x, pullback    # the value


def g(x): return x
'''


def test_a_blank_keeps_the_signature_and_the_docstring_and_nothing_else():
    text = cut.blank(SOURCE, "f", "Task 1: f")
    assert '"""A square."""\n    raise NotImplementedError("Task 1: f")\n\n\ndef g' in text
    assert "∂f/∂x" not in text
    inner = cut.blank(SOURCE, "f.pullback", "Task 1")
    assert "2 * x" not in inner
    assert "2x" not in inner.partition("def pullback")[2]
    assert "return x * x, pullback    # the value" in inner


@pytest.mark.parametrize(("name", "says"), [("h", "no function 'h'"), ("f.h", "'h' is not there"),
                                            ("g", "written on one line")])
def test_what_cannot_be_cut_is_an_error(name, says):
    with pytest.raises(cut.CutError, match=says):
        cut.blank(SOURCE, name, "Task")


def test_modules_that_are_left_out_go_with_all_that_needs_them():
    text = cut.without(SOURCE, {"minivae.ops.kernels"})
    assert "fast" not in text
    assert "slow" not in text
    compile(text, "text", "exec")
    with pytest.raises(cut.CutError, match="slow"):
        cut.without(SOURCE + "print(slow(3))\n", {"minivae.ops.kernels"})


def test_a_piece_of_a_chapter_runs_alone():
    names = {}
    exec(cut.only("import os\ndef a(x):\n    return np.sum(x)\ndef b(): pass\n", ["a"]), names)
    assert names["a"]([1, 2]) == 3
    assert "b" not in names


def test_an_answer_that_stands_elsewhere_is_found_however_it_is_laid_out():
    import ast
    answer = "def f(x, dy):\n    return dy * np.exp(x) / (1.0 + np.exp(x)) ** 2 - dy * x\n"
    answers = set(cut.statements(ast.parse(answer)))
    assert answers
    elsewhere = "def g(x, dy):\n    if x:\n        return (dy*np.exp(x)/(1.0+np.exp(x))**2\n                - dy*x)\n"
    assert cut.leaks(elsewhere, answers)
    assert cut.leaks(elsewhere.replace("1.0", "3.0"), answers) == []


# ── diagnoses ─────────────────────────────────────────────────────────────────────────────────

RNG = np.random.default_rng(0)
WANT, TERM = RNG.standard_normal((2, 4, 3))
FACTOR = 1.0 + RNG.random((4, 3))
CONTEXT = Context(terms={"the value": WANT - TERM, "the variance": TERM}, factors={"σ": FACTOR},
                  sizes={"the batch size B": 8.0}, instead={"the slope": WANT + 7.0})
MISTAKES = {
    "nothing was returned": None, "it is a str, expected an array": "x",
    "it is a function, expected": Handle(1, "function"),
    "1 of its 12 entries are NaN": np.where(WANT[2, 1] == WANT, np.nan, WANT),
    "its sign is wrong": -WANT, "twice the right one": 2 * WANT, "half the right one": WANT / 2,
    "8 times the right one, and that is the batch size B: a division by it is missing": 8 * WANT,
    "divided by 8, and that is the batch size B": WANT / 8, "it is the transpose": WANT.T, "all zero": 0 * WANT,
    "the factor σ is missing": WANT / FACTOR, "a factor σ too many": WANT * FACTOR, "it is the slope": WANT + 7,
    "the term from the variance is missing": WANT - TERM,
    "the term from the variance has the wrong sign": WANT - 2 * TERM,
    "in the term from the variance the factor σ is missing": WANT - TERM + TERM / FACTOR,
    r"the sum over the batch \(axis 0\) is missing": np.stack([WANT / 2, WANT / 2]),
    "it is summed over axis 1": WANT.sum(axis=1), r"shape \(5,\), should be \(4, 3\)": np.ones(5),
    "3.21 times the right one": 3.21 * WANT, "nearly right": WANT + 1e-3,
    r"all in row \[2\]": WANT + 9 * np.eye(4)[2][:, None],
    "12 of its 12 entries are wrong": WANT + RNG.standard_normal((4, 3)),
}


@pytest.mark.parametrize("says", MISTAKES)
def test_a_mistake_is_named(says):
    found = diagnose(MISTAKES[says], WANT, CONTEXT)
    assert found is not None
    assert re.search(says, found), found


@pytest.mark.parametrize(("answer", "says"), [
    (None, r"nothing was returned, expected 2: dμ, dσ \(is a `return` missing\?\)"), (WANT, "one array was returned"),
    ((WANT,), "1 things were returned, expected 2"), (Handle(1, "function"), "a function was returned"),
    (3.0, "a float was returned")])
def test_what_is_not_of_the_form_asked_for_is_told(answer, says):
    with pytest.raises(FormError, match=says):
        returned(answer, "dμ", "dσ")


def test_results_in_another_order_are_told_and_a_wrong_sign_is_not_taken_for_it():
    want = {"dμ": [WANT, {}], "dσ": [TERM, {}]}
    assert compare({"dμ": [TERM, {}], "dσ": [WANT, {}]}, want) == (
        "dμ: it is what dσ should be (are they returned in another order?)")
    opposite = {"dμ": [WANT, {}], "dσ": [-WANT, {}]}
    assert compare({"dμ": [-WANT, {}], "dσ": [-WANT, {}]}, opposite) == "dμ: its sign is wrong"


@pytest.mark.parametrize("right", [WANT, WANT.astype(np.float32), np.asfortranarray(WANT), WANT + 1e-9])
def test_what_is_right_is_right(right):
    assert diagnose(right, WANT, CONTEXT) is None


def test_something_wrong_in_its_own_way_is_given_no_cause():
    for _ in range(200):
        found = diagnose(RNG.standard_normal((4, 3)), WANT, CONTEXT)
        assert re.fullmatch(r"\d+ of its 12 entries are wrong.*", found), found


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("size", [1e160, 1e200, 1.7e308, -1e300])
def test_numbers_whose_squares_are_infinite_are_not_equal_to_all_others(size):
    assert not same(np.full((4, 3), size), WANT)
    assert not same(WANT, np.full((4, 3), size))
    assert same(np.full((4, 3), size), np.full((4, 3), size))
    assert diagnose(np.full((4, 3), size), WANT, CONTEXT) is not None
