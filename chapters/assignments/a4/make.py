"""What of assignment 4 lies in no file: bug1.py … bug8.py, and what they are when they are mended.

`vae.py` is right.  A module that is handed out is vae.py with some functions in another form (equally right), other
numbers, functions in another order, other local names, and, last, one mistake: bugs.toml says which.  The same bricks make
the modules on which a student's check is tried: the same mistake in other forms, and other right ones.
"""

import ast
import io
import tokenize
import tomllib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NUMBERS = range(1, 9)
MARK = "  #!"                          # at the end of a line that counts as the answer
RENAMES = {"pullback": ("pullback", "back", "backwards"), "h": ("h", "features"), "var": ("var", "variance"),
           "noise": ("noise", "scatter"), "pull_decoder": ("pull_decoder", "pull_p"),
           "pull_encoder": ("pull_encoder", "pull_q"), "dh": ("dh", "dfeatures"), "std": ("std", "sigma")}
BASE = (HERE / "vae.py").read_text(encoding="utf-8")
TABLE = tomllib.loads((HERE / "bugs.toml").read_text(encoding="utf-8"))
BUGS = {bug["name"]: bug for bug in TABLE["bug"]}
FORMS = {}                             # function -> name of a form -> what bugs.toml says of it
for form in TABLE["form"]:
    FORMS.setdefault(form["of"], {"base": {}})[form["name"]] = form


def starter():
    """File -> text of all that is handed out.  (From checks.py the answers are cut as from any other file.)"""
    found = {"answers.py": answers(dict.fromkeys(BUGS, 0)), "checks.py": (HERE / "checks.py").read_text(encoding="utf-8"),
             "train.py": (HERE / "train.py").read_text(encoding="utf-8")}
    for name in BUGS:
        found[f"{name}.py"] = found[f"originals/original{name[3:]}.py"] = handed_out(name)[0]
    return found


def solution():
    """File -> text of what a student hands in who has everything right."""
    found = {"answers.py": answers({name: lines(name)[0] for name in BUGS}), "checks.py": starter()["checks.py"]}
    return found | {f"{name}.py": mended(name) for name in BUGS}


def answers(lines):
    """answers.py"""
    rows = "".join(f'    "{name}": {line},\n' for name, line in lines.items())
    return f'"""The line of the mistake in each module, as it was handed out (in originals/)."""\n\nLINES = {{\n{rows}}}\n'


def handed_out(name):
    """(text, numbers of the lines that count as the answer)"""
    return assemble(name, BUGS[name]["forms"], np.random.default_rng(BUGS[name]["seed"]), wrong=True)


def lines(name):
    """The numbers of the lines that count as the answer."""
    return handed_out(name)[1]


def mended(name):
    """The same module without the mistake."""
    return assemble(name, BUGS[name]["forms"], np.random.default_rng(BUGS[name]["seed"]), wrong=False)[0]


def another(name, rng, *, wrong):
    """The same model in other forms, right or with the same mistake."""
    bug = BUGS[name]
    drawn = {}
    for of in FORMS:
        fit = [form for form, says in FORMS[of].items() if says.get("kind") in (None, bug["activation"])]
        if of != "activate" and wrong:                 # what the mistake needs in order to show
            fit = bug.get("needs", {}).get(of, fit)
        drawn[of] = str(rng.choice(fit))
    return assemble(name, drawn, rng, wrong=wrong)[0]


def assemble(name, forms, rng, *, wrong):
    """(text, numbers of the marked lines) of a module."""
    bug, text = BUGS[name], BASE
    for of, form in forms.items():
        if form != "base":
            text = replaced(text, of, FORMS[of][form]["new"].strip("\n"))
    if wrong:
        old, new = next((way["old"], way["new"]) for way in bug["wrong"] if text.count(way["old"]) == 1)
        text = text.replace(old, new)
    for option, was, becomes in (("init", " / np.sqrt(rows)", " * {}"), ("beta", "beta=1.0", "beta={}"),
                                 ("beta1", "beta1=0.9", "beta1={}"), ("beta2", "beta2=0.999", "beta2={}")):
        if option in bug:
            text = text.replace(was, becomes.format(bug[option]))
    text = renamed(shuffled(text, rng), {old: str(rng.choice(new)) for old, new in RENAMES.items()})
    rows = text.splitlines()
    marked = [number for number, row in enumerate(rows, 1) if row.endswith(MARK)]
    return "\n".join(row.removesuffix(MARK) for row in rows) + "\n", marked


def replaced(text, of, new):
    """The text with another definition of the function `of` ("activate", "VAE.load")."""
    body = ast.parse(text).body
    for part in of.split("."):
        node = next(node for node in body if getattr(node, "name", None) == part)
        body = getattr(node, "body", [])
    rows = text.splitlines()
    return "\n".join([*rows[:node.lineno - 1], *new.splitlines(), *rows[node.end_lineno:]]) + "\n"


def shuffled(text, rng):
    """The text with its functions in another order; the classes come after them."""
    body, rows = ast.parse(text).body, text.splitlines()
    functions, classes = ([node for node in body if isinstance(node, kind)] for kind in (ast.FunctionDef, ast.ClassDef))
    order = [*(functions[i] for i in rng.permutation(len(functions))), *classes]
    head = "\n".join(rows[:functions[0].lineno - 1]).rstrip("\n")
    return "\n\n\n".join([head, *("\n".join(rows[node.lineno - 1:node.end_lineno]) for node in order)]) + "\n"


def renamed(text, names):
    """The text with other local names; attributes stay what they are."""
    rows, before = text.splitlines(keepends=True), None
    places = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in names and before != ".":
            places.append((token.start, token.end, names[token.string]))
        before = token.string
    for (row, start), (_, end), new in reversed(places):
        rows[row - 1] = rows[row - 1][:start] + new + rows[row - 1][end:]
    return "".join(rows)


def answer_table():
    """For the instructor: each module's lines, and what is wrong with it."""
    for name, bug in BUGS.items():
        text, numbers = handed_out(name)
        shown = [f"{number}: {text.splitlines()[number - 1].strip()}" for number in numbers]
        yield "\n    ".join([name, *shown, bug["what"].strip(), bug["seen"].strip()])


if __name__ == "__main__":
    print("\n\n".join(answer_table()))
