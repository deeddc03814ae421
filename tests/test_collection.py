"""The same tests in the same order, whenever and wherever they are collected: or two workers may not agree on them."""

import os
import subprocess
import sys

from conftest import ROOT


def test_everybody_collects_the_same_tests_in_the_same_order(pytestconfig):
    """Here, and with another clock, hash seed and machine, without extras: see collection.py.  Both at once."""
    collecting = [subprocess.Popen([sys.executable, ROOT / "tests" / "collection.py", setting], cwd=ROOT, text=True,
                                   stdout=subprocess.PIPE, env=os.environ | {"PYTHONHASHSEED": seed}, encoding="utf-8")
                  for setting, seed in (("here", "1"), ("elsewhere", "2"))]
    here, there = ([*process.communicate()[0].splitlines(), process.returncode] for process in collecting)
    assert here[-1] == there[-1] == 0, (here[-30:], there[-30:])
    assert len(here) > 5000
    assert {name for name in here if name not in there} == set() == {name for name in there if name not in here}
    assert here == there


def test_every_test_has_a_time_limit(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("timeout")
    assert 0 < float(pytestconfig.getini("timeout")) <= 900
