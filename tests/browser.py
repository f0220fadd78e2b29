"""Open pages in a headless Chromium; tests are skipped without one."""

import contextlib
import shutil

import pytest

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


_PATIENCE_MS = 300_000  # on a busy machine a page may take more than the usual 30 s


@contextlib.contextmanager
def opened(path, width=1280, scheme="light"):
    """Open a page in a window of this width; fail on errors and on requests for other files."""
    api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    errors, requests = [], []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=_ARGUMENTS, timeout=_PATIENCE_MS
        )
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(_PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        yield page
        browser.close()
    assert not errors
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == 1


def contrast(page, selector) -> float:
    """Return the WCAG 2 contrast ratio, 1 to 21, of an element's text to the background."""
    return page.evaluate(
        """(selector) => {
          const light = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((c) => {
              const s = c / 255;
              return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const text = getComputedStyle(document.querySelector(selector)).color;
          const paper = getComputedStyle(document.body).backgroundColor;
          const [high, low] = [light(text), light(paper)].sort((a, b) => b - a);
          return (high + 0.05) / (low + 0.05);
        }""",
        selector,
    )


def serious_violations(page) -> list[str]:
    """Return what axe finds on the page that is of serious or critical impact, a line each.

    A line names the rule and the first elements that break it. Skips without axe.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}: "
        + "; ".join(node["html"][:160] for node in violation["nodes"][:3])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
