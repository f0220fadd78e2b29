"""Every command that takes a model folder takes the word "starter" for the shipped models."""

import importlib
import json
import re

import numpy as np
import pytest

import team_code
from ecg.export import main as export
from ecg.models import descriptions
from ecg.models.settings import read_settings
from ecg.predict import main as predict
from ecg.records.leads import LEAD_SETS
from ecg.report import main as report
from tests.conftest import ROOT
from tests.synthetic import beats, write_folder, write_record


@pytest.fixture
def starter(untrained, tmp_path, monkeypatch):
    """Models in place of the shipped ones; the working folder is another."""
    place = tmp_path / "project"
    place.mkdir()
    (place / "starter").symlink_to(untrained)
    monkeypatch.setattr(descriptions, "_PACKAGE", place / "ecg")
    monkeypatch.setenv("ECG_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    return place / "starter"


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(descriptions, "_PACKAGE", tmp_path / "ecg")
    monkeypatch.chdir(tmp_path)


def error_of(command, *arguments) -> str:
    with pytest.raises(SystemExit) as end:
        command([str(argument) for argument in arguments])
    return str(end.value.code)


def test_predict(starter, tmp_path, capsys):
    record = write_record(tmp_path, "A1", beats(5000, 500), 500)
    answers = []
    for model in ("starter", starter):
        predict([str(model), str(record), "--json"])
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]


def test_the_test_command_and_the_report(starter, tmp_path, capsys):
    data = write_folder(tmp_path / "data", 2, lead_set=2)
    importlib.import_module("test_model").main(["starter", str(data), "out"])
    assert "0 records could not be read" in capsys.readouterr().out
    report(["starter", str(data), "out", "page.html"])
    assert "data fingerprint" in (tmp_path / "page.html").read_text()


def test_load_model_of_the_organisers_scripts(starter):
    model = team_code.load_model("starter", LEAD_SETS[3])
    signal = np.round(beats(5000, 500)[:3] * 1000).astype(np.int16)
    classes, labels, probabilities = team_code.run_model(model, "no header", signal)
    assert len(classes) == len(labels) == len(probabilities) == 30


def test_the_start_of_a_training(starter):
    assert read_settings({"ECG_START": "starter"}).start == starter


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (predict, ("A1.hea",)),
        (report, ("labels", "outputs", "page.html")),
        (export, ("model.onnx",)),
    ],
)
def test_without_shipped_models_the_error_says_so(command, arguments, nowhere):
    error = error_of(command, "starter", *arguments)
    assert re.search(r"no starter models are installed: expected the folder .*starter", error)


def test_a_folder_of_that_name_is_a_path_with_a_dot(starter, tmp_path):
    (tmp_path / "starter").mkdir()
    error = error_of(predict, "./starter", "A1.hea")
    assert error.startswith("ecg.predict: starter: expected a folder with trained models")


def test_the_image_contains_the_models():
    assert "!starter" in (ROOT / ".dockerignore").read_text().splitlines()
