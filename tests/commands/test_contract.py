"""The Challenge's commands as others call them, in new processes except those that end at once."""

import csv
import importlib
import itertools
import json
import shutil

import numpy as np
import pytest

from ecg.records.diagnoses import OUTPUT_CODES
from ecg.records.leads import LEAD_SETS
from ecg.records.outputs import read_output
from tests.conftest import ROOT, run_script
from tests.synthetic import beats, write_folder, write_record


def assert_complete(path):
    record_id, codes, labels, probabilities = read_output(path)
    assert record_id == path.stem
    assert codes == OUTPUT_CODES
    assert 1 in labels
    assert all(0 <= probability <= 1 for probability in probabilities)
    assert len(set(probabilities)) > 10


@pytest.fixture(scope="module")
def test_folder(tmp_path_factory):
    """A nested folder of all five lead sets, in both dialects, with one record in all lead sets."""
    folder = tmp_path_factory.mktemp("test")
    for i, (lead_set, leads) in enumerate(LEAD_SETS.items()):
        group = folder / f"g{lead_set}"
        write_folder(group, 3, lead_set, prefix="U", fs=300.0, v103=i % 2 == 1)
        write_record(group, f"same{lead_set}", beats(5000, 500), 500, leads)
    return folder


@pytest.mark.contract
def test_training_saves_five_models_and_reports_progress(trained):
    folder, printed, progress = trained
    expected = {f"{n}_leads{end}" for n in LEAD_SETS for end in (".json", ".weights.h5")}
    assert {path.name for path in folder.iterdir()} == expected
    log = json.loads((folder / "12_leads.json").read_text())["training_log"]
    assert len(log["data_fingerprint"]) == 64
    assert (log["n_training"], log["n_validation"]) == (15, 1)
    assert "devices: " in printed
    assert "training precision: " in printed
    assert "16 records to train on, 0 left out" in printed
    assert "12 leads, epoch 1/1: loss " in printed
    assert "complete, a model for each lead set" in printed
    assert "preparing records: 100% 16/16" in progress


@pytest.mark.contract
def test_every_lead_set_is_answered_by_its_own_model_and_scored(
    model_folder, test_folder, tmp_path
):
    outputs = tmp_path / "outputs"
    process = run_script("test_model.py", model_folder, test_folder, outputs, "--strict")
    assert process.returncode == 0, process.stderr
    assert "0 records could not be read" in process.stdout
    paths = sorted(outputs.iterdir())
    assert len(paths) == 20
    for path in paths:
        assert_complete(path)
    answers = [read_output(outputs / f"same{lead_set}.csv")[3] for lead_set in LEAD_SETS]
    for first, second in itertools.combinations(answers, 2):
        assert not np.allclose(first, second, atol=1e-6)

    printed = run_script("evaluate_model.py", test_folder, outputs)
    assert printed.returncode == 0, printed.stderr
    names, values = printed.stdout.splitlines()
    assert names == "AUROC,AUPRC,Accuracy,F-measure,Challenge metric"
    assert all(len(value.split(".")[1]) == 3 for value in values.split(","))
    scores, class_scores = tmp_path / "scores.csv", tmp_path / "class_scores.csv"
    run_script("evaluate_model.py", test_folder, outputs, scores, class_scores)
    assert scores.read_text() == printed.stdout
    with open(class_scores, newline="") as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    assert list(rows) == ["Classes", "AUROC", "AUPRC", "F-measure"]
    assert all(len(row) == 26 for row in rows.values())


@pytest.mark.contract
def test_minimal_drivers_get_complete_outputs(model_folder, tmp_path):
    for lead_set in LEAD_SETS:
        data = write_folder(tmp_path / "data", 3, lead_set, prefix="P")
    shutil.copy(ROOT / "tests" / "plain_drivers.py", tmp_path / "drivers.py")
    process = run_script(
        tmp_path / "drivers.py", "test", model_folder, data, tmp_path / "out", PYTHONPATH=str(ROOT)
    )
    assert process.returncode == 0, process.stderr
    assert len(list((tmp_path / "out").iterdir())) == 15
    for path in (tmp_path / "out").iterdir():
        assert_complete(path)


@pytest.mark.contract
def test_minimal_drivers_can_train(training_folder, tmp_path):
    shutil.copy(ROOT / "tests" / "plain_drivers.py", tmp_path / "drivers.py")
    environ = {"ECG_PRESET": "demo", "ECG_EPOCHS": "1", "ECG_LEADS": "2", "PYTHONPATH": str(ROOT)}
    model = tmp_path / "new" / "model"
    process = run_script(tmp_path / "drivers.py", "train", training_folder, model, **environ)
    assert process.returncode == 0, process.stderr
    assert {path.name for path in model.iterdir()} == {"2_leads.json", "2_leads.weights.h5"}
    assert "no model yet for 12, 6, 4, 3 leads" in process.stdout


@pytest.mark.contract
def test_other_leads_are_answered_by_the_largest_lead_set_that_they_contain(model_folder, tmp_path):
    signal = beats(5000, 500)
    write_record(tmp_path / "data", "odd", signal, 500, ("V5", "II", "V2", "I"))
    write_record(tmp_path / "data", "three", signal, 500, LEAD_SETS[3])
    process = run_script("test_model.py", model_folder, tmp_path / "data", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    odd, three = (read_output(tmp_path / "out" / f"{name}.csv")[3] for name in ("odd", "three"))
    np.testing.assert_allclose(odd, three, atol=1e-6)


@pytest.mark.contract
def test_records_beside_bad_ones_are_answered(model_folder, tmp_path):
    data = write_folder(tmp_path / "data", 5)
    (data / "T120000.mat").write_bytes(b"broken")
    (data / "T120001.mat").unlink()
    (data / "T120002.hea").write_text("no header at all")
    write_record(data, "T120003", np.zeros((12, 5000)), 500)
    process = run_script("test_model.py", model_folder, data, tmp_path / "out")
    assert process.returncode == 0, process.stderr
    assert "4 records could not be read" in process.stdout
    for i in range(5):
        path = tmp_path / "out" / f"T12000{i}.csv"
        assert read_output(path)[1] == OUTPUT_CODES
        is_named = f"T12000{i}: could not be read; answered as sinus rhythm" in process.stderr
        assert is_named == (i < 4)
        assert dict(zip(OUTPUT_CODES, read_output(path)[2], strict=True))["426783006"] or i == 4
    # A broken header does not require any further model.
    (tmp_path / "twelve").mkdir()
    for path in model_folder.glob("12_leads*"):
        shutil.copy(path, tmp_path / "twelve")
    strict = run_script("test_model.py", tmp_path / "twelve", data, tmp_path / "out", "--strict")
    assert "4 records could not be read" in strict.stdout
    assert strict.returncode == 1


@pytest.mark.parametrize(
    ("script", "arguments", "environ", "message"),
    [
        ("train_model.py", ["{empty}", "{out}"], {}, "expected records"),
        ("train_model.py", ["{nowhere}", "{out}"], {}, "nowhere: expected a folder of records"),
        ("train_model.py", ["{empty}", "{out}"], {"ECG_LEAD": "2"}, "ECG_LEAD: unknown setting"),
        (
            "train_model.py",
            ["{empty}", "{out}"],
            {"ECG_PRESET": "x"},
            "ECG_PRESET: expected one of",
        ),
        ("test_model.py", ["{empty}", "{data}", "{out}"], {}, "12_leads.json: expected a trained"),
        ("test_model.py", ["{model}", "{empty}", "{out}"], {}, "expected records"),
        ("test_model.py", ["{model}", "{twice}", "{out}"], {}, "two records are named T120000"),
        ("evaluate_model.py", ["{data}", "{empty}"], {}, "T120000.csv: expected an output file"),
        ("evaluate_model.py", ["{empty}", "{empty}"], {}, "expected header files"),
    ],
)
def test_errors_are_one_line_with_the_cause(
    untrained, tmp_path, monkeypatch, script, arguments, environ, message
):
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "data", 1)
    write_folder(tmp_path / "twice" / "a", 1)
    write_folder(tmp_path / "twice" / "b", 1)
    places = {name: tmp_path / name for name in ("empty", "nowhere", "out", "data", "twice")}
    filled = [argument.format(model=untrained, **places) for argument in arguments]
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    # In this process, since starting one for each takes longer than the rest.
    command = importlib.import_module(script.removesuffix(".py"))
    with pytest.raises(SystemExit) as ended:
        command.main(filled)
    (line,) = str(ended.value.code).splitlines()
    assert line.startswith(f"{script}: ")
    assert message in line
