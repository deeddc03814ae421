"""Pages in a real browser, for the tests marked `browser`: skipped, with the reason, where there is none.

    from browser import browser, opened                # fixtures
    page = opened(path.as_uri(), width=360)
    assert page.problems == []
"""

import shutil

import pytest

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")                        # no longer: while Playwright runs, nobody else has an event loop
def browser():
    """Chromium, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason='no browser to drive: pip install -e ".[browser]"')
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """opened(address, width=1200, height=900, **of_the_context): a page.

    Its `problems` are errors and warnings, and whatever it asked for besides files.
    """
    contexts = []

    def open_(address, *, width=1200, height=900, **how):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **how))
        page = contexts[-1].new_page()
        page.problems = []
        page.on("console", lambda said: page.problems.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda asked: page.problems.append(asked.url) if not asked.url.startswith("file:") else None)
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
