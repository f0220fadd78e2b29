"""Follow docs/sixth_method.md literally in a copy of the project."""

import re
import shutil

import pytest

from tests.conftest import ROOT, run_script
from tests.synthetic import write_folder

GUIDE = (ROOT / "docs" / "sixth_method.md").read_text()
# Where the guide says that each block goes: a file, and the line that it follows.
PLACES = (
    ("ecg/models/architectures/plain_cnn.py", None),
    ("ecg/models/architectures/__init__.py", "NAMES = ("),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy with the sixth method."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("train_model.py", "test_model.py", "team_code.py", "weights.csv", "ecg"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    for (file, line), block in zip(PLACES, blocks, strict=True):
        assert file in GUIDE
        path = copy / file
        if line is None:
            path.write_text(block)
            continue
        text = path.read_text()
        (found,) = re.findall(rf"^{re.escape(line)}.*\n", text, re.MULTILINE)
        path.write_text(text.replace(found, found + block))
    return copy


def test_the_guide_is_short():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert sum(bool(line.strip()) for block in blocks for line in block.splitlines()) < 40


@pytest.mark.contract
def test_a_method_added_by_the_guide_trains_and_answers(project, training_folder, tmp_path):
    settings = {"ECG_METHOD": "plain_cnn", "ECG_PRESET": "demo", "ECG_LEADS": "2"}
    model, outputs = tmp_path / "model", tmp_path / "outputs"
    trained = run_script("train_model.py", training_folder, model, root=project, **settings)
    assert trained.returncode == 0, trained.stderr
    test = write_folder(tmp_path / "test", 2, lead_set=2)
    answered = run_script("test_model.py", model, test, outputs, root=project)
    assert answered.returncode == 0, answered.stderr
    assert "0 records could not be read" in answered.stdout
    assert len(list(outputs.glob("*.csv"))) == 2
