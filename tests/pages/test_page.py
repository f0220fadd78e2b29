import pytest

from ecg.pages.page import write_page
from tests.browser import opened, serious_violations


@pytest.mark.nightly
def test_axe_reports_what_it_finds(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<!doctype html><html lang="en"><title>A</title><main><h1>A</h1>'
        '<p style="color: #ccc; background: #fff">pale</p><button></button></main>'
    )
    with opened(page) as shown:
        rules = [line.split(" ")[0] for line in serious_violations(shown)]
    assert rules == ["button-name", "color-contrast"]


@pytest.mark.nightly
def test_a_page_without_contents_has_none(tmp_path):
    path = tmp_path / "page.html"
    write_page(path, "page.html")
    with opened(path, width=390) as shown:
        assert shown.locator(".contents").count() == 0
        assert shown.locator("main").bounding_box()["width"] == 390
