"""`--one-site` of `test_model.py` and `ecg.predict`, with models that were never trained."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from ecg.models.predictor import load_predictor
from ecg.models.prior_shift import adapt, estimate_share
from ecg.predict import main as predict
from ecg.records.diagnoses import SINUS_RHYTHM
from ecg.records.discovery import find_records
from ecg.records.outputs import read_output, read_outputs
from tests.synthetic import write_folder


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """Ten records of 12 leads, two of them unreadable, and one of 2 leads."""
    folder = write_folder(tmp_path_factory.mktemp("hospital"), 10)
    (folder / "T120003.mat").write_bytes(b"broken")
    (folder / "T120009.hea").write_text("no header at all")
    return write_folder(folder, 1, lead_set=2)


def read_all(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def answer(untrained, hospital, tmp_path, monkeypatch):
    monkeypatch.setenv("ECG_WORKERS", "1")
    command = importlib.import_module("test_model")

    def run(*options):
        outputs = tmp_path / "".join(["outputs", *options])
        command.main([str(untrained), str(hospital), str(outputs), *options])
        return outputs

    return run


def test_the_share_is_estimated_for_each_lead_set_and_printed(answer, capsys):
    alone = read_all(answer())
    assert "estimated" not in capsys.readouterr().out
    together = read_all(answer("--one-site"))
    printed = capsys.readouterr()
    twelve, two, unread = printed.out.splitlines()
    assert twelve.startswith("12 leads: share of sinus rhythm 10.0% in training, ")
    assert twelve.endswith(", records 8); applied")
    assert two.startswith("2 leads: share of sinus rhythm 10.0% in training, ")
    reason = "the folder's answers do not differ enough from training"
    assert two.endswith(f", records 1); not applied: {reason}")
    assert unread.startswith("2 records could not be read")
    for name in ("T120003", "T120009"):
        assert printed.err.count(f"{name}: could not be read; answered as sinus rhythm") == 1
    assert alone.keys() == together.keys()
    changed = {name for name in alone if alone[name] != together[name]}
    unread = {"T120003.csv", "T120009.csv"}
    assert changed == {f"T12000{i}.csv" for i in range(10)} - unread


def test_answers_are_decided_from_the_adapted_probabilities(answer, untrained, hospital, capsys):
    files = [one for one in find_records(hospital) if one.name[:3] == "T12"]
    probabilities = [
        found for _, found in load_predictor(untrained, 12).probabilities_of_files(files)
    ]
    read = [i for i, found in enumerate(probabilities) if found is not None]
    before = np.array([probabilities[i] for i in read])
    estimate = estimate_share(before[:, SINUS_RHYTHM], 0.1)
    expected = adapt(before, estimate)
    outputs = answer("--one-site")
    labels, found = read_outputs([outputs / f"{files[i].name}.csv" for i in read])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The untrained network finds sinus rhythm as likely as not, and the model has it in a tenth.
    assert (expected[:, SINUS_RHYTHM] > before[:, SINUS_RHYTHM] + 0.2).all()
    assert labels[:, SINUS_RHYTHM].all()
    assert f" {estimate.share:.1%} estimated here" in capsys.readouterr().out


def test_an_unreadable_folder_is_answered(untrained, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ECG_WORKERS", "1")
    data, outputs = write_folder(tmp_path / "data", 2), tmp_path / "outputs"
    for path in data.glob("*.mat"):
        path.unlink()
    command = importlib.import_module("test_model")
    with pytest.raises(SystemExit) as ended:
        command.main([str(untrained), str(data), str(outputs), "--one-site", "--strict"])
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert "10.0% estimated here (gain 0.0, records 0); not applied" in printed
    assert "2 records could not be read" in printed
    for path in outputs.iterdir():
        _, codes, labels, _ = read_output(path)
        positive = [code for code, label in zip(codes, labels, strict=True) if label]
        assert positive == ["426783006"]
    assert len(list(outputs.iterdir())) == 2


def test_predict_takes_a_folder_for_one_hospital(untrained, tmp_path, capsys):
    folder = write_folder(tmp_path / "hospital", 10)
    write_folder(folder, 1, lead_set=2)
    arguments = [str(untrained), str(folder), "--json", "--rule", "challenge"]
    predict(arguments)
    alone = capsys.readouterr()
    assert alone.err == ""
    predict([*arguments, "--one-site"])
    together = capsys.readouterr()
    # From I and II all limb leads follow.
    twelve, six = together.err.splitlines()
    assert twelve.startswith("ecg.predict: 12 leads: share of sinus rhythm 10.0% in training, ")
    assert twelve.endswith(", records 10); applied")
    assert six.startswith("ecg.predict: 6 leads: ")
    assert " not applied: " in six
    for before, after in zip(json.loads(alone.out), json.loads(together.out), strict=True):
        line = f"ecg.predict: {after['lead_set']} leads: {after['notes'][-1]}"
        assert line in (twelve, six)
        assert after["notes"][:-1] == before["notes"]
        changed = before["diagnoses"] != after["diagnoses"]
        assert changed == (after["lead_set"] == 12)


def test_predict_and_test_model_agree_on_one_hospital(untrained, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ECG_WORKERS", "1")
    folder, outputs = write_folder(tmp_path / "hospital", 10), tmp_path / "outputs"
    importlib.import_module("test_model").main(
        [str(untrained), str(folder), str(outputs), "--one-site"]
    )
    (line, _) = capsys.readouterr().out.splitlines()
    predict([str(untrained), str(folder), "--json", "--rule", "challenge", "--one-site"])
    printed = capsys.readouterr()
    assert printed.err == f"ecg.predict: {line}\n"
    for found in json.loads(printed.out):
        _, codes, labels, chances = read_output(outputs / f"{Path(found['file']).stem}.csv")
        expected = {
            code: (bool(label), chance)
            for code, label, chance in zip(codes, labels, chances, strict=True)
        }
        for diagnosis in found["diagnoses"]:
            label, chance = expected[diagnosis["codes"][0]]
            assert diagnosis["present"] == label
            assert diagnosis["probability"] == pytest.approx(chance, abs=1e-5)


def test_predict_does_not_explain_one_hospitals_probabilities(untrained, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        predict(
            [str(untrained), str(tmp_path), "--one-site", "--explain", str(tmp_path / "p.html")]
        )
    assert end.value.code == 2
    assert "--explain: expected no --one-site" in capsys.readouterr().err
