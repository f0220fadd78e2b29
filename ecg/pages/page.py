"""Render a template of `ecg/pages/templates/` to a self-contained HTML page."""

from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ecg.runtime.files import write_text

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: str | Path, template: str, **values) -> None:
    """Render `template` with `values` and write the page to `path`, whole or not at all.

    Text is escaped; pass markup such as SVG as `markupsafe.Markup`. Raises OSError.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,  # by default a missing value is silently rendered as nothing
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(values)
    write_text(path, text)


def join_names(names: Iterable, word: str = "and") -> str:
    """Return the names as a sentence has them, "I, II and V1"; at least one."""
    *others, last = map(str, names)
    return f"{', '.join(others)} {word} {last}" if others else last
