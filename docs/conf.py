"""How Sphinx builds the site of this folder: `bash scripts/docs.sh`."""

import csv
import os
import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective
from sphinx_gallery.sorting import ExplicitOrder

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ecg import __version__  # noqa: E402 - from the folder above

project = "ECG diagnoses"
author = "The maintainers of this project"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples", "**/GALLERY_HEADER.rst"]
highlight_language = "text"  # of blocks that name none: shell commands, formulas
default_role = "code"  # single backticks, in docstrings too
myst_heading_anchors = 3
nitpicky = False  # types of NumPy and Keras would need their sites

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

# Executed by `bash scripts/docs.sh --examples` alone.
plot_gallery = "False"
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": ExplicitOrder(
        [
            "plot_train_on_simulated.py",
            "plot_answer_and_explain.py",
            "plot_compare_methods.py",
            "plot_sixth_method.py",
        ]
    ),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 1,
    "write_computation_times": False,
}


OPTION = re.compile(r"(?:\A|(?<=[.;]))\s*([a-z_][a-z0-9_]*(?:, [a-z_][a-z0-9_]*)*):\s")
NEW_PARAGRAPH = re.compile(r"\n(?=- )|\s(?=(?:Returns|Raises|Yields) )")


def docstring_as_rst(app, what, name, obj, options, lines) -> None:
    """Turn a docstring of this project, plain text with `code`, into reStructuredText in place.

    Options ("fs: Hz. leads: names.") become a list, what is returned or raised a paragraph of its
    own; indented lines are shown as they stand.
    """
    converted, in_literal = [], False
    for block in re.split(r"\n[ \t]*\n", "\n".join(lines).strip("\n")):
        if block.startswith(" "):
            converted.append(block if in_literal else f"::\n\n{block}")
            in_literal = True
            continue
        in_literal = False
        for paragraph in NEW_PARAGRAPH.split(block):
            before, *listed = OPTION.split(paragraph)
            converted.append(escaped(before))
            converted += [
                f"- ``{names}``: {escaped(' '.join(text.rstrip(';').split()))}"
                for names, text in zip(listed[::2], listed[1::2], strict=True)
            ]
    lines[:] = [*"\n\n".join(filter(None, converted)).split("\n"), ""]


def escaped(text: str) -> str:
    """Return plain text with `code` as reStructuredText that shows the same."""
    parts = re.split(r"`+([^`]*)`+", text.strip())
    # Every other part stood between backticks.
    parts[::2] = [re.sub(r"([*_|\\])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"``{' '.join(part.split())}``" for part in parts[1::2]]
    return "".join(parts)


def skip_numbered_fields(app, what, name, obj, skip, options) -> bool | None:
    """Leave out what Python itself writes about the fields of a named tuple."""
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field") else None


def without_factory(app, what, name, obj, options, signature, returned):
    """Write "..." for a default that a dataclass makes: Sphinx reads such a signature."""
    return (signature or "").replace("<factory>", "...") or signature, returned


class Results(SphinxDirective):
    """A table of a CSV of benchmarks/results, with the commands that measured it below.

        ```{results} FILE.csv
        :where: variant=default; auroc_sd
        Leads: {leads}
        AUROC: {auroc}[ ± {auroc_sd}]
        ```

    A line a column: its heading, and how a cell is made of the CSV's columns. What stands in
    square brackets is left out where a column in it is empty. `where` keeps the rows that have
    these values, and something in columns that are named without one.
    """

    required_arguments = 1
    has_content = True
    option_spec = {"where": directives.unchanged}  # noqa: RUF012 - docutils reads it so

    def run(self) -> list[nodes.Node]:
        """Return the table and a list of its sources."""
        path = RESULTS / self.arguments[0]
        self.env.note_dependency(str(path))
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for condition in filter(None, self.options.get("where", "").split(";")):
            column, _, value = condition.strip().partition("=")
            rows = [row for row in rows if (row[column] == value if value else row[column])]
        if not rows:
            raise self.error(f"{path.name}: expected rows with {self.options['where']}, found none")
        columns = [line.partition(": ")[::2] for line in self.content if line.strip()]
        try:
            cells = [[fill(template, row) for _, template in columns] for row in rows]
        except KeyError as error:
            raise self.error(
                f"{path.name}: expected a column {error}, found {list(rows[0])}"
            ) from error
        table = self._table([heading for heading, _ in columns], cells)
        return [table, self._sources(rows)]

    def _table(self, headings: list[str], cells: list[list[str]]) -> nodes.table:
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in headings), cols=len(headings))
        group += nodes.thead("", self._row(headings))
        group += nodes.tbody("", *(self._row(row) for row in cells))
        return nodes.table("", group, classes=["results"])

    def _row(self, texts: list[str]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", *self._paragraph(text)) for text in texts))

    def _paragraph(self, text: str) -> list[nodes.Node]:
        return self.parse_text_to_nodes(text) if text else []

    def _sources(self, rows: list[dict[str, str]]) -> nodes.bullet_list:
        """Return each command once, with its commit and hardware where they are known."""
        items = []
        for row in rows:
            commit = row["commit"]
            if commit and not commit.startswith("recorded"):
                commit = f"commit {commit}"
            command = f"`{row['command']}`" if row["command"] else ""
            items.append("; ".join(filter(None, [command, commit, row["hardware"]])))
        items = filter(None, dict.fromkeys(items))
        entries = (nodes.list_item("", *self._paragraph(item)) for item in items)
        return nodes.bullet_list("", *entries, classes=["sources"])


def fill(template: str, row: dict[str, str]) -> str:
    """Return the template with the row's values, without bracketed parts that lack one."""

    def optional(match: re.Match) -> str:
        wanted = re.findall(r"{(\w+)}", match[1])
        return match[1] if all(row[name] for name in wanted) else ""

    text = re.sub(r"\[([^\]]*)\]", optional, template).format_map(row)
    return text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def link_gallery(app, docname, source) -> None:
    """Let links to the examples' folder, right in the repository, lead to their gallery here."""
    source[0] = source[0].replace("](examples/)", "](gallery/index.rst)")


def setup(app) -> None:
    """Connect the above to Sphinx."""
    app.connect("source-read", link_gallery)
    app.connect("autodoc-process-docstring", docstring_as_rst)
    app.connect("autodoc-process-signature", without_factory)
    app.connect("autodoc-skip-member", skip_numbered_fields)
    app.add_directive("results", Results)
