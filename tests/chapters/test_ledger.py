"""The ledger: README's table is what the runs on record make it; what is asked is computed from figures, both ways."""

import importlib.util
import json
import os
import sys

import numpy as np
import pytest
from conftest import ROOT

from minivae.chapter import options, parser
from minivae.evaluation import Estimate

sys.path.insert(0, str(ROOT / "chapters"))
import ledger

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNS = {path.stem: path for path in sorted(ledger.KEPT.glob("*"))}
BY_KEY = {system.key: system for system in ledger.SYSTEMS}


def judge(system):
    """The chapter's function that says whether what is asked is so."""
    spec = importlib.util.spec_from_file_location(system.script.stem, system.script)
    spec.loader.exec_module(chapter := importlib.util.module_from_spec(spec))
    return getattr(chapter, system.judge)


def estimates(figures):
    return {name: value if isinstance(value, Estimate) else Estimate(*value) if isinstance(value, tuple) else
            Estimate(float(value), np.nan) for name, value in figures.items()}


# figures that do all that is asked; and, for each thing that is asked, what makes that alone not so
MADE_UP = {
    "vae": ({"−ELBO": 4, "of 5 draws": 3, "of 50 draws": 2, "of 500 draws": 1}, [{"of 500 draws": 2.5}]),
    "learned_noise": ({"bits/dim, σ = 1": 9, "bits/dim, one σ": 5, "bits/dim, σ of every pixel": 4,
                       "σ² / training MSE": 1.02},
                      [{"σ² / training MSE": 0.96}, {"bits/dim, σ = 1": 4.5}, {"bits/dim, σ of every pixel": 6}]),
    "full_covariance": ({"log p(x) less its bound": 1e-12, "the best diagonal's gap": 2, "by the formula": 2},
                        [{"log p(x) less its bound": 1e-5}, {"by the formula": 2.1}]),
    "change_of_variables": ({"∫ q, full": 1.0001, "∫ q, planar": 0.9999, "log|det| off by": 1e-9},
                            [{"∫ q, planar": 0.99}, {"log|det| off by": 1e-3}]),
    "deep_latent": ({"rank one − diagonal, one layer": (0.3, 0.1), "rank one − diagonal, two layers": (0.1, 0.1),
                     "squared error saved, left half": (0.1, 0.01), "squared error saved, random 60%": (0.1, 0.01)},
                    [{"rank one − diagonal, one layer": (-0.1, 0.1)}, {"rank one − diagonal, two layers": (-0.1, 0.1)},
                     {"squared error saved, random 60%": (0.1, 0.06)}]),
    "beta_vae": ({"Higgins, β: 4 − 1": (0.3, 0.1), "MIG, β: 4 − 1": (0.3, 0.1), "nll, β: 4 − 1": (20, 1)},
                 [{"Higgins, β: 4 − 1": (0.003, 0.01)}, {"MIG, β: 4 − 1": (-0.3, 0.1)}, {"nll, β: 4 − 1": (-1, 1)}]),
    "capacity": ({"KL, C → 12": (12.1, 0.1)}, [{"KL, C → 12": (11.3, 0.1)}]),
    "cvae": ({"gain": (37, 0.3)}, [{"gain": (19, 0.3)}]),
    "m1m2": ({"SVM less M1+M2": (9.8, 0.3)}, [{"SVM less M1+M2": (4.9, 0.3)}]),
    "gmvae": ({"spiral, % right": (98, 1), "GMVAE, % right": (71, 1), "k-means on pixels, % right": (53, 1),
               "k-means on a VAE's codes, % right": (64, 1)},
              [{"spiral, % right": (83, 1)}, {"k-means on pixels, % right": (72, 1)},
               {"k-means on a VAE's codes, % right": (72, 1)}]),
    "vampprior": ({"less N(0, I)": (4.8, 0.1)}, [{"less N(0, I)": (0.25, 0.1)}]),
    "two_stage": ({"Fréchet distance, one stage": (8, 0.1), "two stages": (3.9, 0.1)}, [{"two stages": (4.1, 0.1)}]),
    "infinite": ({"components of three lines": (3, 0.0), "difference": (-18, 1)},
                 [{"components of three lines": (3, 0.3)}, {"difference": (-1, 1)}]),
    "structured": ({"seed by seed": (250, 10), "left, right": (0.4, 0.01), "drawn, right": (0.45, 0.01),
                    "left, down": (0.5, 0.01), "drawn, down": (0.55, 0.01)},
                   [{"seed by seed": (-250, 10)}, {"drawn, down": (0.61, 0.01)}]),
    "vq_vae": ({"perplexity, bottom": (46, 1), "perplexity, top": (54, 1), "bits by frequency": (978, 5),
                "bits under the prior": (452, 16), "10⁴ MSE, one less two": (3.4, 0.2)},
               [{"perplexity, top": (31, 1)}, {"bits under the prior": (980, 16)},
                {"10⁴ MSE, one less two": (-3.4, 0.2)}]),
    "vae_gan": ({"seed by seed": (-0.6, 0.1), "largest gradient where it is stopped": 0},
                [{"seed by seed": (-0.15, 0.1)}, {"largest gradient where it is stopped": 1e-9}]),
    "cvae_gan": ({"CVAE-GAN less CVAE": (0.2, 0.01)}, [{"CVAE-GAN less CVAE": (0.01, 0.01)}]),
    "text": ({"more than the LSTM": (3, 1), "more than the vanilla writer": (3, 1)},
             [{"more than the LSTM": (1, 1)}, {"more than the vanilla writer": (1, 1)}]),
    "speech": ({"replaced less clean": (20, 4), "perturbed less clean": (16, 3), "truly noisy less replaced": (15, 1)},
               [{"replaced less clean": (4, 1)}, {"perturbed less clean": (4, 1)},
                {"truly noisy less replaced": (-1, 1)}]),
    "separation": ({"MVAE less ILRMA": (2.0, 0.8)}, [{"MVAE less ILRMA": (0.6, 0.8)}]),
    "zero_vae_gan": ({"unseen classes, % right": (60, 5), "chance": (12.5, 0.0), "less the linear map": (3.2, 1.5)},
                     [{"chance": (31, 0.0)}, {"less the linear map": (3.2, 1.9)}]),
}


@pytest.mark.parametrize("key", [system.key for system in ledger.SYSTEMS if system.script])
def test_what_is_asked_is_computed_from_figures(key):
    """Each thing that is asked is so with these, and alone is not with those."""
    figures, changes = MADE_UP[key]
    accepted = judge(BY_KEY[key])
    asked = accepted(estimates(figures))
    assert list(asked.values()) == [True] * len(changes)
    for what, change in zip(asked, changes):
        assert change.keys() <= figures.keys()
        wrong = accepted(estimates(figures | change))
        assert [name for name, so in wrong.items() if not so] == [what]


@pytest.mark.parametrize("key", RUNS)
def test_a_run_on_record_is_what_its_figures_say(key):
    """The chapter as it is now judges the figures as it did then; means and errors are those of the seeds' values."""
    assert RUNS[key].suffix == ".json"
    run = ledger.read(RUNS[key])
    assert run["system"] == key
    figures = {name: Estimate(f["mean"], np.nan if f["standard_error"] is None else f["standard_error"])
               for name, f in run["figures"].items()}
    assert {what: bool(so) for what, so in judge(BY_KEY[key])(figures).items()} == run["asked"]
    for name, f in run["figures"].items():
        if f["values"] is not None:
            again = Estimate.of(np.array(f["values"]))
            assert len(f["values"]) == len(run["seeds"]), name
            assert (again.mean, again.standard_error) == pytest.approx((f["mean"], f["standard_error"]))


def test_readme_has_the_table_that_the_runs_make():
    """And any other would be replaced by it."""
    assert ledger.written(README) == README, "python chapters/ledger.py writes it"
    assert ledger.written(README.replace("| CVAE", "| a CVAE").replace("not met", "met")) == README
    with pytest.raises(ledger.LedgerError, match="expected the table between"):
        ledger.written(README.replace(ledger.END, ""))


def test_every_variant_s_chapter_has_its_system():
    assert len(BY_KEY) == len(ledger.SYSTEMS) == 21
    numbers = {int(path.name[2:4]) for path in (ROOT / "chapters").glob("ch*.py")}
    assert {number for number in numbers if number >= 20} <= {system.chapter for system in ledger.SYSTEMS}
    for system in filter(lambda system: system.script, ledger.SYSTEMS):
        assert f'.record("{system.key}"' in system.script.read_text(encoding="utf-8")
        doc = system.script.read_text(encoding="utf-8")
        assert system.arguments.partition(" ")[0] in doc


# ── the files ─────────────────────────────────────────────────────────────────────────────────────


def recorded(folder, *arguments, chapter="ch21", found=None, system="cvae"):
    """What a chapter's run leaves."""
    opt, _ = options(chapter_parser(chapter), [*arguments, "--out", str(folder)])
    opt.record(system, found or {"gain": [30.0, 32.0], "baseline": Estimate(-118.0, 0.5), "one": 7},
               lambda f: {"more than 20": f["gain"].mean > 20, "less than 31": f["gain"].mean < 31},
               data="digits", seeds=2)
    return folder / f"{system}.ledger.json"


def chapter_parser(chapter):
    p = parser(chapter, "")
    p.add_argument("--seeds", type=int)
    return p


def test_a_run_leaves_what_it_found(tmp_path, capsys):
    path = recorded(tmp_path, "--seeds", "5", "--show", "--seed", "3")
    entry = json.loads(path.read_text(encoding="utf-8"))
    assert 0 <= entry.pop("seconds") < 60
    assert entry == {
        "system": "cvae", "chapter": "ch21", "arguments": "--seeds 5 --seed 3", "data": "digits", "seeds": [3, 4],
        "quick": False,
        "figures": {"gain": {"mean": 31.0, "standard_error": 1.0, "values": [30.0, 32.0]},
                    "baseline": {"mean": -118.0, "standard_error": 0.5, "values": None},
                    "one": {"mean": 7.0, "standard_error": None, "values": None}},
        "asked": {"more than 20": True, "less than 31": False}, "met": False}
    assert f"ledger: {path}" in capsys.readouterr().out
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        recorded(tmp_path, found={"gain": [np.inf]})
    assert [(file, file.read_bytes()) for file in tmp_path.iterdir()] == [(path, before)], "whole, or what was there"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


def test_it_takes_in_the_newest_acceptance_runs(kept, tmp_path):
    out = tmp_path / "out"
    recorded(out / "ch21-2", "--seeds", "5", found={"gain": [21.0, 23.0]})
    os.utime(recorded(out / "ch21", "--seeds", "5"), (1, 1))
    recorded(out / "ch22", "--seeds", "5", chapter="ch22", system="m1m2")
    newest = out / "ch21-2" / "cvae.ledger.json", out / "ch22" / "m1m2.ledger.json"
    assert ledger.collect(out) == [f"taken in: {path}" for path in newest]
    assert sorted(path.name for path in kept.iterdir()) == ["cvae.json", "m1m2.json"]
    assert ledger.row(BY_KEY["cvae"]).endswith("| gain 22.0 ± 1.0 | more than 20: yes; less than 31: yes | met | "
                                               "digits | 2 | 0 | `python chapters/ch21_cvae.py --seeds 5` |")
    assert "less than 31: **no** | **not met** |" in ledger.row(BY_KEY["m1m2"])
    assert "| no run on record |" in ledger.row(BY_KEY["gmvae"])
    assert "| no run yet |" in ledger.row(BY_KEY["gmvae"]._replace(chapter=99))
    assert ledger.table().startswith("Of 21 systems 2 have a run on record; 1 of these did all that was asked.\n")


@pytest.mark.parametrize(("arguments", "change", "said"), [
    (["--seeds", "5", "--quick"], {}, "made with --quick, and that accepts nothing: python chapters/ch21_cvae.py"),
    (["--seeds", "2"], {}, "made by ch21 '--seeds 2', expected ch21 '--seeds 5'"),
    (["--seeds", "5"], {"system": "a horse"}, "system: got 'a horse', expected one of vae, "),
    (["--seeds", "5"], {"met": True}, "met: got True, and of what is asked {"),
    (["--seeds", "5"], {"figures": []}, "figures: expected dict, got []"),
    (["--seeds", "5"], None, "no JSON: "),
])
def test_what_is_no_acceptance_run_is_left_out(arguments, change, said, kept, tmp_path):
    path = recorded(tmp_path / "out", *arguments)
    entry = json.loads(path.read_text(encoding="utf-8"))
    path.write_text("{" if change is None else json.dumps(entry | change), encoding="utf-8")
    (told,) = ledger.collect(tmp_path / "out")
    assert told.startswith(f"left out: {path}: {said}")
    assert not kept.exists()
    assert "nothing below" in ledger.collect(tmp_path / "empty")[0]


@pytest.mark.parametrize(("figure", "said"), [
    ((37.678, 0.2912), "x 37.68 ± 0.29"), ((-80.75, 1.26), "x −80.8 ± 1.3"), ((978.2, 16.4), "x 978 ± 16"),
    ((0.7461, 0.00812), "x 0.7461 ± 0.0081"), ((2e-15, None), "x 2e−15"), ((1.00312, None), "x 1.003"),
    ((3.0, 0.0), "x 3"), ((256.8, 120.0), "x 257 ± 120")])
def test_a_figure_is_told_to_the_second_digit_of_its_error(figure, said):
    assert ledger.told("x", dict(zip(("mean", "standard_error"), figure))) == said


def test_the_page_of_the_book_is_readme_s(tmp_path):
    page = ledger.page(README)
    assert page.startswith("# The ledger\n\nWhat is asked of each system")
    assert "[CVAE](ch21_cvae.py)" in page
    assert "chapters/ch21_cvae.py --seeds 5`" in page
    assert "<!--" not in page
    assert page.count("\n| ") == 22, "the head, and a row for each"
