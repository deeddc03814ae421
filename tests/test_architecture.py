"""The house: a folder is a floor.  What lies on one may use what lies below it, and nothing else."""

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = ("backend", "console", "batch", "parallel", "fast", "ops", "distributions", "nn", "parts", "vae", "variants",
          "separation", "runs", "sound", "plots", "evaluation", "data", "training", "gradcheck", "gradient_table",
          "chapter", "coursework", "explorer", "bench", "cli", "__main__")
WINGS = ("coursework", "explorer", "bench")            # they use the house; only the command line knows them
PACKAGE = ROOT / "minivae"
FILES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
         for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}
MATHS = ("ops.", "distributions.", "nn.layers", "nn.image_layers", "nn.batch_norm", "parts.", "vae",
         "variants.conv_vae")


@cache
def tree(path: Path) -> ast.Module:
    """A file, read once for all: not to be changed."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(module: ast.AST) -> set[str]:
    """The dotted names of the modules that a file imports, wherever in it; `from a import b` may be a.b, a module."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            full = {f"{node.module}.{alias.name}": node.module for alias in node.names}
            found |= {name if name.removeprefix("minivae.") in FILES else module for name, module in full.items()}
    return found


def of_the_house(module: ast.AST) -> set[str]:
    """The house's own files among them: "ops.dense"; a folder's name is its __init__.py."""
    return {name.removeprefix("minivae.") for name in imports(module)} & FILES.keys()


@cache
def uses(name: str) -> set[str]:
    """The same of a file of the house."""
    return of_the_house(tree(FILES[name]))


def floor(name: str) -> str:
    return name.partition(".")[0]


def called(module: ast.AST) -> dict[str, int]:
    """What a file calls, by name -> line: "float", "np.asarray", ".item"."""
    found = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            f = node.func
            if isinstance(f, ast.Name):
                found[f.id] = node.lineno
            elif isinstance(f, ast.Attribute):
                found["." + f.attr] = node.lineno
                found[ast.unparse(f)] = node.lineno
    return found


def test_whoever_lists_the_house_sees_its_floors():
    assert {floor(name) for name in FILES} == set(FLOORS)
    assert len(FLOORS) <= 26


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_from_floors_below(name):
    above = FLOORS[FLOORS.index(floor(name)) + 1:]
    assert {other for other in uses(name) if floor(other) in above} == set()


@pytest.mark.parametrize("name", FLOORS)
def test_inside_a_folder_files_form_no_circle(name):
    inside = {file: {other for other in uses(file) if floor(other) == name}
              for file in FILES if floor(file) == name}
    list(TopologicalSorter(inside).static_order())     # raises CycleError, which names the circle
    users = {file for file, others in inside.items() if name in others and file != name}
    assert users == set(), "a folder's __init__.py is for those outside of it"


@pytest.mark.parametrize("wing", WINGS)
def test_wings_do_not_know_each_other_and_only_the_command_line_knows_them(wing):
    users = {floor(name) for name in FILES if wing in map(floor, uses(name))}
    assert users <= {wing, "cli"}


@pytest.mark.parametrize("name", [name for name in FLOORS if (PACKAGE / name).is_dir()])
def test_a_folder_says_what_lives_there(name):
    says = ast.get_docstring(tree(PACKAGE / name / "__init__.py"))
    assert len(says.splitlines()) >= 3, "what lives here, what may be touched"
    files = {path.stem for path in (PACKAGE / name).glob("*.py")} - {"__init__"}
    assert files - set(re.findall(r"\w+", says)) == set(), "the reader looks here for the way"


@pytest.mark.parametrize("name", [name for name in FLOORS if (PACKAGE / name).is_dir()])
def test_no_file_is_called_like_a_name_that_its_folder_offers(name):
    """Else `from minivae.sound import stft` is the function or the file; the reference lists two of one name."""
    offered = {alias.asname or alias.name for node in tree(PACKAGE / name / "__init__.py").body
               if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {path.stem for path in (PACKAGE / name).glob("*.py")} & offered == set()


def test_the_reader_of_imports_sees_them_all():
    """If it did not, the tests above would prove nothing."""
    code = ("import minivae.ops.dense\nfrom minivae import vae as v, nothing\n"
            "def f():\n    from minivae.data.own import g\n    from minivae.nn import Linear, layers\n")
    assert of_the_house(ast.parse(code)) == {"ops.dense", "vae", "data.own", "nn", "nn.layers"}
    assert of_the_house(tree(FILES["cli.look"])) >= {"training", "cli.shown", "runs", "plots"}


def test_only_the_backend_knows_cupy():
    for name, path in FILES.items():
        strings = {n.value for n in ast.walk(tree(path)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not any(i.split(".")[0] == "cupy" for i in imports(tree(path))), name
        assert ("cupy" in strings) == (name == "backend"), name


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith(MATHS)])
def test_the_maths_never_waits_for_a_gpu(name):
    """float(x) and x.item() wait; np.asarray and np.array of a device array raise.  Checks of whole data sets may."""
    module = tree.__wrapped__(FILES[name])                      # of its own
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef) and function.name in ("check", "check_images"):
            function.body = []
    waits = {"float", "int", "bool", ".item", ".tolist", "np.asarray", "np.array", "to_numpy"} & called(module).keys()
    allowed = {".tolist"} if name == "ops.arrays" else set()    # of sizes, which are ints
    assert waits <= allowed, {what: called(module)[what] for what in waits}


@pytest.mark.parametrize("name", FILES)
def test_nobody_draws_without_a_generator(name):
    """np.random.rand and np.random.seed are everybody's: a run could not be repeated."""
    used = {node.attr for node in ast.walk(tree(FILES[name]))
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np.random"}
    assert used <= {"default_rng", "Generator", "PCG64"}


def test_training_needs_nothing_but_numpy_and_its_few_helpers():
    """NumPy, threadpoolctl, matplotlib, Pillow, tqdm, safetensors, tyro, pooch, SciPy: no autodiff by a side door.

    (platformdirs is pooch's.  IPython, which a notebook has anyway, shows pictures in it.)
    """
    outside = {name.split(".")[0] for file, path in FILES.items() for name in imports(tree(path))
               if not file.startswith("bench.torch_")              # peers, and an extra
               and file not in ("bench.jax_peer", "fast.loops", "fast.inner")}
    outside -= set(sys.stdlib_module_names) | {"minivae"}
    outside -= {"wire", "sandbox", "things", "parts", "purity", "evaluations", "seccomp", "worlds", "watch", "meter",
                "counted", "confined"}
    assert outside == {"numpy", "threadpoolctl", "matplotlib", "tqdm", "safetensors", "tyro", "pooch",
                       "platformdirs", "scipy", "IPython", "PIL"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_can_be_read_in_one_sitting(name):
    """At most 300 lines a file, 45 a function without its docstring; the guide says 180 and 25."""
    path = FILES[name]
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno + 2 <= 45, f"{name}.{node.name}"


@pytest.mark.parametrize("name", FILES)
def test_a_file_and_what_it_offers_say_what_they_are_for(name):
    module = tree(FILES[name])
    assert ast.get_docstring(module)
    missing = [node.name for node in module.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
               and not node.name.startswith("_") and not ast.get_docstring(node)]
    assert missing == []
