"""`minivae bench`: that contenders do the same work, and what is said when one cannot.  No times are judged here."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, running

import minivae.bench.contest as contest
import minivae.bench.run as bench
from minivae.bench import machine, report, worker
from minivae.bench.against import compared, earlier
from minivae.bench.beside import beside, table
from minivae.bench.figures import ms, ratio
from minivae.bench.inline import Inline
from minivae.bench.ours import minivae, prepare, product_shapes, products
from minivae.bench.rows import ROWS, batches, build, chosen, from_dict, proof_inputs, to_dict
from minivae.cli import main

PEERS = ("torch", "torch_fused", "torch_channels_last", "jax")
BY_NAME = {row.name: row for row in ROWS}


def quick(name):
    return BY_NAME[name].quick()


# The rows

@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_runs(row):
    """One unit of work of the library, and of its matrix products where they are in the row."""
    row = row.quick()
    assert from_dict(json.loads(json.dumps(to_dict(row)))) == row
    work = minivae(row, 1)
    work.step()
    proof = work.prove(*proof_inputs(row))
    assert all(np.isfinite(a).all() and a.dtype == np.float32 for a in proof.values())
    if "products" in row.contenders:
        products(row, 1).step()


def test_rows_are_chosen_by_name():
    assert [row.name for row in chosen(("b", "a"))] == ["a", "b"]
    assert len(chosen(())) == len(ROWS)
    assert {row.name.split()[1] for row in chosen(("f",))} == {"batch", "hidden"}
    with pytest.raises(ValueError, match="rows: got nonsense"):
        chosen(("a", "nonsense"))


def test_batches_hold_all_digits_in_one_order():
    for name in ("a", "f batch 4096"):
        parts = batches(BY_NAME[name])
        assert {part.shape for part in parts} == {(BY_NAME[name].batch, 784)}
        assert all(part.dtype == np.float32 for part in parts)
    np.testing.assert_array_equal(batches(BY_NAME["a"])[3], np.concatenate(batches(BY_NAME["f batch 32"])[12:16]))


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_the_products_are_those_of_the_model(name):
    """Every matrix of the model is there once, with its input and output sizes; only the data needs no dx."""
    row = BY_NAME[name]
    parameters = build(row).arena.parameters
    sizes = sorted(p.value.size for path, p in parameters.items() if path.endswith("W"))
    shapes = product_shapes(row)
    assert sorted(I * O for _, I, O, _ in shapes) == sizes
    assert [need_dx for *_, need_dx in shapes] == [False] + [True] * (len(shapes) - 1)


def test_inline_is_the_library():
    """The same noise, three steps: the same parameters, to rounding."""
    row = BY_NAME["overhead"].quick()
    ours, inline = prepare(build(row), 1), Inline(row)
    rngs = [np.random.default_rng(5) for _ in range(2)]
    for x in batches(row)[:3]:
        one, two = ours.train_step(x, rngs[0]), inline.step(x, rngs[1])
        np.testing.assert_allclose([one[k] for k in sorted(one)], [two[k] for k in sorted(two)], rtol=1e-5)
    a, b = ours.arena.value, inline.model.arena.value
    assert np.linalg.norm(a - b) < 1e-6 * np.linalg.norm(a - build(row).arena.value)


# The peers

@pytest.mark.peers
@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e", "g", "h", "i", "j", "k"])
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_peers_do_the_same_work(name, peer):
    """Gradients of every parameter (probabilities, log weights) from the same weights and noise, in float32."""
    row = quick(name)
    if peer not in row.contenders:
        pytest.skip("not in this row")
    pytest.importorskip(contest.NEEDS[peer])
    inputs = proof_inputs(row)
    ours, theirs = minivae(row, 1).prove(*inputs), worker.builder(peer)(row, 1)
    theirs.prove(*inputs)
    worst, where = contest.difference(theirs.prove(*inputs), ours)
    assert worst < row.tolerance, where
    theirs.step()
    theirs.wait()


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_jax_adam_is_adam():
    """The one hand-written optimizer among the peers, against ours: five steps."""
    pytest.importorskip("jax")
    from minivae.backend import device
    from minivae.bench.jax_peer import adam
    from minivae.bench.rows import LEARNING_RATE
    from minivae.nn import Adam, Arena, Parameter
    rng = np.random.default_rng(0)
    start, optimizer = rng.standard_normal(50), Adam(LEARNING_RATE)
    arena = Arena({"p": Parameter(start)}, device("cpu"))
    theirs = (arena.value.copy(), np.zeros(50, np.float32), np.zeros(50, np.float32), np.float32(0))
    for _ in range(5):
        grad = rng.standard_normal(50).astype(np.float32)
        arena.parameters["p"].grad = grad
        arena.grad[...] = grad
        optimizer.step(arena)
        theirs = adam(*theirs[:3], theirs[3] + 1, grad)
    np.testing.assert_allclose(arena.value - start, theirs[0] - start, rtol=1e-3, atol=1e-6)


# The contest

def test_a_command_writes_what_it_measured(tmp_path, capsys):
    """minivae alone: no ratios, but times, a breakdown that adds up, and files that say so."""
    arguments = ["--contenders", "minivae", "products", "--bursts", "2", "--threads", "1", "--quick"]
    rows = ("a", "d", "f batch 32")
    assert main(["bench", "--rows", *rows, *arguments, "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.md", "bench.png"}
    found = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert found["rows"].keys() == set(rows)
    assert all(len(times) == 2 and min(times) > 0.0 for row in found["rows"].values()
               for of in ("seconds", "processor") for times in row[of].values())
    pieces = found["rows"]["a"]["breakdown"]
    parts = [pieces[name] for name in ("matrix products", "elementwise", "random numbers", "optimizer", "rest")]
    assert sum(parts) == pytest.approx(pieces["whole"])
    assert pieces["optimizer"] > 0.0
    assert found["rows"]["a"]["about"]["minivae"]["pools"][0]["num_threads"] == 1
    assert "A quick run" in (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert "Traceback" not in capsys.readouterr().err


def test_an_absent_peer_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contest.importlib.util, "find_spec", lambda name: None if name == "torch" else True)
    assert main(["bench", "--rows", "a", "--contenders", "minivae", "torch", "--quick", "--threads", "1",
                 "--out", str(tmp_path)]) == 0
    for text in (capsys.readouterr().out, (tmp_path / "bench.md").read_text(encoding="utf-8")):
        assert re.search(r'not installed: torch\b.*pip install -e "\.\[peers,fast\]"', text)
        assert "nobody proves the gradients" in text


@pytest.mark.parametrize(("arguments", "words"), [
    (["--rows", "z"], "rows: got z"), (["--contenders", "theano"], "contenders: got theano"),
    (["--bursts", "0"], "bursts: got 0"), (["--threads", "0"], "threads: got 0"), (["--threads", "9999"], "at most"),
    (["--beside", "2", "--bursts", "0"], "bursts: got 0"), (["--beside", "2", "--threads", "9999"], "at most"),
    (["--beside", "2", "--contenders", "theano"], "contenders: got theano"),
    (["--beside", "2", "--against", "bench.json"], "against: compares contenders that take turns"),
])
def test_bad_arguments_are_refused(arguments, words, tmp_path, capsys):
    assert main(["bench", *arguments, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [[], ["--beside", "2"]])
def test_a_contest_of_nobody_is_refused(arguments, tmp_path, capsys):
    assert main(["bench", *arguments, "--rows", "d", "--contenders", "products", "--out", str(tmp_path)]) == 1
    assert "none of these contenders is in these rows, and installed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_quick_run_of_copies_says_that_it_is_one(tmp_path, capsys):
    assert main(["bench", "--beside", "2", "--rows", "d", "--contenders", "minivae", "--quick", "--threads", "1",
                 "--out", str(tmp_path)]) == 0
    for text in (capsys.readouterr().out, (tmp_path / "beside.md").read_text(encoding="utf-8")):
        assert "A quick run" in text


@pytest.mark.parametrize(("arguments", "bursts"), [
    ([], {"a": 15, "e": 9, "g": 3}), (["--bursts", "12"], {"a": 12, "e": 12, "g": 12}),
    (["--quick"], {"a": 2, "e": 2, "g": 2}), (["--bursts", "12", "--quick"], {"a": 12, "e": 12, "g": 12}),
])
def test_whoever_asks_for_bursts_gets_as_many_of_every_row(arguments, bursts, tmp_path, monkeypatch):
    found = {}

    def compete(row, names, *, bursts, keep, **_):
        found[row.name] = bursts
        keep({"title": row.title, "kind": row.kind, "threads": 1, "steps": 1, "seconds": {}, "about": {}, "proof": {}})

    monkeypatch.setattr(bench, "compete", compete)
    assert main(["bench", "--rows", *bursts, *arguments, "--out", str(tmp_path)]) == 0
    assert found == bursts


@pytest.mark.parametrize(("seconds", "text"), [(4.267e-4, "0.4267"), (0.010981, "10.98"), (0.99996, "1000"),
                                               (9.9468, "9,947")])
def test_milliseconds_are_written_out(seconds, text):
    assert ms(seconds) == text


SCRIPT = """
import json, sys
name = sys.argv[1]
print("{\\"versions\\": {}, \\"pools\\": []}", flush=True)
for line in sys.stdin:
    command, _, argument = line.strip().partition(" ")
    if command == "prove":
        import numpy as np
        np.savez(argument, weights=np.full(3, 1.1 if name == "torch" and WRONG else 1.0))
        print("{}", flush=True)
    else:
        if DIES:
            sys.exit("the sky fell on " + name)
        bursts = globals().get("bursts", -1) + 1
        others = OTHERS[bursts % len(OTHERS)] if name == "minivae" else None
        seconds = 0.001 if name == "minivae" else 0.002
        print(json.dumps({"seconds": seconds + 0.1 * (others or 0.0), "processor": 0.003, "others": others,
                          "peak": None}), flush=True)
"""


def pretend(monkeypatch, *, wrong=False, dies=False, others=(None,)):
    """Contenders that only follow the protocol.

    others   what their cores did for somebody else in the first burst (the one that warms), the second, …
    """
    script = SCRIPT.replace("WRONG", str(wrong)).replace("DIES", str(dies)).replace("OTHERS", repr(others))
    monkeypatch.setattr(contest, "WORKER", (sys.executable, "-c", script))
    monkeypatch.setattr(contest, "installed", lambda names: (list(names), []))
    monkeypatch.setattr(bench, "installed", contest.installed)


def test_the_turns(monkeypatch):
    pretend(monkeypatch)
    kept = []
    result = contest.compete(quick("d"), ["minivae", "torch"], bursts=3, threads=1,
                             keep=lambda result: kept.append(json.dumps(result)))
    assert result["seconds"] == {"minivae": [0.001] * 3, "torch": [0.002] * 3}
    assert result["proof"] == {"minivae": 0.0, "torch": 0.0}
    assert result["beside"] == {"minivae": 0, "torch": 0}
    assert len(kept) == 3
    assert ratio(result, "minivae") == 0.5
    assert ratio(result, "minivae", "processor") == 1.0


def test_a_burst_beside_other_work_is_measured_again(monkeypatch):
    """Twice at most, and the least disturbed counts: here the others' seconds also tell the bursts apart."""
    monkeypatch.setattr(contest, "PAUSE", 0.0)
    pretend(monkeypatch, others=(0.0, 0.0, 0.5, 0.00001, 0.9, 0.3, 0.4, 0.0))
    result = contest.compete(quick("d"), ["minivae", "torch"], bursts=3, threads=1)
    assert result["seconds"]["minivae"] == pytest.approx([0.001, 0.001001, 0.031])
    assert result["beside"] == {"minivae": 1, "torch": 0}
    page = report.markdown({"machine": machine.machine(), "cores": 2, "notes": [], "rows": {"d": result}})
    assert "beside other work, also when measured again: 1 of 3 bursts of minivae in row d." in page


@pytest.mark.parametrize("steps", [1, 3])
def test_what_several_steps_take_at_first_is_not_counted(steps, monkeypatch):
    """One by itself, a long one, is."""
    monkeypatch.setattr(worker, "SETTLING", 0.05)
    taken, waits = [], []
    work = worker.Work(lambda: (time.sleep(0.01), taken.append(len(waits))), lambda x, eps: {},
                       lambda: waits.append(len(taken)))
    found = worker.timed(work, steps)
    assert taken.count(1) == steps
    assert (taken.count(0) > 0) == (steps > 1)
    assert waits == [taken.count(0), len(taken)]
    assert found["seconds"] >= 0.01 * steps


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="only Linux tells how busy a core is")
def test_a_core_s_work_for_others_is_seen():
    """A process that computes on our cores, then nobody."""
    cores = os.sched_getaffinity(0)
    work = worker.Work(lambda: time.sleep(0.1), lambda x, eps: {})
    code = f"import os, time\nos.sched_setaffinity(0, {{{min(cores)}}})\nprint(flush=True)\nwhile True: pass"
    with running("-c", code, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        busy = worker.timed(work, 5)
        process.kill()
    assert 0.05 < busy["others"] * len(cores) <= len(cores) * busy["seconds"] + 0.1    # beside our own tests: less
    assert busy["processor"] < 0.2
    assert machine.busy([10_000]) is None


def test_what_slows_a_library_is_said_on_the_page_and_on_the_console(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(contest, "PAUSE", 0.0)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")         # this the contest sets for each contender
    pretend(monkeypatch)
    assert main(["bench", "--rows", "d", "--contenders", "torch", "--out", str(tmp_path)]) == 0
    for text in (capsys.readouterr().out, (tmp_path / "bench.md").read_text(encoding="utf-8")):
        assert "NOT WHAT THIS MACHINE CAN DO: OPENBLAS_CORETYPE=Prescott is set" in text
        assert "OMP_NUM_THREADS" not in text


def test_an_earlier_run_is_compared_with(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(contest, "PAUSE", 0.0)
    pretend(monkeypatch)
    arguments = ["bench", "--rows", "d", "--contenders", "minivae", "torch", "--quick", "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    before = json.loads((tmp_path / "one/bench.json").read_text(encoding="utf-8"))
    before["rows"]["d"]["seconds"] |= {"minivae": [0.004, 0.004], "torch": [0.004, 0.004]}
    (tmp_path / "then.json").write_text(json.dumps(before), encoding="utf-8")
    assert main([*arguments, str(tmp_path / "two"), "--against", str(tmp_path / "then.json")]) == 0
    for text in (capsys.readouterr().out, (tmp_path / "two/bench.md").read_text(encoding="utf-8")):
        assert "| d | minivae | 4 (1.00) | 1 (0.50) | 0.50 |" in text
        assert "| d | torch | 4 (1.00) | 2 (1.00) | 1.00 |" in text


def test_runs_without_pytorch_are_compared_by_their_times():
    then = {"when": "", "machine": {"cpu": "A"}, "rows": {"d": {"seconds": {"minivae": [0.004], "jax": [0.1]}}}}
    rows = {"d": {"seconds": {"minivae": [0.002], "inline": [0.1]}}, "e": {"seconds": {"minivae": [0.1]}}}
    lines = list(compared({"rows": rows, "against": then}))
    assert [line for line in lines if line.startswith(("| d", "| e"))] == [
        "| d | minivae | 4 | 2 | 0.50 |"]
    assert "an unknown day on A" in lines[0]


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '{"rows": {"a": 1}, "machine": {"cpu": ""}}'])
def test_what_is_no_earlier_run_is_refused_before_anything_is_measured(text, tmp_path, capsys):
    if text is not None:
        (tmp_path / "then.json").write_text(text, encoding="utf-8")
    assert main(["bench", "--rows", "d", "--out", str(tmp_path / "out"), "--against", str(tmp_path / "then.json")]) == 2
    assert re.search(r"against: got .*then\.json, expected the bench\.json of an earlier run", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="against"):
        earlier(tmp_path / "then.json")


def test_different_work_is_not_timed(monkeypatch, tmp_path, capsys):
    pretend(monkeypatch, wrong=True)
    assert main(["bench", "--rows", "d", "--contenders", "minivae", "torch", "--out", str(tmp_path)]) == 1
    assert re.search(r"weights of minivae differs from that of torch by 9\.1e-02 .*not timed", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_dead_contender_is_named_with_its_last_words(monkeypatch, tmp_path, capsys):
    pretend(monkeypatch, dies=True)
    assert main(["bench", "--rows", "d", "--contenders", "jax", "--out", str(tmp_path)]) == 1
    assert re.search(r"jax died in row d \(exit code 1\); its last words:\nthe sky fell on jax",
                     capsys.readouterr().err)


def test_what_was_measured_before_a_death_is_kept(monkeypatch, tmp_path):
    pretend(monkeypatch)
    compete = contest.compete

    def second_fails(row, *arguments, **options):
        if row.name in ("e", "g"):
            raise contest.BenchError("died")
        return compete(row, *arguments, **options)

    monkeypatch.setattr(bench, "compete", second_fails)
    assert main(["bench", "--rows", "d", "e", "--contenders", "torch", "--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["rows"].keys() == {"d"}


@pytest.mark.parametrize(("found", "worst"), [
    ({"W": [1.0, 0.0]}, 0.0), ({"W": [1.0, 1e-3]}, 1e-3), ({"W": [np.nan, 0.0]}, np.inf), ({}, np.inf),
    ({"W": [1.0]}, np.inf), ({"W": [1.0, 0.0], "b": [0.0]}, np.inf)])
def test_the_difference(found, worst):
    arrays = {name: np.array(a) for name, a in found.items()}
    assert contest.difference(arrays, {"W": np.array([1.0, 0.0])})[0] == pytest.approx(worst)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks for children in Linux's /proc")
@pytest.mark.parametrize("seconds", [0.3, 3.0])
def test_ctrl_c_leaves_no_process(tmp_path, seconds):
    """While they are built, and while they take turns."""
    with running("-m", "minivae", "bench", "--quick", "--rows", "a", "--contenders", "minivae", "products",
                 "--bursts", "100000", "--threads", "1", "--out", tmp_path) as process:
        while not (found := children(process.pid)):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(seconds)
        if seconds > 1:
            while not (tmp_path / "bench.json").exists():
                assert process.poll() is None
                time.sleep(0.01)
        found |= children(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert len(found) >= 2 or seconds < 1
    assert not [pid for pid in found if os.path.exists(f"/proc/{pid}")]
    if seconds > 1:
        assert json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["rows"]["a"]["seconds"]["minivae"]


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return {int(child) for child in file.read().split()}
    except FileNotFoundError:
        return set()


# The report

def made_up():
    def row(title, *, kind="step", breakdown=None, **seconds):
        more = {"breakdown": breakdown} if breakdown else {}
        about = {"versions": {"numpy": "2.0"}, "pools": [
            {"internal_api": "openblas", "version": "0.3", "architecture": "Zen", "num_threads": 2}]}
        return {"title": title, "kind": kind, "threads": 2, "steps": 10, "seconds": seconds,
                "processor": {name: [1.5 * s for s in times] for name, times in seconds.items()},
                "beside": dict.fromkeys(seconds, 0),
                "memory": dict.fromkeys(seconds, 7_000_000), "about": dict.fromkeys(seconds, about),
                "proof": dict.fromkeys(seconds, 2e-7), **more}

    pieces = {"matrix products": 2.0, "elementwise": 1.0, "random numbers": 0.1, "optimizer": 0.7, "rest": 0.2,
              "whole": 4.0, "python": 0.15}
    rows = {"a": row("step", minivae=[0.003, 0.004, 0.005, 0.003], torch=[0.005, 0.005, 0.005, 0.007], jax=[],
                     breakdown=pieces),
            "e": row("NLL", kind="nll", minivae=[3.0], torch=[4.0]),
            "f batch 32": row("batch 32", minivae=[0.001], torch=[0.002], products=[0.0005]),
            "f batch 64": row("batch 64", minivae=[0.002], torch=[0.003], products=[0.001]),
            "f hidden 128": row("hidden 128", minivae=[0.001], torch=[0.001], products=[0.0005]),
            "overhead": row("overhead", minivae=[0.102, 0.103], inline=[0.1, 0.1])}
    machine = {"cpu": "A processor", "caches": "L1d 32K", "system": "Linux", "instructions": "AVX2"}
    return {"machine": machine, "cores": 2, "notes": ["A note."], "rows": rows}


def test_the_page():
    page = report.markdown(made_up())
    for line in ("A processor, 2 cores usable; vector instructions: AVX2; caches of a core: L1d 32K; Linux.",
                 "Versions: numpy 2.0. Thread pools: openblas 0.3 Zen.", "A note.",
                 "| | (a) step | (e) NLL |", "| minivae | 0.70 | 0.75 |", "| torch | 1.00 | 1.00 |", "| jax |  |  |",
                 "| a | minivae | 2 | 4 × 10 | 3.5 | 3 to 4.25 | 5.25 |  |",
                 "| e | torch | 2 | 1 × 10 | 4,000 | 4,000 to 4,000 | 6,000 | 7.0 MB |",
                 "| batch 64 | 2 (0.67) | 3 (1.00) | 1 (0.33) |",
                 "| a | 2 (50%) | 1 (25%) | 0.1 (2%) | 0.7 (18%) | 0.2 (5%) | 4 (100%) | 0.15 (4%) |"):
        assert line in page.splitlines(), line
    assert page.count("| minivae | 0.70 | 0.75 |") == 2            # by the clock, and in processor time
    assert "Processor time, of all threads, as a multiple of PyTorch eager's" in page
    assert "beside other work" not in page
    assert "Value and pullback cost +2.5% over" in page
    assert "all gradients were compared with PyTorch's" in page


def test_a_page_without_pytorch_has_no_ratios():
    found = made_up()
    for row in found["rows"].values():
        row["seconds"].pop("torch", None)
        row["proof"].pop("torch", None)
    page = report.markdown(found)
    assert "multiple of PyTorch" not in page
    assert "compared with PyTorch" not in page
    assert "| batch 64 | 2 | 1 |" in page


def test_the_curves():
    fig = report.scaling(made_up()["rows"])
    left, right = fig.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in left.lines}
    assert lines["minivae"] == [[32.0, 0.5], [64.0, pytest.approx(2 / 3)]]
    assert lines["torch"] == [[32.0, 1.0], [64.0, 1.0]]
    assert right.lines[0].get_xydata().tolist() == [[128.0, 1.0]]


def test_nothing_of_the_peers_is_imported_by_the_command():
    code = "import sys, minivae.cli; print(sorted({'torch', 'jax'} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True,
                         encoding="utf-8").stdout
    assert out.strip() == "[]"


# ── beside other work ───────────────────────────────────────────────────────────────────────────


def test_two_trainings_at_once_each_take_their_share():
    """With BLAS's own threads each took 5 to 30 times as long (bench --beside 2); twice is fair, the bound is wide."""
    row = BY_NAME["a"]
    times = beside(replace(row, steps=15), ["minivae"], copies=2, bursts=4, threads=contest.cores())["minivae"]
    assert len(times["alone"]) == 4
    assert len(times["together"]) == 8
    assert min(times["together"]) < 4.0 * max(times["alone"])
    assert statistics.median(times["together"]) < 5.0 * statistics.median(times["alone"])


def test_the_table_of_copies_says_how_many_times_as_long(capsys, tmp_path):
    row = BY_NAME["a"]
    said = table(row, {"minivae": {"alone": [0.010, 0.012], "together": [0.022] * 4}}, 2)
    assert "| minivae | 11.0 ms | 22.0 ms | 2.00 |" in said
    with pytest.raises(ValueError, match="beside: got 0, expected at least 2 copies at once"):
        bench.run_beside((), (), copies=0, bursts=1, threads=1, out=tmp_path)
