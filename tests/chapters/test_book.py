"""The book: formulas, links and pages made from the code; a notebook that runs as it is; what must not be built."""

import contextlib
import inspect
import re
import sys

import pytest
from conftest import ROOT
from test_architecture import FILES, FLOORS

BOOK = ROOT / "chapters" / "book"
sys.path.insert(0, str(BOOK))
with contextlib.suppress(ImportError):                # without the extra `book`: see the fixture
    import formulas
    import links
    import pages
    import promises
    import reading

from minivae.gradient_table import MODULES, public_ops  # noqa: E402

CHAPTERS = sorted((ROOT / "chapters").glob("ch*.py"))
NOT_IN_THE_REFERENCE = {"__main__", "cli", "console", "bench", "coursework"}              # commands, how they print


@pytest.fixture(autouse=True)
def _the_extra_is_there():
    """Asked when a test runs, not when it is collected: the same tests are collected everywhere."""
    for name in ("jupytext", "sphinx"):
        pytest.importorskip(name, reason='the book needs more: python -m pip install -e ".[book]"')


@pytest.mark.parametrize(("unicode", "tex"), [
    ("y = x Wᵀ + b", r"y = x W^{T} + b"),
    ("σ² = exp(½ log σ²)", r"\sigma ^{2} = \operatorname{exp} (\tfrac12  \operatorname{log}  \sigma ^{2})"),
    ("y = log(1 + e^−|x|)", r"y = \operatorname{log} (1 + e^{-|x|})"),
    ("L_ii = √(2/π) x₁₂", r"L_{ii} = \sqrt{2/\pi} x_{12}"),
    ("û = μq + gain · x", r"\hat{u} = \mu_q + \mathrm{gain} \cdot  x"),
    ("y = x where x > 0", r"y = x \text{ where } x > 0"),
    ("y = `raw_part` {1}", r"y = \texttt{raw\_part} \{1\}"),
])
def test_a_formula_as_tex(unicode, tex):
    assert formulas.tex(unicode) == tex


@pytest.mark.parametrize("sentence", [
    "The ELBO of a set of images and its two terms: elbo = −(nll + kl).",
    "Check `value, pullback = function(*inputs)`; raise GradientError if it is wrong.",
    "Linear layers of the given sizes with activations between: mlp(784, 400, 20, rng=rng).",
])
def test_a_sentence_is_not_a_formula(sentence):
    assert not formulas.pieces(sentence)[0][0]


def test_braces_of_every_formula_in_the_library_are_closed():
    shown = 0
    for _, _, thing in pages.everything():
        for is_formula, text in formulas.pieces(formulas.split(pages.first_line(thing))[0]):
            if is_formula:
                tex = re.sub(r"\\[{}]", "", formulas.tex(text))
                assert tex.count("{") == tex.count("}"), tex
                assert tex.isascii() or "′" in tex, tex
                shown += 1
    assert shown > 40


def test_a_docstring_as_a_page():
    text = "\n".join(formulas.as_rst(inspect.cleandoc("""y = a xᵢ        (B, I) -> (B, O)

        Of *two* kinds, see `other_op`.
        steps   how many
                of them
        Raises ValueError if |x| > 1.
        """)))
    assert ".. math::\n\n   y = a x_{i}\n" in text
    assert "``(B, I) -> (B, O)``" in text
    assert r"Of \*two\* kinds, see ``other_op``." in text
    listed = "\n".join(formulas.as_rst("steps   how many\n        of them"))
    assert "``steps``\n   how many\n   of them" in listed


# ── pages made from the code ──────────────────────────────────────────────────────────────────────


def test_the_reference_has_every_floor_and_every_file():
    floors = [floor for group in pages.REFERENCE.values() for floor in group]
    assert len(floors) == len(set(floors))
    assert set(floors) | NOT_IN_THE_REFERENCE == set(FLOORS), "name it in REFERENCE of chapters/book/pages.py"
    there = {file for floor in floors for file in pages.files(floor)}
    missing = {name for name in FILES if name.partition(".")[0] in floors} - there
    assert all(pages.COMMANDS.fullmatch(name) for name in missing)


def test_a_thing_is_documented_once_by_the_name_that_readers_import():
    documented = [pages.full_name(file, key) for file, key, _ in pages.everything()]
    assert len(documented) == len(set(documented))
    assert pages.full_name("distributions.gaussian", "gaussian_kl") == "minivae.distributions.gaussian_kl"
    assert pages.full_name("ops.kernels", "gaussian_kl") == "minivae.ops.kernels.gaussian_kl"      # another function
    assert pages.full_name("evaluation.ais", "hmc") == "minivae.evaluation.ais.hmc"                # not offered
    page = pages._reference_page("distributions")
    assert page.index("## gaussian\n") < page.index(".. autofunction:: minivae.distributions.gaussian_kl\n") \
        < page.index("## flows\n")


@pytest.mark.parametrize(("said", "full"), [
    ("gaussian_kl", "minivae.distributions.gaussian_kl"), ("linear", "minivae.ops.linear"),
    ("distributions.gaussian_kl", "minivae.distributions.gaussian_kl"),
    ("gaussian.gaussian_kl", "minivae.distributions.gaussian_kl"), ("relu", "minivae.ops.relu"),
    ("minivae.distributions.gaussian_kl", "minivae.distributions.gaussian_kl"), ("VAE", "minivae.vae.VAE"),
    ("minivae.distributions.gaussian.gaussian_kl", "minivae.distributions.gaussian_kl"),
    ("kernels.relu", "minivae.ops.kernels.relu"), ("fit", "minivae.training.fit"),
    ("VAE.elbo_terms", "minivae.vae.VAE.elbo_terms"), ("minivae.vae", "minivae.vae"),
    ("VAEConfig.build", "minivae.variants.VAEConfig.build"), ("x", None)])
def test_a_name_in_the_text_leads_to_one_place(said, full):
    assert pages.public_names().get(said) == full


def test_the_derivations_have_a_row_for_every_op():
    page, ops = pages.derivations(), {op.__name__: where for where, op in pages.ops()}
    assert ops.keys() == {name for where in MODULES for name in public_ops([where])
                          if inspect.isfunction(getattr(where, name, None))}
    for name, where in ops.items():
        assert f"{{py:func}}`~{pages.full_name(where.__name__.removeprefix('minivae.'), name)}`" in page
    assert page.count("* - {py:func}") == len(ops) == len(re.findall(r"\d+ checks?, worst error (?:\de-|0\n)", page))
    assert page.count("def pullback(") + page.count("return half_logdet") >= len(ops) - 5


def test_the_pullback_is_shown_as_it_is_written():
    from minivae.distributions import gaussian_kl
    from minivae.ops import linear

    assert pages.pullback_source(inspect.unwrap(gaussian_kl)).splitlines() == [
        "def pullback(dkl):    # ∂/∂μ = μ,   ∂/∂log σ² = ½ (σ² − 1)",
        "    return mean * dkl[:, None], 0.5 * (var - 1.0) * dkl[:, None]"]
    assert "def pullback(dy, need_dx=True, need_dp=True, matmul=np.matmul):" in pages.pullback_source(linear)


def test_every_paper_that_is_named_is_in_the_bibliography():
    known = links.papers((BOOK / "text" / "bibliography.md").read_text(encoding="utf-8"))
    name = r"[A-ZÉ][\w\-]+"
    cited = re.compile(rf"((?:{name}, )*(?:{name} and )?(?:van den )?{name}(?: et al\.)?),? (\(?(?:19|20)\d\d)\b")
    unknown = set()
    for path in [*CHAPTERS, *(ROOT / "minivae").rglob("*.py")]:
        for authors, year in cited.findall(path.read_text(encoding="utf-8").replace("\n# ", " ").replace("\n", " ")):
            said = f"{authors} {year}"
            if not any(said.endswith(name) or name.endswith(said) for name in known):
                unknown.add(said)
    assert unknown - {"July 2025"} == set()


# ── chapters as notebooks ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("script", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_is_a_notebook(script, tmp_path):
    import nbformat

    notebook = nbformat.read(reading.write(script, tmp_path), as_version=4)
    nbformat.validate(notebook)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \d+ · ", first.source)
    for head in ("The question", "What is new", "What you'll see"):
        assert f"- **{head}.** " in first.source
    assert "main()" in "".join(cell.source for cell in notebook.cells)
    assert reading.needs(script.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["ch01_gradient", "ch08_kl"])
def test_a_notebook_runs_as_it_is(name, tmp_path, monkeypatch):
    """In an empty folder, as one who downloaded it: no script beside it, and its pictures are shown."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("MINIVAE_ARGS", "--quick")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(reading.write(ROOT / "chapters" / f"{name}.py", tmp_path), as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert shown
    assert all(re.match(r'<figure class="picture" role="img" aria-label="[^"]{20,}"><svg', html) for html in shown)
    assert "Seen: " in "".join(output.get("text", "") for output in outputs)
    assert list((tmp_path / "out").rglob("*.png"))


# ── what a built book must not have ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("body", "says"), [
    ('<a href="other.html">', "links to other.html, which does not exist"),
    ('<a href="#here">', "links to #here, which has no such place"),
    ('<a href="two.html#no">', "links to two.html#no, which has no such place"),
    ('<script src="https://cdn.org/a.js"></script>', "loads https://cdn.org/a.js, from outside"),
    ('<link rel="stylesheet" href="https://cdn.org/a.css">', "loads https://cdn.org/a.css, from outside"),
    ('<img src="data:,">', "a picture or a sound without words: data:,"),
    ('<figure class="picture" role="img"></figure>', "a picture or a sound without words: a picture"),
    ('<audio controls src="data:,"></audio>', "a picture or a sound without words: data:,"),
    ('<audio aria-label="zero" src="https://cdn.org/a.wav"></audio>', "loads https://cdn.org/a.wav, from outside"),
    ('<audio aria-label="zero" src="a.wav"></audio>', "links to a.wav, which does not exist"),
    ('<audio aria-label="zero" src="data:,"></audio>', None),
    ('<a href="two.html#yes"><a href="https://arxiv.org"><p id="x"><a href="#x"><img src="data:," alt="a cat">', None),
])
def test_promises(tmp_path, body, says):
    (tmp_path / "one.html").write_text(body, encoding="utf-8")
    (tmp_path / "two.html").write_text('<p id="yes">', encoding="utf-8")
    assert promises.problems(tmp_path) == ([f"one.html: {says}"] if says else [])


def test_the_command_helps_and_says_what_is_missing(tmp_path, monkeypatch, capsys):
    import build

    with pytest.raises(SystemExit) as stop:
        build.main(["--help"])
    assert stop.value.code == 0
    assert "--quick" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "reading", None)
    assert build.main(["--quick", "--out", str(tmp_path / "book")]) == 2
    assert 'python -m pip install -e ".[book]"' in capsys.readouterr().err


@pytest.mark.parametrize(("code", "text", "fails"), [
    ("print(1)", "a word", False),
    ("raise ValueError('broken')", "a word", True),
    ("print(1)", "a [link](nowhere.md)", True),
    ("print(1)", "{nothing}`of this kind`", True),
])
def test_a_chapter_that_fails_a_broken_link_and_a_warning_end_the_build(tmp_path, code, text, fails):
    import build

    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text("# A book\n\n```{toctree}\nch01_one\nbibliography\n```\n", encoding="utf-8")
    (source / "bibliography.md").write_text("# Bibliography\n", encoding="utf-8")
    (source / "ch01_one.py").write_text(
        f'"""Chapter 1.\n\nThe question     Why?\n"""\n\n# %% [markdown]\n# # 1 · One\n#\n# {text}\n\n# %%\n{code}\n',
        encoding="utf-8")
    assert (build.sphinx(source, tmp_path / "out", True) != 0) == fails
    if not fails:
        page = (tmp_path / "out" / "ch01_one.html").read_text(encoding="utf-8")
        assert "<strong>The question.</strong> Why?" in page
        assert re.search(r"needs nothing but minivae: .* · ran \d+ s with <code>--quick</code> when", page)


def test_it_never_takes_the_place_of_what_is_no_book(tmp_path, capsys):
    import build

    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work", encoding="utf-8")
    assert build.main(["--quick", "--out", str(tmp_path / "thesis")]) == 2
    assert "thesis exists, and is not of this command's making; choose another" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "chapter.tex").read_text(encoding="utf-8") == "years of work"
