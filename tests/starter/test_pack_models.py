import json
import shutil
import time

import numpy as np
import pytest

from benchmarks import pack_models
from benchmarks.pack_models import Release, pack, pack_weights, runs_by_lead_set
from ecg.models.descriptions import ModelFolderError
from ecg.models.model_files import load_trained_model
from ecg.models.operating_points import fit_points
from ecg.records.leads import LEAD_SETS
from tests.starter.made_up import write_folds


@pytest.fixture
def packed(untrained, tmp_path):
    return lambda *arguments, **options: pack(
        untrained, tmp_path / "packed", RELEASE, *arguments, **options
    )


RELEASE = Release("1.2.3", "0123456", "train_model.py")


def weights(folder, lead_set=12):
    return load_trained_model(folder, lead_set).network.get_weights()


def test_packed_models_are_smaller_and_equal(packed, untrained, tmp_path):
    assert packed() == list(LEAD_SETS)
    for lead_set in LEAD_SETS:
        name = f"{lead_set}_leads.weights.h5"
        assert (tmp_path / "packed" / name).stat().st_size < (untrained / name).stat().st_size
        for before, after in zip(
            weights(untrained, lead_set), weights(tmp_path / "packed", lead_set), strict=True
        ):
            assert np.array_equal(before, after)
    before = json.loads((untrained / "12_leads.json").read_text())
    after = json.loads((tmp_path / "packed" / "12_leads.json").read_text())
    assert after.pop("release") == {
        "version": "1.2.3",
        "commit": "0123456",
        "command": "train_model.py",
        "stored_as": "float32",
    }
    del before["weights"], after["weights"]
    assert before == after


def test_equal_weights_give_equal_files(untrained, tmp_path):
    source = untrained / "2_leads.weights.h5"
    pack_weights(source, tmp_path / "first.h5")
    time.sleep(1.1)  # HDF5 counts in seconds
    pack_weights(source, tmp_path / "second.h5")
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


def test_half_precision_is_named_and_rounds_weights(packed, untrained, tmp_path):
    packed(half=True)
    release = json.loads((tmp_path / "packed" / "2_leads.json").read_text())["release"]
    assert release["stored_as"] == "float16"
    for before, after in zip(weights(untrained, 2), weights(tmp_path / "packed", 2), strict=True):
        assert np.array_equal(np.asarray(before, np.float16), np.asarray(after, np.float16))


def test_operating_points_are_fitted_on_the_answers_of_all_folds(packed, tmp_path):
    for lead_set in LEAD_SETS:
        write_folds(tmp_path / "out", lead_set)
    packed(tmp_path / "out")
    points = load_trained_model(tmp_path / "packed", 3).decision.points
    folds = runs_by_lead_set(tmp_path / "out")[3]
    labels = np.concatenate([fold.labels for fold in folds])
    expected = fit_points(labels, np.concatenate([fold.probabilities for fold in folds]))
    assert points.n_records == len(labels)
    np.testing.assert_allclose(points.thresholds, expected.thresholds)


def test_a_lead_set_without_folds_is_refused(packed, tmp_path):
    write_folds(tmp_path / "out", 12)
    with pytest.raises(ValueError, match="expected folds of 6 leads, found none"):
        packed(tmp_path / "out")
    assert not any((tmp_path / "packed").iterdir())


def test_several_runs_of_a_lead_set_are_refused(tmp_path):
    write_folds(tmp_path, 12)
    write_folds(tmp_path, 12, seed=1)
    with pytest.raises(ValueError, match="expected one method, variant and seed of 12 leads"):
        runs_by_lead_set(tmp_path)


def test_a_training_that_was_cut_is_not_shipped(untrained, tmp_path):
    model = shutil.copytree(untrained, tmp_path / "model")
    description = json.loads((model / "4_leads.json").read_text())
    description["training_log"]["start"] = {"cut_by_time_limit": True, "start": None}
    (model / "4_leads.json").write_text(json.dumps(description))
    with pytest.raises(ModelFolderError, match=r"4_leads\.json: expected a full training"):
        pack(model, tmp_path / "packed", RELEASE)


def test_models_that_are_too_large_are_not_written(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(pack_models, "LARGEST_BYTES", 100_000)
    with pytest.raises(ValueError, match=r"expected models of at most 0.1 MB together, found"):
        packed()
    assert not any((tmp_path / "packed").iterdir())
