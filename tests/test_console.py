"""Whatever the console can show, what is printed arrives, and files are UTF-8."""

import ast
import io
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from minivae.console import ascii_only, readable

CHAPTERS = sorted((ROOT / "chapters").glob("ch*.py"))
SOURCES = [path for folder in ("minivae", "chapters") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize(("text", "said"), [
    ("KL( N(μ, σ²) ‖ N(0, I) ) = ½ Σ (μ² + σ² − log σ² − 1)",
     "KL( N(mu, sigma^2) || N(0, I) ) = 1/2 Sum (mu^2 + sigma^2 - log sigma^2 - 1)"),
    ("2σz, μθ, Σx: words apart", "2 sigma z, mu theta, Sum x: words apart"),
    ("∂ℓ/∂μ ≥ 10⁻¹² ± 0.5…", "dl/dmu >= 10^-12 +/- 0.5..."),
    ("x₁₂ Wᵀ → σ̂², 28×28", "x_12 W^T -> sigma_hat^2, 28x28"),
    ("Rønne, Müller, “Straße”", 'Ronne, Muller, "Strasse"'),
    ("中 ☃ \udc80", r"? (snowman) \x80"),
    ("a-z: ~^_ %", "a-z: ~^_ %"),
])
def test_what_stands_for_a_letter(text, said):
    assert ascii_only(text) == said


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "koi8-r", "utf-8"])
def test_every_letter_of_the_library_can_be_printed(encoding):
    letters = sorted(set("".join(path.read_text(encoding="utf-8") for path in SOURCES)))
    shown = "\n".join(letters).encode(encoding, "minivae.spelled").decode(encoding)
    assert "?" not in shown.replace("?", "", 1), "a letter without a name: put it into SPELLED"
    assert encoding != "utf-8" or shown == "\n".join(letters)


def stream(encoding, errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)


def test_a_console_keeps_the_letters_it_has(monkeypatch):
    out, err = stream("cp1252"), stream("ascii", "backslashreplace")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    readable()
    print("½ σ² ± 1")
    print("½ σ² ± 1", file=sys.stderr)
    for made in (out, err):
        made.flush()
    assert out.buffer.getvalue().decode("cp1252") == f"½ sigma² ± 1{os.linesep}"
    assert err.buffer.getvalue().decode("ascii") == f"1/2 sigma^2 +/- 1{os.linesep}"


def test_utf_8_a_notebook_and_no_console_at_all_are_left_as_they_are(monkeypatch):
    out = stream("utf-8", "surrogateescape")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # like a notebook's: it has no `reconfigure`
    readable()
    print("½ σ² ± 1 \udc80", end="")
    out.flush()
    assert out.buffer.getvalue() == "½ σ² ± 1 ".encode() + b"\x80"
    monkeypatch.setattr(sys, "stdout", None)           # pythonw has none
    readable()


# ── the commands ──────────────────────────────────────────────────────────────────────────────────

# Python names those who open a file without saying that it is UTF-8 (-X warn_default_encoding): ours may not
SCRIPT = """
import contextlib, importlib, os, pkgutil, runpy, sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module="minivae|__main__")      # Matplotlib is no example
import minivae
from minivae import cli

def run(name, act):
    sys.stdout.reconfigure(errors="strict")            # each finds the console as it was
    print("==", name, flush=True)
    code = None
    try:
        code = act()
    except SystemExit as end:
        code = end.code
    assert not code, (name, code)

def chapter(path, *arguments):
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")

out, *chapters = sys.argv[1:]
for module in pkgutil.walk_packages(minivae.__path__, "minivae."):
    if not module.name.endswith(("__main__", "_peer", "student_process")) and ".torch_" not in module.name:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module.name)
run("train", lambda: cli.main(["train", "--epochs", "1", "--hidden", "8", "--latents", "2", "--out", out + "/run"]))
run("evaluate", lambda: cli.main(["evaluate", out + "/run", "--samples", "2", "--images", "20"]))
run("explore", lambda: cli.main(["explore", out + "/run", "-o", out + "/page.html"]))
run("gradcheck", lambda: cli.main(["gradcheck", "gaussian_kl"]))
run("--help", lambda: cli.main(["--help"]))
run("course --help", lambda: cli.main(["course", "--help"]))
run("course build", lambda: cli.main(["course", "build", "a1", "--out", out + "/a1"]))
run("ch01 --quick", lambda: chapter(chapters[0], "--quick", "--out", out + "/ch01"))
run("the book --help", lambda: chapter("chapters/book/build.py", "--help"))
for path in chapters:
    run(os.path.basename(path) + " --help", lambda: chapter(path, "--help"))
"""


def shown(encoding, *arguments):
    """What Python prints on a console of this encoding."""
    done = subprocess.run([sys.executable, "-X", "warn_default_encoding", *map(str, arguments)], cwd=ROOT, timeout=300,
                          capture_output=True, check=False,
                          env=os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "120"})
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert done.returncode == 0, out[-500:] + err[-2000:]
    return out


@pytest.mark.parametrize(("encoding", "chapters", "size", "bound"), [
    ("ascii", CHAPTERS, "28x28", r"ELBO -\d+\.\d\d \+/- \d"),
    ("cp1252", CHAPTERS[:9:8], "28×28", r"ELBO -\d+\.\d\d ± \d")], ids=["ascii", "cp1252"])
def test_every_command_on_a_console_that_lacks_letters(encoding, chapters, size, bound, tmp_path):
    """Every chapter's where all letters are lacking; where σ is, and ± is not, some."""
    out = shown(encoding, "-c", SCRIPT, tmp_path, *chapters)
    said = dict(part.split("\n", 1) for part in out.split("== ")[1:])
    assert f"images of {size}, grey" in said["train"]
    assert re.search(bound, said["train"])
    assert "z = mu + sigma eps" in said[f"{CHAPTERS[8].name} --help"]
    assert "Seen: " in said["ch01 --quick"]
    assert "\\" not in out


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_on_an_ascii_console(chapter, tmp_path):
    out = shown("ascii", chapter, "--quick", "--out", tmp_path / "out")
    assert "Seen: " in out


# ── files ─────────────────────────────────────────────────────────────────────────────────────────

BINARY = {"os.open", "gzip.open", "tarfile.open", "archive.open", "Image.open", "wav.open"}


def without_encoding(module):
    """Lines that open a text file, or a process's text, and do not say in which encoding."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Call) or "encoding" in (given := {keyword.arg for keyword in node.keywords}):
            continue
        name, texts = ast.unparse(node.func), [a.value for a in node.args if isinstance(a, ast.Constant)]
        modes = [mode for mode in [*texts, *(k.value.value for k in node.keywords if k.arg == "mode")]
                 if isinstance(mode, str) and set(mode) <= set("rwxab+t")]
        last, binary = name.rpartition(".")[2], any("b" in mode for mode in modes)
        if (given & {"text", "universal_newlines"}
                or (last == "read_text" and not node.args)
                or (last == "write_text" and len(node.args) == 1)
                or (last in ("open", "fdopen") and name not in BINARY and not binary)
                or (last in ("TemporaryFile", "NamedTemporaryFile") and modes and not binary)):
            yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_whoever_opens_a_text_file_says_that_it_is_utf_8(path):
    module = ast.parse(path.read_text(encoding="utf-8"))
    assert list(without_encoding(module)) == []


@pytest.mark.parametrize("line", ["path.read_text()", "path.write_text(text)", "open(path)", "path.open('w')",
                                  "subprocess.run(c, text=True)", "os.fdopen(1, 'w')", "TemporaryFile('w+')"])
def test_the_reader_of_files_would_see_it(line):
    assert list(without_encoding(ast.parse(line))) == [1]
    mended = line.replace("()", "(encoding='utf-8')").replace("', ", "', encoding='utf-8', ")
    mended = mended if mended != line else f"{line[:-1]}, encoding='utf-8')"
    assert list(without_encoding(ast.parse(mended))) == []
