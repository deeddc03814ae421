"""The same tests in the same order, whenever and wherever they are collected: or two workers may not agree on them."""

import os
import subprocess
import sys

from conftest import COLLECTED, ROOT


def collected(setting: str, seed: str) -> list[str]:
    """What another process collects: see collection.py."""
    run = subprocess.run([sys.executable, ROOT / "tests" / "collection.py", setting], cwd=ROOT, encoding="utf-8",
                         stdout=subprocess.PIPE, env=os.environ | {"PYTHONHASHSEED": seed}, check=True)
    return run.stdout.splitlines()


def test_everybody_collects_the_same_tests_in_the_same_order(pytestconfig):
    """Here, and with another clock, hash seed and machine, without extras.

    Here is this process, if it has collected them all.
    """
    there, here = collected("elsewhere", "2"), pytestconfig.stash[COLLECTED]
    if len(here) < len(there):
        here = collected("here", "1")
    assert len(here) > 5000
    assert {name for name in here if name not in there} == set() == {name for name in there if name not in here}
    assert here == there


def test_every_test_has_a_time_limit(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("timeout")
    assert 0 < float(pytestconfig.getini("timeout")) <= 900
