"""A real browser, for pages of examples."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window. Where it is not installed: skipped, or failed in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("not installed: chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as it:
        browser = it.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
