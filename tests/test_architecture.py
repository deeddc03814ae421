"""The house: a file imports only from floors below its own, and stays short enough to read."""

import ast
import sys
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = {                                            # lowest first; files of one line do not import each other
    "0": ("backend", "team"),
    "0, gradients": ("gradcheck.mistakes", "gradcheck.subject"), "0, laws": ("gradcheck.laws", "gradcheck.report"),
    "0, differences": ("gradcheck.differences", "gradcheck.moves"),
    "0, judge": ("gradcheck.judge", "gradcheck.likely", "gradcheck.picture"),
    "0, check": ("gradcheck.check",), "0, above": ("gradcheck",),
    "1, on a GPU": ("kernels",), "1": ("ops",), "1, images": ("conv",),
    "2": ("distributions", "grey_levels"), "2, above": ("full_gaussian", "rank_one", "flows"),
    "3": ("arena",), "3, above": ("layers",), "3, images": ("conv_layers",),
    "4": ("optim", "likelihoods", "checkpoint", "data.dataset", "data.sources"),
    "4, data": ("data.download", "data.formats", "data.make_digits"), "4, own data": ("data.own",),
    "4, named data": ("data.named",), "4, above": ("data", "processes", "objectives", "posteriors"),
    "4, flows": ("flow_posteriors",), "4, workers": ("workers",),
    "5": ("vae", "runs"), "5, above": ("guard", "mlp_vae"), "5, images": ("conv_vae",),
    "6": ("evaluation", "plots"), "6, above": ("training", "ais", "diagnosis", "amortization", "imputation"),
    "7, variants": ("variants", "variants.structured_posterior", "variants.probabilistic_pca"),
    "7, deep": ("variants.deep_latent",),
    "7": ("recipe", "chapter", "gradient_table.case"),
    "7, rows": ("gradient_table.ops_rows", "gradient_table.layer_rows", "gradient_table.model_rows"),
    "7, more rows": ("gradient_table.posterior_rows", "gradient_table.deep_rows"),
    "7, above": ("gradient_table",),
    "8, bench": ("bench", "bench.rows", "bench.machine"),
    "8, contenders": ("bench.ours", "bench.inline", "bench.torch_peer", "bench.jax_peer", "bench.contest",
                      "bench.report"),
    "8, above the contenders": ("bench.breakdown", "bench.worker", "bench.run"),
    "8, course, alone": ("coursework", "coursework.wire", "coursework.things", "coursework.seccomp",
                         "coursework.worlds", "coursework.watch",
                         "coursework.cut", "coursework.report", "coursework.diagnose", "coursework.submission"),
    "8, course, sandbox": ("coursework.sandbox",),
    "8, course, processes": ("coursework.student_process", "coursework.student", "coursework.testing"),
    "8, course, assignments": ("coursework.assignment",), "8, course, above": ("coursework.grade", "coursework.build"),
    "8, course, top": ("coursework.verify",), "8, course, commands": ("coursework.cli",),
    "8, explorer, rounding": ("explorer.quantise",), "8, explorer, page": ("explorer.export",),
    "8, explorer": ("explorer",), "8, explorer, command": ("explorer.cli",),
    "8, targets": ("targets",), "8": ("cli",), "8, above": ("__main__",),
}
PACKAGE = ROOT / "minivae"
FILES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
         for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}
FLOOR = {name: i for i, floor in enumerate(FLOORS.values()) for name in floor}
MATHS = ("ops", "conv", "distributions", "layers", "conv_layers", "likelihoods", "objectives", "vae",
         "conv_vae")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(module: ast.AST) -> set[str]:
    """The dotted names that a file imports, wherever in it: `from a import b` may be a.b, a module."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def of_the_house(module: ast.AST) -> set[str]:
    names = {name.removeprefix("minivae.") for name in imports(module) if name.startswith("minivae.")}
    return names & FILES.keys()


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


def test_every_file_has_a_floor():
    assert sorted(FILES) == sorted(name for floor in FLOORS.values() for name in floor)


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_from_floors_below(name):
    assert {other for other in of_the_house(tree(FILES[name])) if FLOOR[other] >= FLOOR[name]} == set()


def test_the_reader_of_imports_sees_them_all():
    """If it did not, the test above would prove nothing."""
    code = "import minivae.ops\nfrom minivae import vae as v, nothing\ndef f():\n    from minivae.data.own import g\n"
    assert of_the_house(ast.parse(code)) == {"ops", "vae", "data.own"}
    assert of_the_house(tree(FILES["cli"])) >= {"recipe", "gradient_table", "data", "plots"}


def test_only_the_backend_knows_cupy():
    for name, path in FILES.items():
        strings = {n.value for n in ast.walk(tree(path)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not any(i.split(".")[0] == "cupy" for i in imports(tree(path))), name
        assert ("cupy" in strings) == (name == "backend"), name


@pytest.mark.parametrize("name", MATHS)
def test_the_maths_never_waits_for_a_gpu(name):
    """float(x) and x.item() wait; np.asarray and np.array of a device array raise.  Checks of whole data sets may."""
    module = tree(FILES[name])
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef) and function.name in ("check", "check_images"):
            function.body = []
    waits = {"float", "int", "bool", ".item", ".tolist", "np.asarray", "np.array", "to_numpy"} & called(module).keys()
    allowed = {".tolist"} if name == "ops" else set()           # of np.cumsum over sizes, which are Python's ints
    assert waits <= allowed, {what: called(module)[what] for what in waits}


@pytest.mark.parametrize("name", FILES)
def test_nobody_draws_without_a_generator(name):
    """np.random.rand and np.random.seed are everybody's: a run could not be repeated."""
    used = {node.attr for node in ast.walk(tree(FILES[name]))
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np.random"}
    assert used <= {"default_rng", "Generator", "PCG64"}


def test_training_needs_nothing_but_numpy_and_its_few_helpers():
    """NumPy, threadpoolctl, matplotlib, tqdm, safetensors, tyro and pooch: no autodiff comes in by a side door.

    (IPython, which a notebook has anyway, shows pictures in it.)
    """
    outside = {name.split(".")[0] for file, path in FILES.items() for name in imports(tree(path))
               if file not in ("bench.torch_peer", "bench.jax_peer")}      # those that we are timed against
    outside -= set(sys.stdlib_module_names) | {"minivae"}
    outside -= {"wire", "sandbox", "things", "seccomp", "worlds", "watch"}         # alone in the student's process
    assert outside == {"numpy", "threadpoolctl", "matplotlib", "tqdm", "safetensors", "tyro", "pooch", "IPython"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_can_be_read_in_one_sitting(name):
    """At most 300 lines a file, 45 a function without its docstring; the guide says 180 and 25."""
    path = FILES[name]
    assert len(path.read_text().splitlines()) <= 300
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
