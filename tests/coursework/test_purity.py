"""What a function may not write into: arrays that it was given, and values that were returned before."""

import numpy as np
import pytest

from minivae.coursework import wire
from minivae.coursework.purity import Witness, Written
from minivae.coursework.student import Student, StudentError
from minivae.coursework.things import Things
from minivae.coursework.wire import Name

X, DY = np.random.default_rng(0).standard_normal((2, 4, 3))


def ask(op, pullback):
    """Call an op, and its pullback, as a judge does."""
    things = Things(wire, Witness())
    keep = things.kept
    keep += [op, pullback]
    y = things.answer(("call", wire.Handle(0), [X.copy()], {}))
    return y, [things.answer(("call", wire.Handle(1), [DY.copy()], {})) for _ in range(2)]


def test_what_writes_only_into_its_own_is_left_alone():
    def pullback(dy):
        dx = dy.copy()
        dx *= 2.0
        return dx, dy

    y, (first, second) = ask(lambda x: 2.0 * x, pullback)
    np.testing.assert_array_equal(y, 2.0 * X)
    np.testing.assert_array_equal(first[0], second[0])


def test_a_cotangent_that_is_written_into_is_named():
    def pullback(dy):
        dy *= 2.0
        return dy

    with pytest.raises(Written, match=r"pullback of .* writes into dy, which it was given .* dy\.copy\(\)"):
        ask(np.abs, pullback)


def test_a_nan_is_no_change_and_a_sign_of_zero_is():
    def negate(x):
        np.negative(x, out=x)

    things = Things(wire, Witness())
    things.kept += [np.isnan, negate]
    things.answer(("call", wire.Handle(0), [np.array([np.nan])], {}))
    with pytest.raises(Written, match=r"the negate of .* writes into x"):
        things.answer(("call", wire.Handle(1), [np.zeros(2)], {}))


SOURCE = """
import numpy as np

def saved(x):
    def pullback(dy):
        x[...] = 0.0
        return dy
    return x + 1.0, pullback

def square(x, *, noise):
    y = x * x
    def pullback(dy):
        y[0] = 0.0
        return dy
    noise["a"][0] += 1.0
    return y, pullback
"""


def test_it_is_told_in_the_students_process_and_only_the_call_that_did_it_is_blamed(tmp_path):
    (tmp_path / "theirs.py").write_text(SOURCE, encoding="utf-8")
    with Student(tmp_path) as student:
        _, pull = student.call("theirs:saved", X)
        with pytest.raises(StudentError, match=r"^the pullback of saved writes into x, which it was given"):
            student.call(pull, DY)
        np.testing.assert_array_equal(student.call(pull, DY), DY)
        with pytest.raises(StudentError, match="square writes into noise"):
            student.call("theirs:square", X, noise={"a": np.zeros(3)})
        assert student.call("numpy:sum", np.ones(3)) == 3.0
        with pytest.raises(StudentError, match="shuffle writes into"):
            student.call("theirs:np.random.shuffle", np.arange(20.0))


def test_a_value_that_changes_after_it_was_returned_is_told(tmp_path):
    (tmp_path / "theirs.py").write_text(SOURCE.replace('    noise["a"][0] += 1.0\n', ""), encoding="utf-8")
    with Student(tmp_path) as student:
        _, pull = student.call("theirs:square", X, noise=None)
        with pytest.raises(StudentError, match="the pullback of square writes into a value that was returned before"):
            student.call(pull, DY)


def test_a_thing_that_is_asked_for_may_change():
    things = Things(wire, Witness())
    box = things.out(types_of({"w": np.zeros(3)}))
    np.testing.assert_array_equal(things.answer(("get", box, "w")), np.zeros(3))
    things.answer(("set", box, "w", np.ones(3)))
    np.testing.assert_array_equal(things.answer(("call", Name("numpy:sum"), [np.ones(3)], {})), 3.0)
    np.testing.assert_array_equal(things.answer(("get", box, "w")), np.ones(3))


def types_of(parts):
    return type("Box", (), parts)()
