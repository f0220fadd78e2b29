import subprocess

import pytest

from tests.conftest import ROOT


def demo(*arguments) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "scripts" / "demo.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_shown_and_nothing_made(option, tmp_path):
    process = demo(tmp_path / "demo", option)
    assert process.returncode == 0
    assert process.stdout.startswith("bash scripts/demo.sh [FOLDER]\n")
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("arguments", [("--records", "5"), ("-x",), ("one", "two")])
def test_unknown_options_are_refused(arguments):
    process = demo(*arguments)
    assert process.returncode == 2
    assert process.stderr.startswith("demo.sh: ")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_the_demo_has_not_made_is_left_alone(kind, tmp_path):
    place = tmp_path / "mine"
    if kind == "folder":
        (place / "training").mkdir(parents=True)
        (place / "training" / "A1.hea").write_text("mine")
    else:
        place.write_text("mine")
    process = demo(place)
    assert process.returncode == 1
    assert process.stderr.startswith(f"demo.sh: expected no {place}, an empty folder, or one that")
    left = place / "training" / "A1.hea" if kind == "folder" else place
    assert left.read_text() == "mine"


def test_the_demo_removes_nothing():
    assert "rm " not in (ROOT / "scripts" / "demo.sh").read_text()
