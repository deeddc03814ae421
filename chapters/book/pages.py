"""The pages that are made from the library itself: its reference, and the derivations at a glance."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import formulas
import reading

from minivae.gradient_table import MODULES, cases, check, public_ops

REFERENCE = {
    "The models": ("vae", "mlp_vae", "conv_vae", "variants.structured_posterior", "variants.deep_latent",
                   "variants.probabilistic_pca"),
    "Ops and densities": ("ops", "conv", "distributions", "full_gaussian", "rank_one", "flows"),
    "Parameters and layers": ("arena", "layers", "conv_layers", "likelihoods", "posteriors", "flow_posteriors"),
    "Training": ("objectives", "optim", "training", "recipe", "runs", "checkpoint", "guard"),
    "Evaluation": ("evaluation", "ais", "diagnosis", "amortization", "imputation", "grey_levels"),
    "Checking gradients": ("gradcheck.check", "gradcheck.report", "gradcheck.mistakes", "gradient_table"),
    "Data, pictures, chapters": ("data", "plots", "explorer", "chapter"),
    "Devices, threads, processes": ("backend", "kernels", "team", "workers", "processes"),
}
NAME = r"[A-Z][\w\-ø]+"
SOURCE = re.compile(rf"(?:{NAME}, )*{NAME}(?:,? and (?:van den )?{NAME}| et al\.)?,? (?:19|20)\d\d"
                    r"(?:, (?:eq\.|section|appendix|algorithm|table|figure) ?[\w.]*\w)?")


def module(name: str) -> ModuleType:
    return importlib.import_module(f"minivae.{name}")


def public_names() -> dict[str, str]:
    """{a name as the text gives it: its full name}: gaussian_kl, VAE.elbo_terms, minivae.vae.VAE; none that two things have."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for name in (name for names in REFERENCE.values() for name in names):
        for key, thing in vars(module(name)).items():
            if key.startswith("_") or getattr(thing, "__module__", None) != f"minivae.{name}" or not inspect.getdoc(thing):
                continue
            if not (inspect.isfunction(thing) or inspect.isclass(thing)):
                continue
            full = f"minivae.{name}.{key}"
            for said in (key, f"{name.rpartition('.')[2]}.{key}", full):
                twice |= {said} if found.setdefault(said, full) != full else set()
    return {said: full for said, full in found.items() if said not in twice}


def contents(index: str, folder: Path) -> str:
    """The front page with the chapters of its tables of contents written out, each with the question that it asks."""
    out = []
    for caption, names in re.findall(r"```{toctree}\n:caption: (.+)\n:hidden:\n\n((?:ch.+\n)+)```", index):
        out.append(f"## {caption}\n")
        for name in names.split():
            script = (folder / f"{name}.py").read_text()
            title = re.search(r"^# # (.+)$", script, re.MULTILINE)
            question = reading.heads(script)["The question"]
            out.append(f"**[{title[1] if title else name}]({name}.py)**\\\n{question}\n")
    return index.replace("<!-- contents -->\n", "\n".join(out))


def first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


# ── the reference ─────────────────────────────────────────────────────────────────────────────────


def write_reference(folder: Path) -> None:
    """A page for every module, and one that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    index = ["# Reference", "", "Every public function and class, from its docstring; *source* leads to the code.", ""]
    for group, names in REFERENCE.items():
        index += [f"## {group}", "", "```{toctree}", ":hidden:", "", *names, "```", "", "| | |", "|---|---|"]
        index += [f"| [`{name}`]({name}.md) | {_cell(formulas.split(first_line(module(name)))[0])} |" for name in names] + [""]
        for name in names:
            (folder / f"{name}.md").write_text(_reference_page(name))
    (folder / "index.md").write_text("\n".join(index))


def _reference_page(name: str) -> str:
    return "\n".join([f"# `minivae.{name}`", "", "```{eval-rst}", f".. automodule:: minivae.{name}", "   :members:",
                      "   :member-order: bysource", "   :show-inheritance:", "```", ""])


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


# ── derivations at a glance ───────────────────────────────────────────────────────────────────────


def ops() -> Iterator[tuple[ModuleType, Callable[..., Any]]]:
    """Every public op, by module, in the order of the source."""
    for where in MODULES:
        names = public_ops([where])
        for name, thing in vars(where).items():
            if name in names and inspect.isfunction(thing):
                yield where, inspect.unwrap(thing)


def pullback_source(op: Callable[..., Any]) -> str:
    """The code of an op's pullback, without types; what it returns, if the pullback is another op's."""
    source = textwrap.dedent(inspect.getsource(op))
    lines, function = source.splitlines(), next(n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef))
    inner = [n for n in ast.walk(function) if isinstance(n, ast.FunctionDef) and n.name == "pullback"]
    if not inner:
        body = [n for n in function.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
        return textwrap.dedent("\n".join(lines[body[0].lineno - 1:function.end_lineno]))
    begins, ends = inner[0].body[0].lineno - 1, inner[0].end_lineno
    comments = [line.partition("#")[2] for line in lines[inner[0].lineno - 1:begins] if "#" in line]
    head = "".join([f"def pullback({ast.unparse(_without_types(inner[0].args))}):", *(f"    #{said}" for said in comments)])
    body = textwrap.indent(textwrap.dedent("\n".join(lines[begins:ends])), "    ")
    return re.sub(r" {6,}#", "    #", f"{head}\n{body}")


def _without_types(arguments: ast.arguments) -> ast.arguments:
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
        if argument is not None:
            argument.annotation = None
    return arguments


def checked() -> dict[str, tuple[int, float]]:
    """For every op the rows of the gradient table that are about it, and the worst error that finite differences find."""
    found = {op.__name__: (0, 0.0) for _, op in ops()}
    for case in cases():
        if case.subject in found:
            rows, worst = found[case.subject]
            found[case.subject] = rows + 1, max(worst, check(case).worst)
    return found


def derivations() -> str:
    """The page: one row for every op."""
    results, out, previous = checked(), [INTRODUCTION], None
    for where, op in ops():
        if where is not previous:
            if previous:
                out.append("::::\n")
            title = re.split(r"[.:;]", first_line(where))[0]
            out += [f"## {title}\n", "::::{list-table}\n:class: derivations\n:header-rows: 1\n:widths: 43 57\n\n"
                    "* - value\n  - pullback"]
            previous = where
        out.append(_row(where, op, *results[op.__name__]))
    return "\n".join([*out, "::::\n"])


def _row(where: ModuleType, op: Callable[..., Any], rows: int, worst: float) -> str:
    (first, *rest), *others = formulas.paragraphs(inspect.getdoc(op) or "")
    left, right = formulas.split(first)
    (formula, value), *more = formulas.pieces(left)
    cited = SOURCE.findall(" ".join(line.strip() for line in [right, *rest, *(line for lines in others for line in lines)]))
    shapes = right if "->" in right or "all (" in right else _shapes_of(op)
    notes = [f"`{shapes}`" if shapes else "", "; ".join(cited),
             f"{rows} checks, worst error {worst:.0e}"]
    value = f"$$\n{formulas.displayed(value, 46)}\n$$" if formula else value
    cell = [f"{{py:func}}`~{where.__name__}.{op.__name__}`", value, *(text for _, text in more), *filter(None, notes)]
    return "\n".join([textwrap.indent("\n\n".join(cell), "    ").replace("    ", "* - ", 1), "",
                      "  - ```python", textwrap.indent(pullback_source(op), "    "), "    ```"])


def _shapes_of(op: Callable[..., Any]) -> str:
    return "any shape" if len(inspect.signature(op).parameters) <= 2 else ""


INTRODUCTION = """# Derivations at a glance

Every op of the library: what it computes, and the function that carries the derivative of the loss back through it. The
page is made from the code, so it cannot drift from it; *checks* are the rows of the gradient table about the op, compared
with central differences in float64 when this page was built.
"""
