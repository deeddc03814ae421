"""The picture of a check, from Python and from the command line."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.cli import main
from minivae.gradcheck import GradientError, check, gradcheck

OPS = "import numpy as np\ndef right(x, W):\n    return np.tanh(x @ W), lambda dy: dy\n"


def tanh(x):
    return np.tanh(x), lambda dy: dy / np.cosh(x) ** 2


def test_a_picture_of_a_right_op(tmp_path):
    report = gradcheck(tanh, np.random.default_rng(0).standard_normal((4, 3)), plot=tmp_path / "right.png")
    assert report.passed
    assert (tmp_path / "right.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_op_is_drawn_before_it_is_refused(tmp_path):
    x = np.random.default_rng(0).standard_normal((4, 3))
    with pytest.raises(GradientError):
        gradcheck(lambda x: (np.tanh(x), lambda dy: -dy / np.cosh(x) ** 2), x, plot=tmp_path / "wrong.png")
    assert (tmp_path / "wrong.png").exists()


def test_the_curve_has_a_valley(monkeypatch):
    seen = []
    monkeypatch.setattr(check, "draw", lambda report, path: seen.append(report))
    gradcheck(tanh, np.array([0.7, -0.2]), plot="nowhere.png")
    steps, away, _ = seen[0].curve
    best = int(np.argmin(away))
    assert 0 < best < len(steps) - 1
    assert away[best] < 1e-9 < 1e-5 < min(away[0], away[-1])


def test_from_the_command_line(tmp_path, capsys):
    (tmp_path / "my_ops.py").write_text("def op(x, W):\n    return x @ W, lambda dy: (dy @ W.T, x.T @ dy)\n",
                                        encoding="utf-8")
    out = tmp_path / "out.png"
    assert main(["gradcheck", f"{tmp_path}/my_ops.py:op", "--shapes", "3,4", "4,5", "--plot", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(["gradcheck", "tanh", "--plot", str(out)]) == 2
    assert "one picture shows one" in capsys.readouterr().err
