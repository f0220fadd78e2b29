"""The pages of docs/ hold together: links, examples, and figures that stand in one place."""

import ast
import csv
import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import ROOT

RESULTS = ROOT / "benchmarks" / "results"
TABLES = sorted(RESULTS.glob("*.csv"))
PAGES = sorted(
    [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
)
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
SOURCE = ("command", "commit", "hardware")
COMMIT = re.compile(r"((recorded in )?[0-9a-f]{7}(, before [0-9a-f]{7})?)?")


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def without_code(text: str) -> str:
    """The page without fenced and inline code, in which brackets are no links."""
    text = re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "code", text)


def anchors(page: Path) -> set[str]:
    """The names by which the headings of a page can be linked to, as GitHub and MyST make them."""
    text = re.sub(r"^(`{3,}).*?^\1", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(\s*([^)\s]+)\s*\)", without_code(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for link in links(page):
        if re.match(r"https?:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_links_are_found():
    assert "docs/results.md" in links(ROOT / "README.md")
    assert "methods.md#the-default-method" in links(ROOT / "docs" / "simulation.md")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_figure_says_what_measured_it_on_which_code_and_hardware(table):
    rows = read_rows(table)
    assert rows
    for row in rows:
        assert set(SOURCE) <= row.keys()
        assert None not in row  # more cells than columns
        assert None not in row.values()  # fewer
        assert COMMIT.fullmatch(row["commit"]), row["commit"]


def test_pages_show_every_table_and_only_those_that_exist():
    shown = {
        name
        for page in PAGES
        for name in re.findall(r"^```\{results\} (\S+)$", page.read_text(), re.MULTILINE)
    }
    assert shown == {table.name for table in TABLES}


def test_the_readme_has_the_figures_of_the_latest_code():
    latest = {
        row["leads"]: row
        for row in read_rows(RESULTS / "default_method.csv")
        if row["variant"] == "default"
    }
    cells = re.findall(
        r"^\| (\d+) \| (\S+) ± (\S+) \| (\S+) ± (\S+) \|$",
        (ROOT / "README.md").read_text(),
        re.MULTILINE,
    )
    columns = ("leads", "auroc", "auroc_sd", "metric", "metric_sd")
    assert cells == [tuple(row[column] for column in columns) for row in latest.values()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_examples_import_what_the_package_has(example):
    # They are run at night alone; a name that has changed should show before.
    imports = [
        node
        for node in ast.walk(ast.parse(example.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "ecg"
    ]
    assert imports
    for node in imports:
        module = import_module(node.module)
        for alias in node.names:
            assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
