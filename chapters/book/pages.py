"""The pages that are made from the library itself: its reference, and the derivations at a glance."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import formulas
import reading

from minivae.gradient_table import MODULES, cases, check, public_ops

REFERENCE = {                                          # the floors of the house, as one looks things up
    "The model": ("vae", "variants"),
    "What it is made of": ("batch", "ops", "distributions", "nn", "parts"),
    "Training and evaluation": ("training", "runs", "evaluation", "data", "sound", "separation", "plots"),
    "Checking gradients": ("gradcheck", "gradient_table"),
    "Devices, threads, processes": ("backend", "parallel", "fast"),
    "Chapters and pages": ("chapter", "explorer"),
}
COMMANDS = re.compile(r".*\.cli|.*_rows|data\.make_digits|fast\.loops")              # files that nobody imports himself
NAME = r"[A-Z][\w\-ø]+"
SOURCE = re.compile(rf"(?:{NAME}, )*{NAME}(?:,? and (?:van den )?{NAME}| et al\.)?,? (?:19|20)\d\d"
                    r"(?:, (?:eq\.|section|appendix|algorithm|table|figure) ?[\w.]*\w)?")


def module(name: str) -> ModuleType:
    return importlib.import_module(f"minivae.{name}")


def files(floor: str) -> list[str]:
    """The files of a floor: of a folder, itself and what lies in it, in the order in which its docstring names them."""
    names = [name for _, name, _ in pkgutil.iter_modules(getattr(module(floor), "__path__", []))]
    said = re.findall(r"\w+", inspect.getdoc(module(floor)) or "")
    order = sorted(names, key=lambda name: said.index(name) if name in said else len(said))
    return [floor, *(file for file in (f"{floor}.{name}" for name in order) if not COMMANDS.fullmatch(file))]


def all_files() -> list[str]:
    return [file for floors in REFERENCE.values() for floor in floors for file in files(floor)]


def public(file: str) -> Iterator[tuple[str, Any]]:
    """The functions and classes that are written in this file, by name."""
    for key, thing in vars(module(file)).items():
        if not key.startswith("_") and getattr(thing, "__module__", None) == f"minivae.{file}" and inspect.getdoc(thing) \
                and (inspect.isfunction(thing) or inspect.isclass(thing)):
            yield key, thing


def full_name(file: str, key: str) -> str:
    """As a reader imports it: minivae.distributions.gaussian_kl, whichever file of that folder it is written in."""
    floor = file.partition(".")[0]
    offered = getattr(module(floor), key, None) is getattr(module(file), key)      # ops.kernels has a relu of its own
    return f"minivae.{floor}.{key}" if offered else f"minivae.{file}.{key}"


def everything() -> Iterator[tuple[str, str, Any]]:
    """Every function and class of the reference: the file where it is written, its name, and itself."""
    for file in all_files():
        for key, thing in public(file):
            yield file, key, thing


def places() -> dict[str, str]:
    """{the name that a thing goes by: where it is written}: minivae.nn.Adam, minivae.nn.optimizers.Adam"""
    return {full_name(file, key): f"minivae.{file}.{key}" for file, key, _ in everything()}


def spellings(file: str, key: str, thing: Any) -> dict[str, str]:
    """{a name as the text may give it: its full name}, of a thing and of its methods: gaussian_kl,
    distributions.gaussian_kl, gaussian.gaussian_kl, …; VAE.elbo_terms"""
    full, written = full_name(file, key), f"minivae.{file}.{key}"
    said = dict.fromkeys([key, full, written, *(".".join(name.split(".")[-2:]) for name in (full, written))], full)
    methods = vars(thing).items() if inspect.isclass(thing) else ()
    return said | {f"{key}.{name}": f"{full}.{name}" for name, method in methods
                   if not name.startswith("_") and inspect.isfunction(method) and inspect.getdoc(method)}


def public_names() -> dict[str, str]:
    """{a name in the text: the full name of what it leads to}.  Of two things of one name it is the one that its folder
    offers, if only one is offered; else the name leads nowhere."""
    offered, others = {}, {}
    for file, key, thing in everything():
        among = others if full_name(file, key).count(".") > 2 else offered
        for said, full in spellings(file, key, thing).items():
            among.setdefault(said, set()).add(full)
    found = {said: min(full) for said, full in (others | offered).items() if len(full) == 1}
    return found | {f"minivae.{file}": f"minivae.{file}" for file in all_files()}


def contents(index: str, folder: Path) -> str:
    """The front page with the chapters of its tables of contents written out, each with the question that it asks."""
    out = []
    for caption, names in re.findall(r"```{toctree}\n:caption: (.+)\n:hidden:\n\n((?:ch.+\n)+)```", index):
        out.append(f"## {caption}\n")
        for name in names.split():
            script = (folder / f"{name}.py").read_text(encoding="utf-8")
            title = re.search(r"^# # (.+)$", script, re.MULTILINE)
            question = reading.heads(script)["The question"]
            out.append(f"**[{title[1] if title else name}]({name}.py)**\\\n{question}\n")
    return index.replace("<!-- contents -->\n", "\n".join(out))


def first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


# ── the reference ─────────────────────────────────────────────────────────────────────────────────


def write_reference(folder: Path) -> None:
    """A page for every floor, and one that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    index = ["# Reference", "", REFERENCE_SAYS]
    for group, floors in REFERENCE.items():
        index += [f"## {group}", "", "```{toctree}", ":hidden:", "", *floors, "```", "", "| | |", "|---|---|"]
        index += [f"| [`{name}`]({name}.md) | {_cell(formulas.split(first_line(module(name)))[0])} |" for name in floors] + [""]
        for name in floors:
            (folder / f"{name}.md").write_text(_reference_page(name), encoding="utf-8")
    (folder / "index.md").write_text("\n".join(index), encoding="utf-8")


def _reference_page(floor: str) -> str:
    """What a floor says of itself, then its files one after the other."""
    out = [f"# `minivae.{floor}`", ""]
    for file in files(floor):
        if file != floor:
            out += [f"## {file.rpartition('.')[2]}", ""]
        out += ["```{eval-rst}", f".. automodule:: minivae.{file}", "   :no-members:", ""]
        for key, thing in public(file):
            out += [f".. auto{'class' if inspect.isclass(thing) else 'function'}:: {full_name(file, key)}"]
            out += ["   :members:", "   :member-order: bysource", "   :show-inheritance:"] * inspect.isclass(thing) + [""]
        out += ["```", ""]
    return "\n".join(out)


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
             f"{rows} checks, worst error {f'{worst:.0e}' if worst else 0}"]
    value = f"$$\n{formulas.displayed(value, 46)}\n$$" if formula else value
    name = full_name(where.__name__.removeprefix("minivae."), op.__name__)
    cell = [f"{{py:func}}`~{name}`", value, *(text for _, text in more), *filter(None, notes)]
    return "\n".join([textwrap.indent("\n\n".join(cell), "    ").replace("    ", "* - ", 1), "",
                      "  - ```python", textwrap.indent(pullback_source(op), "    "), "    ```"])


def _shapes_of(op: Callable[..., Any]) -> str:
    return "any shape" if len(inspect.signature(op).parameters) <= 2 else ""


REFERENCE_SAYS = """Every public function and class, from its docstring; *source* leads to the code. A page is a folder of
the library or a file beside them, and a name is given as it is imported: `from minivae.distributions import gaussian_kl`.
"""
INTRODUCTION = """# Derivations at a glance

Every op of the library: what it computes, and the function that carries the derivative of the loss back through it. The
page is made from the code, so it cannot drift from it; *checks* are the rows of the gradient table about the op, compared
with central differences in float64 when this page was built.
"""
