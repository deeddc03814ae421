"""Sphinx's configuration of the book.  `python chapters/book/build.py` prepares the sources and calls Sphinx."""

import os
import sys
from html import escape
from pathlib import Path

from myst_nb.sphinx_ import NbMetadataCollector

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import formulas  # noqa: E402
import links  # noqa: E402
import reading  # noqa: E402

project = "minivae"
author = "the minivae authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx.ext.mathjax", "sphinx-mathjax-offline",
              "sphinx_codeautolink"]
html_theme = "furo"
html_title = "minivae"
html_static_path = [str(HERE / "static")]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sphinx = html_show_copyright = False
html_show_search_summary = False                       # it would be fetched, which pages without a server may not
html_favicon = str(HERE / "static" / "favicon.svg")
html_theme_options = {"navigation_with_keys": True}
exclude_patterns = ["out", "**/out"]

# the chapters are the pages
nb_custom_formats = {".py": ["reading.read", {}, False]}
nb_execution_mode = "cache"
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"                            # progress bars
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

autodoc_typehints = "none"                             # shapes say more
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
codeautolink_concat_default = True
codeautolink_warn_on_missing_inventory = False
mathjax3_config = {"chtml": {"displayAlign": "left", "displayIndent": "1.5em"}, "options": {"enableMenu": False}}


def docstring(app, what, name, thing, options, lines):
    """Formulas written in Unicode are set as formulas."""
    lines[:] = formulas.as_rst("\n".join(lines))


def header(app, page, template, context, doctree):
    """Below a chapter's title: its files, what it needs, and how long it ran."""
    script = Path(app.srcdir) / f"{page}.py"
    if not script.exists():
        return
    runtime = (NbMetadataCollector.get_exec_data(app.env, page) or {}).get("runtime") or 0.0
    quick = " with <code>--quick</code>" if "--quick" in os.environ.get("MINIVAE_ARGS", "") else ""
    solved = ", with the solutions of its exercises" if page.startswith("ch") else ""
    line = (f'<p class="chapter"><a download href="_downloads/{page}.py">script</a> · '
            f'<a download href="_downloads/{page}.ipynb">notebook</a> · needs {escape(reading.needs(script.read_text(encoding="utf-8")))} · '
            f"ran {runtime:.0f} s{quick} when this book was built{solved}</p>")
    context["body"] = context["body"].replace("</h1>", f"</h1>{line}", 1)


def setup(app):
    app.connect("html-page-context", header)
    app.connect("autodoc-process-docstring", docstring)
    links.setup(app)
    app.extensions["sphinx-mathjax-offline"].parallel_read_safe = True        # it copies files, and does not say so
