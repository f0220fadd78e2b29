import re

import pytest

from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "troubleshooting.md").read_text()
SOURCES = [*ROOT.glob("*.py"), *(ROOT / "ecg").rglob("*.py"), ROOT / "scripts" / "venv.sh"]


def join_literals(text: str) -> str:
    """Join adjacent string literals of a source file, and remove line breaks and f prefixes."""
    text = re.sub(r'["\']\s*\n?\s*f?["\']', "", text)
    return re.sub(r"\s+", " ", text)


MESSAGES = [join_literals(source.read_text()) for source in SOURCES]


@pytest.mark.parametrize("message", re.findall(r"^### `(.*)`$", GUIDE, re.MULTILINE))
def test_messages_of_the_guide_exist_in_the_program(message):
    assert any(message in text for text in MESSAGES)
