"""Take the pictures of the guides: an ECG page and a report, of simulated records.

    python -m docs.pictures

Needs the development requirements, Chromium, and the shipped models; writes to docs/images.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from ecg import predict, report
from ecg.simulation.recordings import simulate_folder
from test_model import main as test_model

IMAGES = Path(__file__).parent / "images"
_WIDTH, _HEIGHT = 1280, 860


def main() -> None:
    """Make both pages in a temporary folder and photograph them."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        simulate_folder(folder / "ward", 60, seed=1, sources=("simulated-county",))
        test_model(["starter", str(folder / "ward"), str(folder / "out")])
        report.main(
            ["starter", str(folder / "ward"), str(folder / "out"), str(folder / "report.html")]
        )
        predict.main(["starter", str(_blocked(folder)), "--explain", str(folder / "ecg_page.html")])
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        _photograph(page, folder / "report.html")
        _photograph(page, folder / "ecg_page.html", choose="input[name$=finding]:not([value=''])")
        browser.close()


def _blocked(folder: Path) -> Path:
    """Return the header of a simulated record with right bundle branch block."""
    for header in sorted((folder / "ward").glob("*.hea")):
        if "59118001" in header.read_text() or "713427006" in header.read_text():
            return header
    raise ValueError("expected a record with right bundle branch block, found none")


def _photograph(page: Page, file: Path, choose: str | None = None) -> None:
    page.goto(file.as_uri())
    if choose:
        page.locator(choose).first.check()
    page.screenshot(path=IMAGES / f"{file.stem}.png")


if __name__ == "__main__":
    main()
