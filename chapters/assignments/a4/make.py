"""What of assignment 4 lies in no file: bug1.py … bug8.py, and what they are when they are mended.

`vae.py` is right.  Eight mistakes are drawn from the pool in bugs.toml by the secret seed, each in another function.  A
module that is handed out is vae.py with some functions in another form (equally right), other numbers, functions in
another order, other local names, and, last, one mistake.  The same bricks make the modules on which a student's check is
tried: the same mistake in other forms, and other right ones.
"""

import ast
import functools
import itertools
import re
import sys
import tomllib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NUMBERS = range(1, 9)
MARK = "  #!"                          # at the end of a line that counts as the answer
RENAMES = {"pullback": ("pullback", "back", "backwards"), "h": ("h", "features"), "var": ("var", "variance"),
           "noise": ("noise", "scatter"), "pull_decoder": ("pull_decoder", "pull_p"),
           "pull_encoder": ("pull_encoder", "pull_q"), "dh": ("dh", "dfeatures"), "std": ("std", "sigma")}
OPTIONS = {"init": (None, "np.sqrt(2.0 / rows)", "np.sqrt(2.0 / (rows + columns))"), "beta": (None, "0.5", "2.0"),
           "beta1": (None, "0.95", "0.8"), "beta2": (None, "0.99")}
BASE = (HERE / "vae.py").read_text(encoding="utf-8")
TABLE = tomllib.loads((HERE / "bugs.toml").read_text(encoding="utf-8"))
POOL = {bug["name"]: bug for bug in TABLE["bug"]}
FORMS = {}                             # function -> name of a form -> what bugs.toml says of it
for form in TABLE["form"]:
    FORMS.setdefault(form["of"], {"base": {}})[form["name"]] = form


# ── what the seed decides ─────────────────────────────────────────────────────────────────────


@functools.lru_cache(maxsize=8)
def drawn(seed):
    """{"bug1": …}: eight mistakes in eight functions, each with forms and numbers of its own."""
    rng = np.random.default_rng([seed, 4])
    mistakes = {}
    for name in rng.permutation(sorted(POOL)):
        mistakes.setdefault(POOL[name]["of"], POOL[name])
    chosen = [mistakes[of] for of in rng.permutation(sorted(mistakes))[:len(NUMBERS)]]
    numbers = rng.permutation(list(itertools.product(*OPTIONS.values())))[:len(NUMBERS)]
    kinds = rng.permutation(["tanh", "relu", "softplus"] * 3)
    bugs = {}
    for n, mistake, options, kind in zip(NUMBERS, chosen, numbers, kinds):
        kind = "tanh" if mistake["of"] == "activate" else str(kind)                # it is planted in a tanh
        bugs[f"bug{n}"] = mistake | dict(zip(OPTIONS, options)) | {"activation": kind, "seed": int(rng.integers(2**31))}
    shown = {bug["of"]: str(rng.choice(fits(bug))) for bug in bugs.values()}       # the form in which a mistake is shown
    for bug in bugs.values():
        bug["forms"] = {of: shown[of] if of == bug["of"] else _form(of, bug, rng, shown.get(of)) for of in FORMS}
    return bugs


def _form(of, bug, rng, but=None):
    """A right form of that function; not that in which it is wrong elsewhere: who compares them sees many differences."""
    fit = [name for name, says in FORMS[of].items() if says.get("kind", "tanh" if of == "activate" else None)
           in (None, bug["activation"])]
    return str(rng.choice([name for name in fit if name != but] or fit))


def fits(bug):
    """The forms of its function in which a mistake can be planted."""
    return _fits(bug["name"])


@functools.cache
def _fits(mistake):
    bug = POOL[mistake]
    texts = {name: written({bug["of"]: name}) for name in FORMS.get(bug["of"], {"base": {}})}
    return [name for name, text in texts.items() if any(text.count(way["old"]) == 1 for way in bug["wrong"])]


# ── what is handed out, and what a right one hands in ─────────────────────────────────────────


def starter(seed):
    """File -> text of all that is handed out."""
    found = {"answers.py": answers(dict.fromkeys(drawn(seed), (0, ""))), "checks.py": _checks(""),
             "train.py": (HERE / "train.py").read_text(encoding="utf-8")}
    for name in drawn(seed):
        found[f"{name}.py"] = found[f"originals/original{name[3:]}.py"] = handed_out(seed, name)[0]
    return found


def solution(seed):
    """File -> text of what a student hands in who has everything right."""
    named = {name: (lines(seed, name)[0], bug["reasons"][0]) for name, bug in drawn(seed).items()}
    right = (HERE / "right_checks.py").read_text(encoding="utf-8").partition("model\n")[2]
    bodies = {name: f"    ASKED[{bug['of']!r}](vae)" for name, bug in drawn(seed).items()}
    return {"answers.py": answers(named), "checks.py": _checks(right, bodies)} | {
        f"{name}.py": mended(seed, name) for name in drawn(seed)}


def answers(named):
    """answers.py"""
    text = '"""The line of the mistake in each module, as it was handed out, and what it is, in a word."""\n'
    for i, table in enumerate(("LINES", "REASONS")):
        rows = [f'    "{name}": {answer[0]},' if i == 0 else f'    "{name}": "{answer[1]}",'
                for name, answer in named.items()]
        text += "\n".join(["", f"{table} = {{", *rows, "}", ""])
    return text


def _checks(right, bodies=None):
    parts = [(HERE / "checks.py").read_text(encoding="utf-8"), right]
    for name in (f"bug{n}" for n in NUMBERS):
        says = f'    """Raises AssertionError if the module makes the mistake of {name}."""'
        parts.append(f"def check_{name}(vae):\n{says}\n{(bodies or {}).get(name, '    return None')}")
    return "\n\n\n".join(part.strip("\n") for part in parts if part) + "\n"


@functools.lru_cache(maxsize=64)
def handed_out(seed, name):
    """(text, numbers of the lines that count as the answer)"""
    bug = drawn(seed)[name]
    return assemble(bug, bug["forms"], np.random.default_rng(bug["seed"]), wrong=True)


def lines(seed, name):
    """The numbers of the lines that count as the answer."""
    return handed_out(seed, name)[1]


def reasons(seed, name):
    """The words that count as the answer."""
    return drawn(seed)[name]["reasons"]


@functools.lru_cache(maxsize=64)
def mended(seed, name):
    """The same module without the mistake."""
    bug = drawn(seed)[name]
    return assemble(bug, bug["forms"], np.random.default_rng(bug["seed"]), wrong=False)[0]


def another(seed, name, rng, *, wrong):
    """The same model in other forms, right or with the same mistake."""
    bug = drawn(seed)[name]
    forms = {of: str(rng.choice(fits(bug))) if wrong and of == bug["of"] else _form(of, bug, rng) for of in FORMS}
    return assemble(bug, forms, rng, wrong=wrong)[0]


# ── how a module is put together ──────────────────────────────────────────────────────────────


def assemble(bug, forms, rng, *, wrong):
    """(text, numbers of the marked lines) of a module."""
    text = written(forms)
    if wrong:
        old, new = next((way["old"], way["new"]) for way in bug["wrong"] if text.count(way["old"]) == 1)
        text = text.replace(old, new)
    for option, was, becomes in (("init", " / np.sqrt(rows)", " * {}"), ("beta", "beta=1.0", "beta={}"),
                                 ("beta1", "beta1=0.9", "beta1={}"), ("beta2", "beta2=0.999", "beta2={}")):
        if bug.get(option):
            text = text.replace(was, becomes.format(bug[option]))
    text = renamed(shuffled(text, rng), {old: str(rng.choice(new)) for old, new in RENAMES.items()})
    rows = text.splitlines()
    marked = [number for number, row in enumerate(rows, 1) if row.endswith(MARK)]
    return "\n".join(row.removesuffix(MARK) for row in rows) + "\n", marked


def written(forms):
    """vae.py with these functions ("activate", "VAE.load") in these forms."""
    rows = BASE.splitlines()
    for of in sorted(forms, key=place, reverse=True):  # from below: the lines above keep their numbers
        says = FORMS.get(of, {}).get(forms[of], {})
        if "new" in says:
            first, last = place(of)
            rows[first - 1:last] = says["new"].strip("\n").splitlines()
    return "\n".join(rows) + "\n"


@functools.cache
def place(of):
    """The first and the last line of a function of vae.py."""
    body = ast.parse(BASE).body
    for part in of.split("."):
        node = next(node for node in body if getattr(node, "name", None) == part)
        body = getattr(node, "body", [])
    return node.lineno, node.end_lineno


def shuffled(text, rng):
    """The text with its functions in another order; the classes come after them."""
    body, rows = ast.parse(text).body, text.splitlines()
    functions, classes = ([node for node in body if isinstance(node, kind)] for kind in (ast.FunctionDef, ast.ClassDef))
    order = [*(functions[i] for i in rng.permutation(len(functions))), *classes]
    head = "\n".join(rows[:functions[0].lineno - 1]).rstrip("\n")
    return "\n\n\n".join([head, *("\n".join(rows[node.lineno - 1:node.end_lineno]) for node in order)]) + "\n"


def renamed(text, names):
    """The text with other local names; attributes, comments and strings stay what they are."""
    alone = rf"(?<![.\w])(?:{'|'.join(map(re.escape, names))})\b"
    return re.sub(rf'"""[\s\S]*?"""|"[^"\n]*"|#[^\n]*|({alone})', lambda m: names[m[1]] if m[1] else m[0], text)


def answer_table(seed):
    """For the instructor: each module's lines, and what is wrong with it."""
    for name, bug in drawn(seed).items():
        text, numbers = handed_out(seed, name)
        shown = [f"{number}: {text.splitlines()[number - 1].strip()}" for number in numbers]
        yield "\n    ".join([f"{name} ({bug['name']}: {' or '.join(bug['reasons'])})", *shown, bug["what"]])


if __name__ == "__main__":
    from minivae.coursework.cli import number

    print("\n\n".join(answer_table(number(sys.argv[1]))))
