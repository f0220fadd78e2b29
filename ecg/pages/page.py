"""Values and a template of `ecg/templates/` -> one HTML page that needs no other file."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ecg.runtime.files import write_text

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: str | Path, template: str, **values) -> None:
    """Writes the page, whole or not at all. Text is escaped; what is to stay as it is, such as an
    SVG, comes as `markupsafe.Markup`. Raises OSError."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,  # a name that is missing would leave a gap that nobody sees
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(values)
    write_text(path, text)
