"""The built book in a real browser: formulas set, nothing asked of the network, no errors, both themes, a phone.

    python chapters/book/build.py --quick && python -m pytest -m browser
"""

import os
from pathlib import Path

import pytest
from browser import browser, opened  # noqa: F401 - fixtures
from conftest import ROOT

BOOK = Path(os.environ.get("MINIVAE_BOOK", ROOT / "build" / "book"))
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BOOK / "index.html").exists(),
                       reason=f"there is no book in {BOOK}: python chapters/book/build.py --quick")]
PAGES = ("index", "ch01_gradient", "ch08_kl", "ch10_train_vae", "derivations", "api/distributions", "bibliography")
FORMULAS = {"index": 0, "ch01_gradient": 15, "ch08_kl": 15, "ch10_train_vae": 8, "derivations": 30,
            "api/distributions": 9, "bibliography": 0}
SET = "() => window.MathJax?.startup?.promise?.then(() => true) ?? !document.querySelector('.math')"


@pytest.mark.parametrize("name", PAGES)
def test_a_page(opened, name):  # noqa: F811
    page = opened((BOOK / f"{name}.html").as_uri())
    page.wait_for_function(SET)
    assert page.locator("mjx-container").count() >= FORMULAS[name]
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert page.locator(".math:not(:has(mjx-container))").count() == 0
    assert page.locator("figure.picture:not([aria-label])").count() == 0
    for picture in page.locator("figure.picture svg").all():
        box = picture.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 60
    assert page.problems == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_on_a_phone(opened, name):  # noqa: F811
    page = opened((BOOK / f"{name}.html").as_uri(), width=360, height=740)
    page.wait_for_function(SET)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.problems == []


def test_light_and_dark(opened):  # noqa: F811
    """Paper and ink change places, in the page and in its pictures."""
    seen = {}
    for scheme in ("light", "dark"):
        page = opened((BOOK / "ch01_gradient.html").as_uri(), color_scheme=scheme)
        seen[scheme] = page.evaluate("""() => ({
            paper: getComputedStyle(document.body).backgroundColor,
            ink: getComputedStyle(document.querySelector('figure.picture svg')).fill,
            axis: getComputedStyle([...document.querySelectorAll('figure.picture svg path')]
                .find(path => path.getAttribute('style')?.includes('stroke: currentColor'))).stroke})""")
    brightness = {scheme: {key: sum(map(int, colour[4:-1].split(", ")[:3])) for key, colour in found.items()}
                  for scheme, found in seen.items()}
    assert brightness["light"]["paper"] > 600 > 300 > brightness["light"]["ink"]
    assert brightness["dark"]["paper"] < 150 < 450 < brightness["dark"]["ink"]
    assert brightness["light"]["axis"] == brightness["light"]["ink"]
    assert brightness["dark"]["axis"] == brightness["dark"]["ink"]


def test_a_name_in_the_code_leads_to_the_reference_and_from_there_to_the_source(opened):  # noqa: F811
    page = opened((BOOK / "ch10_train_vae.html").as_uri())
    page.locator("a.sphinx-codeautolink-a", has_text="gaussian_kl").first.click()
    page.wait_for_url("**/api/distributions.html#minivae.distributions.gaussian_kl")
    source = page.locator("dt[id='minivae.distributions.gaussian_kl'] a", has_text="source").get_attribute("href")
    assert source == "../_modules/minivae/distributions/gaussian.html#gaussian_kl"
    code = opened((BOOK / "_modules" / "minivae" / "distributions" / "gaussian.html").as_uri() + "#gaussian_kl")
    assert "def pullback(dkl" in code.inner_text("#gaussian_kl")
    assert page.problems == []


def test_search_finds_a_chapter_without_a_server(opened):  # noqa: F811
    page = opened((BOOK / "search.html").as_uri() + "?q=reparameterization")
    page.wait_for_selector("#search-results li a")
    found = [link.get_attribute("href") for link in page.locator("#search-results li a").all()]
    assert any("ch09_reparameterization" in address for address in found)
    assert page.problems == []


def test_the_latent_plane_of_chapter_10(opened):  # noqa: F811
    """It checks itself against the library, and dragging through it changes the image."""
    page = opened((BOOK / "ch10_train_vae.html").as_uri())
    frame = page.locator("iframe").first
    frame.scroll_into_view_if_needed()
    inside = page.frame_locator("iframe").first
    inside.locator("[data-check='passed']").wait_for(state="attached")
    plane = inside.locator("canvas").first
    images = []
    for x in (0.3, 0.7):
        box = plane.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * x, steps=4)
        page.mouse.up()
        images.append(inside.locator("canvas").evaluate_all("all => all.map(canvas => canvas.toDataURL())"))
    assert images[0] != images[1]
    assert page.problems == []
