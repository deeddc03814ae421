"""The ledger: every system of the literature that is built here, what is asked of it, and what a run found.

A chapter's acceptance run leaves a small file for each of its systems in its folder, `out/ch21/cvae.ledger.json`: the figures, of
how many seeds, in how many seconds, and whether what is asked is so, which the chapter computes from the figures.  Here they are
collected in chapters/ledger/, and laid out as a table.  Nothing in it is typed but what papers say.

    python chapters/ledger.py --collect      take in what acceptance runs left in out/, then write README's table anew
    python chapters/ledger.py                write README's table anew
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivae.console import readable
from minivae.runs import write_atomically

HERE = Path(__file__).resolve().parent
ROOT, KEPT = HERE.parent, HERE / "ledger"
BEGIN, END = "<!-- the ledger: python chapters/ledger.py writes it -->\n", "<!-- the end of the ledger -->\n"
FIELDS = {"system": str, "chapter": str, "arguments": str, "data": str, "seeds": list, "quick": bool, "seconds": float,
          "figures": dict, "asked": dict, "met": bool}


class System(NamedTuple):
    """
    key         the name of its file
    name        as the table has it
    paper       whose
    published   a figure of that paper or, if so said, of others, that was looked up; "" where there is none to compare with
    chapter     its number
    arguments   of the run that accepts it
    judge       the chapter's function that says whether what is asked is so
    """

    key: str
    name: str
    paper: str
    published: str
    chapter: int
    arguments: str = "--seeds 5"
    judge: str = "accepted"

    @property
    def script(self) -> Path | None:
        """Where the chapter is, if it is written."""
        return next(iter(HERE.glob(f"ch{self.chapter:02}_*.py")), None)

    @property
    def command(self) -> str:
        return f"python chapters/{self.script.name} {self.arguments}".rstrip() if self.script else ""


SYSTEMS = (
    System("vae", "VAE", "Kingma and Welling 2013", "NLL 88.71 on statically binarized MNIST (Burda et al. 2015)", 10, ""),
    System("learned_noise", "learned σ", "Rybkin et al. 2021", "", 11, ""),
    System("full_covariance", "full covariance", "Kingma and Welling 2019", "", 14, "", "accepted_full"),
    System("change_of_variables", "change of variables", "Rezende and Mohamed 2015; Dinh et al. 2017", "", 14, ""),
    System("deep_latent", "deep latent Gaussian model", "Rezende et al. 2014",
           "NLL 86.60 with rank one, 87.30 with a diagonal, binarized MNIST (as others cite it)", 15, ""),
    System("beta_vae", "β-VAE", "Higgins et al. 2017", "Higgins' score 99.2% against 61.6% (as others cite it; dSprites, 64×64)", 20),
    System("capacity", "capacity", "Burgess et al. 2018", "", 20, judge="accepted_capacity"),
    System("cvae", "CVAE", "Sohn et al. 2015", "−log p(y given x) of a quadrant from 100.4 to 71.8 (another library, all of MNIST)", 21),
    System("m1m2", "M1, M2, M1+M2", "Kingma et al. 2014", "% wrong: M2 11.97 ± 1.71, M1+M2 3.33 ± 0.14 (50,000 images)", 22),
    System("gmvae", "GMVAE", "Dilokthanakul et al. 2016", "16 clusters: 97.5% right at best, 90.2% on average (versions differ)", 23),
    System("vampprior", "VampPrior", "Tomczak and Welling 2018", "NLL 85.57 on statically binarized MNIST, 500 pseudo-inputs", 24),
    System("two_stage", "two-stage VAE", "Dai and Wipf 2019", "FID of MNIST from 54.5 to 12.6, of Fashion-MNIST from 60.0 to 29.3", 25),
    System("infinite", "infinite VAE", "Abbasnejad et al. 2017", "", 26),
    System("structured", "structured residuals", "Dorta et al. 2018", "", 27),
    System("vq_vae", "VQ-VAE-2", "Razavi et al. 2019", "", 28),
    System("vae_gan", "VAE/GAN", "Larsen et al. 2016", "", 29),
    System("cvae_gan", "CVAE-GAN", "Bao et al. 2017", "", 30),
    System("zero_vae_gan", "Zero-VAE-GAN", "Gao et al. 2020", "", 31, "--splits 5"),
    System("text", "semi-supervised text", "Xu et al. 2017", "", 32),
    System("speech", "speech augmentation", "Hsu et al. 2017", "word error rate down by up to 35% (absolute)", 33),
    System("separation", "source separation", "Kameoka et al. 2019", "", 34),
)


class LedgerError(Exception):
    """A file that is no acceptance run of one of these systems."""


def read(path: Path) -> dict[str, Any]:
    """The result of a run.  Raises LedgerError, which says what is wrong with it."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LedgerError(f"{path}: no JSON: {error}") from error
    for name, kind in FIELDS.items():
        if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
            raise LedgerError(f"{path}: {name}: expected {kind.__name__}, got {entry.get(name) if isinstance(entry, dict) else entry!r}")
    system = next((system for system in SYSTEMS if system.key == entry["system"]), None)
    if system is None:
        raise LedgerError(f"{path}: system: got {entry['system']!r}, expected one of {', '.join(system.key for system in SYSTEMS)}")
    if entry["quick"]:
        raise LedgerError(f"{path}: made with --quick, and that accepts nothing: {system.command}")
    if (entry["chapter"], entry["arguments"]) != (f"ch{system.chapter:02}", system.arguments):
        raise LedgerError(f"{path}: made by {entry['chapter']} {entry['arguments']!r}, expected ch{system.chapter:02} {system.arguments!r}")
    if entry["met"] != all(entry["asked"].values()):
        raise LedgerError(f"{path}: met: got {entry['met']}, and of what is asked {entry['asked']}")
    return entry


def collect(out: Path) -> list[str]:
    """Take in the newest file of every system below `out`; what was done, line by line."""
    newest = {path.name.partition(".")[0]: path for path in sorted(out.rglob("*.ledger.json"), key=lambda path: path.stat().st_mtime)}
    said = []
    for key, path in newest.items():
        try:
            read(path)
        except LedgerError as error:
            said.append(f"left out: {error}")
            continue
        write_atomically(KEPT / f"{key}.json", path.read_bytes())
        said.append(f"taken in: {path}")
    return said or [f"nothing below {out}: an acceptance run leaves its result there, such as {SYSTEMS[7].command}"]


# ── the table ─────────────────────────────────────────────────────────────────────────────────────


def told(name: str, figure: dict[str, Any]) -> str:
    """A mean to the second digit of its standard error; one number by itself to four."""
    mean, error = figure["mean"], figure["standard_error"]
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error else 0
    number = f"{mean:.{digits}f} ± {error:.{digits}f}" if error else f"{mean:.4g}"
    return f"{name} {number.replace('-', '−')}"


def row(system: System) -> str:
    """What is known of a system; a row of the table."""
    name = f"[{system.name}](chapters/{system.script.name})" if system.script else system.name
    path = KEPT / f"{system.key}.json"
    if path.exists():
        run = read(path)
        ours = "; ".join(told(*figure) for figure in run["figures"].items())
        asked = "; ".join(f"{what}: {'yes' if so else '**no**'}" for what, so in run["asked"].items())
        rest = [ours, asked, "met" if run["met"] else "**not met**", run["data"], f"{len(run['seeds'])}", f"{run['seconds']:,.0f}"]
    else:
        rest = ["no run on record" if system.script else "no run yet", "", "", "", "", ""]
    cells = name, system.paper, system.published, *rest, f"`{system.command}`" if system.script else ""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def table() -> str:
    """All systems; and how many met what is asked."""
    runs = [read(path) for path in sorted(KEPT.glob("*.json"))]
    head = ("system", "paper", "published", "ours", "asked", "", "data", "seeds", "seconds", "command")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *map(row, SYSTEMS)]
    return (f"Of {len(SYSTEMS)} systems {len(runs)} have a run on record; {sum(run['met'] for run in runs)} of these did all that was asked.\n\n"
            + "\n".join(lines) + "\n")


def written(readme: str) -> str:
    """README with this table between its two marks.  Raises LedgerError if it lacks them."""
    found = re.fullmatch(f"(.*{re.escape(BEGIN)})(.*)({re.escape(END)}.*)", readme, re.DOTALL)
    if found is None:
        raise LedgerError(f"README.md: expected the table between {BEGIN.strip()} and {END.strip()}")
    return f"{found[1]}\n{table()}\n{found[3]}"


def page(readme: str) -> str:
    """A page of the book: what README says of the ledger, links leading to chapters as they are there."""
    said = re.split(r"^#", readme.partition("### The ledger\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    said = re.sub(r"<!--.*?-->\n", "", said).strip()
    return "# The ledger\n\n" + re.sub(r"\]\(chapters/(\w+\.py)\)", r"](\1)", said) + "\n"


def main(argv: list[str] | None = None) -> int:
    readable()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="take in what acceptance runs left in --out")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where they wrote (default: out)")
    args = parser.parse_args(argv)
    if args.collect:
        print(*collect(args.out), sep="\n")
    path = ROOT / "README.md"
    try:
        write_atomically(path, written(path.read_text(encoding="utf-8")).encode())
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path}: {table().partition('.')[0]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
