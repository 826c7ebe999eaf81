"""A real browser for tests: the Chromium or Chrome of the system, without a window."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_path():
    """Return the path of a browser, or None."""
    named = os.environ.get("BROWSER_PATH")
    return named or next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser():
    """Start a browser; skip the test if there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    path = browser_path()
    if path is None:
        pytest.skip("there is no Chromium or Chrome here: `make browser` says how to install one")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*sandbox, "--disable-dev-shm-usage"])
        try:
            yield started
        finally:
            started.close()


def violations(page):
    """Return axe-core's violations on a page as texts, by all of its rules; skip the test without axe."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe here: pip install '.[dev]'")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response
    assert found["testEngine"]["name"] == "axe-core"
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found["violations"] for node in rule["nodes"]]
