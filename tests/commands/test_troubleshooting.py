import re

import pytest

from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "troubleshooting.md").read_text()
SOURCES = [*ROOT.glob("*.py"), *(ROOT / "ecg").rglob("*.py"), ROOT / "scripts" / "venv.sh"]


def as_said(text: str) -> str:
    """A source's messages as they are printed: literals in one, line breaks and f-strings gone."""
    text = re.sub(r'["\']\s*\n?\s*f?["\']', "", text)
    return re.sub(r"\s+", " ", text)


SAID = [as_said(source.read_text()) for source in SOURCES]


@pytest.mark.parametrize("message", re.findall(r"^### `(.*)`$", GUIDE, re.MULTILINE))
def test_every_message_of_the_guide_is_one_that_the_program_has(message):
    assert any(message in text for text in SAID)
