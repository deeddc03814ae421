"""What is collected somewhere else: another clock, another hash seed, another machine, and no extra installed.

    python tests/collection.py SETTING        the ids of all tests in their order, one a line, in the repository
"""

import contextlib
import io
import os
import sys
import time
from importlib.machinery import PathFinder

import pytest

EXTRAS = ("torch", "jax", "cupy", "mpi4py", "playwright", "sphinx", "myst_nb", "jupytext", "furo",
          "sphinx_codeautolink", "ipykernel", "IPython")
REAL = time.time


def elsewhere() -> None:
    """A later clock, one processor more than anybody has, nobody's user, no programs, no data, no extras."""
    later = 123_456_789.7
    time.time = lambda: REAL() + later
    time.time_ns = lambda: time.time().__int__() * 10 ** 9
    time.localtime = time.gmtime = lambda seconds=None, convert=time.gmtime: convert(
        time.time() if seconds is None else seconds)
    os.cpu_count = lambda: 1025
    os.getuid = os.geteuid = lambda: 12_345
    os.environ["PATH"] = "/nowhere"
    for name in ("MINIVAE_DATA", "MINIVAE_BOOK"):
        os.environ.pop(name, None)
    find = PathFinder.find_spec
    PathFinder.find_spec = lambda name, path=None, target=None: (
        None if name.partition(".")[0] in EXTRAS else find(name, path, target))


class Ids:
    """The plugin that notes what was collected."""

    def pytest_collection_finish(self, session):
        self.found = [item.nodeid for item in session.items]


if __name__ == "__main__":
    if sys.argv[1] == "elsewhere":
        elsewhere()
    ids, said = Ids(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["--collect-only", "-qq", "-n", "0", "-m", "", "-p", "no:randomly", "-p",
                            "no:cacheprovider", "--assert", "plain"], plugins=[ids])
    if code:
        raise SystemExit(said.getvalue()[-3000:])
    print("\n".join(ids.found))
