"""The site of docs/, as `tox run -e docs` has made it, in a real browser."""

from pathlib import Path
from typing import Any

import pytest

from support.browser import browser as browser

SITE = Path(__file__).parents[2] / ".tox" / "docs" / "site"
PAGES = ["index", "errors", "performance"]


@pytest.mark.skipif(not SITE.exists(), reason="not made: tox run -e docs")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_shuts_anybody_out(browser: Any, scheme: str, width: int) -> None:
    """By axe's rules, nothing is serious; no page is wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    for name in PAGES:
        page.goto(f"file://{SITE}/{name}.html")
        found = axe.run(page).response["violations"]
        serious = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
        assert serious == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
