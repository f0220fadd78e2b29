import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

from ecg.export import main
from ecg.models.inputs import record_inputs
from ecg.models.model_files import load_trained_model, save_model
from ecg.models.onnx_files import TOLERANCE
from ecg.models.predictor import Predictor
from ecg.models.registry import METHODS
from ecg.pages import NOTICE
from ecg.predict import predict_files
from ecg.records.diagnoses import DIAGNOSES
from tests.conftest import ROOT
from tests.exported import RECORD, demo_model, metadata_of, narrow_model, probabilities_of
from tests.synthetic import beats, write_record


@pytest.fixture
def model(tmp_path):
    for lead_set in (6, 2):
        save_model(narrow_model("multiscale_se", lead_set), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def gpus_as_before(monkeypatch):
    """The command hides them, in the process that it has for itself otherwise."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def run(*arguments):
    """The exit status or message of the command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code


def test_the_model_with_the_most_leads_is_written_unless_told_otherwise(model, tmp_path, capsys):
    file = tmp_path / "model.onnx"
    assert run(model, file) is None
    assert f"{file}: 6 leads, " in capsys.readouterr().out
    assert metadata_of(file)["leads"] == ["I", "II", "III", "aVR", "aVL", "aVF"]
    assert metadata_of(file)["notice"] == NOTICE
    assert run(model, file, "--leads", 2) is None
    assert metadata_of(file)["leads"] == ["I", "II"]


@pytest.mark.parametrize(
    ("folder", "file", "options", "message"),
    [
        ("model", "missing/model.onnx", (), "expected an existing folder"),
        ("nowhere", "model.onnx", (), "expected a folder with trained models"),
        ("model", "model.onnx", ("--leads", 12), "expected a trained model, found none"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(
    folder, file, options, message, model, tmp_path
):
    status = run(tmp_path / folder, tmp_path / file, *options)
    assert message in status
    assert "\n" not in status
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_programs_of_the_guide_answer_a_record(model, tmp_path, monkeypatch, capsys):
    run(model, tmp_path / "model.onnx")
    write_record(tmp_path, "A0001", beats(5000, 500), 500)
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    first, second = re.findall(
        r"^```python\n(.*?)^```",
        (ROOT / "docs" / "export.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    assert "ecg" not in re.findall(r"^(?:from|import) (\w+)", second, re.MULTILINE)
    exec(first, {})
    assert capsys.readouterr().out == "(1, 26)\n"
    exec(second, {})
    lines = capsys.readouterr().out.splitlines()
    (found,) = predict_files(model, [tmp_path / "A0001.hea"])
    prediction, _ = found
    first = np.argsort(-prediction.probabilities)[:5]
    assert lines == [
        f"{DIAGNOSES[i].name}: {prediction.probabilities[i]:.1%}"
        + (", present" if prediction.probabilities[i] >= 1 / 3 else "")
        for i in first
    ]


@pytest.mark.contract
@pytest.mark.parametrize("name", METHODS)
def test_every_methods_demo_network_is_written_by_the_command(name, tmp_path):
    for lead_set in (12, 2):
        save_model(demo_model(name, lead_set), tmp_path)
        file = tmp_path / f"{lead_set}.onnx"
        command = [*("-m", "ecg", "export", tmp_path, file, "--leads", lead_set)]
        process = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (process.returncode, process.stderr) == (0, "")
        onnx.checker.check_model(file, full_check=True)
        predictor = Predictor(load_trained_model(tmp_path, lead_set))
        found = probabilities_of(file, record_inputs(RECORD, predictor.input_options))
        np.testing.assert_allclose(found, predictor.probabilities(RECORD), atol=TOLERANCE)
