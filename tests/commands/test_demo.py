import subprocess

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.contract


def demo(*arguments) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "scripts" / "demo.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_shown_without_making_anything(option, tmp_path):
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
def test_existing_files_of_others_are_left_alone(kind, tmp_path):
    path = tmp_path / "mine"
    if kind == "folder":
        (path / "training").mkdir(parents=True)
        (path / "training" / "A1.hea").write_text("mine")
    else:
        path.write_text("mine")
    process = demo(path)
    assert process.returncode == 1
    assert process.stderr.startswith("demo.sh: ")
    assert str(path) in process.stderr
    kept = path / "training" / "A1.hea" if kind == "folder" else path
    assert kept.read_text() == "mine"


def test_the_demo_removes_nothing():
    assert "rm " not in (ROOT / "scripts" / "demo.sh").read_text()
