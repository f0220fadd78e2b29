"""`test_model.py --one-site`, in this process, with models that were never trained."""

import importlib

import numpy as np
import pytest

from ecg.models.predictor import load_predictor
from ecg.models.prior_shift import adapt, estimate_share
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
