"""The book, from a fresh clone:    python -m pip install -e ".[book]" && python chapters/book/build.py

Gathers the chapters, the solutions of their exercises and the pages made from the library, lets Sphinx run every chapter
and set every page, and then holds the result against what it promises: no warning, no chapter that fails, no link that
leads nowhere.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from minivae.console import readable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GALLERY = HERE.parent / "gallery.py"                   # runs as chapters do
sys.path[:0] = [str(HERE), str(HERE.parent)]


def main(argv: list[str] | None = None) -> int:
    readable()
    parser = argparse.ArgumentParser(description="Build the book: every chapter as a page that has run.")
    parser.add_argument("--quick", action="store_true", help="run every chapter and solution with --quick: minutes instead of a quarter of an hour or more")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "book", help="folder of the pages (default: build/book)")
    args = parser.parse_args(argv)
    begun, out = time.monotonic(), args.out.resolve()
    work = out.with_name(out.name + "-work")
    for folder, mark in ((out, "objects.inv"), (work, "book-source")):
        if folder.exists() and not (folder / mark).exists():
            print(f"--out: {folder} exists, and is not of this command's making; choose another", file=sys.stderr)
            return 2
    try:
        code = build(work, args.quick)
    except ModuleNotFoundError as error:
        print(f'{error}: the book needs more than the library:\n    python -m pip install -e ".[book]"', file=sys.stderr)
        return 2
    if code:
        return code
    shutil.rmtree(out, ignore_errors=True)             # the book before this one stays until this one is whole
    (work / "html").rename(out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out / 'index.html'}: {len(list(out.rglob('*.html')))} pages, {size / 1e6:.0f} MB, "
          f"in {time.monotonic() - begun:.0f} s; all links lead somewhere")
    return 0


def build(work: Path, quick: bool) -> int:
    """Everything in a folder, the pages in its html/; 0 if they are as promised."""
    import pages
    import promises
    import reading

    source, html = work / "book-source", work / "html"
    gather(source, pages)
    if code := sphinx(source, html, quick):
        return code
    downloads(html, reading)
    prune_mathjax(html / "_static" / "mathjax")
    problems = promises.problems(html)
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def gather(source: Path, pages) -> None:
    """Everything that Sphinx reads, in one folder."""
    import ledger
    import links
    import model_map
    import solutions

    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for path in [HERE.parent / "index.md", GALLERY, *(HERE / "text").glob("*.md")]:
        shutil.copy(path, source)
    for path in HERE.parent.glob("ch*.py"):
        solved = solutions.solved(path.read_text(encoding="utf-8"), solutions.of(path))
        (source / path.name).write_text(solved, encoding="utf-8")
    index, bibliography = source / "index.md", source / "bibliography.md"
    index.write_text(pages.contents(index.read_text(encoding="utf-8"), source), encoding="utf-8")
    bibliography.write_text(links.with_labels(bibliography.read_text(encoding="utf-8")), encoding="utf-8")
    (source / "derivations.md").write_text(pages.derivations(), encoding="utf-8")
    readme = model_map.README.read_text(encoding="utf-8")
    (source / "model_map.md").write_text(model_map.page(readme), encoding="utf-8")
    (source / "ledger.md").write_text(ledger.page(readme), encoding="utf-8")
    pages.write_reference(source / "api")


def sphinx(source: Path, out: Path, quick: bool) -> int:
    """Run the chapters, unless they have run before with this library, and write the pages."""
    from jupyter_cache import get_cache

    code = hashlib.sha256(b"quick" if quick else b"")
    for path in sorted([*(ROOT / "minivae").rglob("*.*"), *HERE.parent.rglob("ch*.py"), GALLERY]):
        code.update(b"" if path.suffix == ".pyc" else path.read_bytes())
    cache = out.with_name("executed") / code.hexdigest()[:16]
    found_first = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))        # `import chapters.…`
    environment = os.environ | {"MINIVAE_ARGS": "--quick" if quick else "", "TQDM_DISABLE": "1", "PYTHONPATH": found_first}
    shutil.rmtree(out, ignore_errors=True)
    get_cache(cache).list_cache_records()              # makes the data base, before several processes would
    together = os.cpu_count() or 1 if quick else 1     # two chapters at once would disturb what the long ones measure
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-E", "-j", together, "-c", HERE,
               "-d", out.with_name("doctrees"), "-D", f"nb_execution_cache_path={cache}", source, out]
    return subprocess.run(list(map(str, command)), env=environment, check=False).returncode


def downloads(out: Path, reading) -> None:
    """Each chapter as a notebook and as a script."""
    folder = out / "_downloads"
    folder.mkdir(exist_ok=True)
    for script in [*HERE.parent.glob("ch*.py"), GALLERY]:
        shutil.copy(script, folder)
        reading.write(script, folder)


def prune_mathjax(folder: Path) -> None:
    """24 MB become what a page can load: one component, and its fonts."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "tex-chtml.js" and "fonts" not in path.parts:
            path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


if __name__ == "__main__":
    raise SystemExit(main())
