from dataclasses import replace

import numpy as np
import pytest

from ecg.models.prediction import (
    ModelSummary,
    Prediction,
    Timeline,
    decide_one_site,
    summarise_model,
)
from ecg.models.prior_shift import adapt
from ecg.records.diagnoses import DIAGNOSES, SINUS_RHYTHM
from ecg.records.record import Record
from ecg.signals.global_measurements import NOT_MEASURED, GlobalMeasurements
from tests.narrow import untrained_model

AF = [diagnosis.abbreviation for diagnosis in DIAGNOSES].index("AF")


def prediction(present=(SINUS_RHYTHM,), uncertain=(), measurements=NOT_MEASURED) -> Prediction:
    classes = np.arange(26)
    return Prediction(
        "file",
        Record("file", np.zeros((2, 10)), 100.0, ("I", "II"), 60.0, "Male", ()),
        10.0,
        2,
        ModelSummary("model", "records"),
        "clinical",
        True,
        measurements,
        np.where(np.isin(classes, present), 0.9, 0.1),
        np.isin(classes, present),
        np.isin(classes, uncertain),
        (),
        (),
    )


def test_sinus_rhythm_alone_is_normal():
    assert prediction().is_normal
    assert not prediction(present=()).is_normal
    assert not prediction(present=(SINUS_RHYTHM, 5)).is_normal
    assert not prediction(uncertain=(AF,)).is_normal
    assert not replace(prediction(), usable=False).is_normal


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heart_rate_bpm", 48),
        ("pr_ms", 230),
        ("qrs_ms", 130),
        ("qtc_ms", 480),
        ("qrs_axis_deg", -70),
    ],
)
def test_an_unusual_measurement_is_not_normal(name, value):
    usual = GlobalMeasurements(70, 160, 90, 400, 430, 40)
    assert prediction(measurements=usual).is_normal
    found = prediction(measurements=replace(usual, **{name: value}))
    assert found.unusual == (name,)
    assert not found.is_normal


def test_classes_come_by_presence_then_probability():
    found = replace(prediction(present=(3, 7)), probabilities=np.linspace(0, 1, 26))
    assert found.order[:4].tolist() == [7, 3, 25, 24]


def test_episodes_are_findings_of_two_windows_or_more():
    present = np.zeros((5, 26), bool)
    present[[1, 3, 4], AF] = present[[0, 2], 4] = present[2, 9] = True
    timeline = Timeline(
        10.0 * np.arange(5), np.ones(5, bool), np.full(5, 70.0), present, np.zeros((5, 26))
    )
    assert timeline.episodes == [(AF, 3, 10.0), (4, 2, 0.0)]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ({}, "records that are not known"),
        (
            {"sources": {"A": 10, "HR": 20}, "n_simulated": 0, "start": {"n_training": 6000}},
            "30 records of A, HR, after 6,000 simulated records",
        ),
        ({"sources": {"SIMA": 40}, "n_simulated": 40}, "40 simulated records, and no real one"),
        (
            {"sources": {"A": 10, "SIMA": 5}, "n_simulated": 5, "start": None},
            "15 records of A, SIMA, 5 of them simulated",
        ),
    ],
)
def test_a_model_says_what_it_was_trained_on(log, expected):
    model = replace(untrained_model("multiscale_se", 2), training_log=log)
    summary = summarise_model(model)
    assert summary.trained_on == expected
    assert summary.name.startswith("multiscale_se (AIRCAS_MEL1")
    assert summary.name.endswith(", 2 leads")


def one_hospital(n_records, share, model):
    """Predictions whose probabilities of sinus rhythm are sure; it is in this share of them."""
    sure = replace(prediction(), probabilities=np.full(26, 0.02))
    found = []
    for i in range(n_records):
        chances = sure.probabilities.copy()
        chances[SINUS_RHYTHM] = 0.95 if i < share * n_records else 0.05
        found.append(replace(sure, file=str(i), probabilities=chances))
    return found, replace(model, prevalence=np.full(26, 0.2))


@pytest.fixture(scope="module")
def model():
    return untrained_model("multiscale_se", 2)


def test_recordings_of_one_hospital_are_decided_by_its_share_of_sinus_rhythm(model):
    found, known = one_hospital(60, 0.9, model)
    doubtful = replace(found[0], probabilities=np.where(np.arange(26) == SINUS_RHYTHM, 0.25, 0.02))
    before = [*found, doubtful]
    estimate, after = decide_one_site(before, known)
    assert estimate.applied
    assert estimate.share > 0.7
    for old, new in zip(before, after, strict=True):
        assert new.file == old.file
        assert new.notes == (*old.notes, str(estimate))
        np.testing.assert_allclose(new.probabilities, adapt(old.probabilities, estimate))
    # Below the default operating point of 1/3 at first, and above it at this hospital.
    assert after[-1].probabilities[SINUS_RHYTHM] > 0.5
    assert np.flatnonzero(after[-1].present).tolist() == [SINUS_RHYTHM]


def test_a_hospital_like_those_in_training_is_decided_as_before(model):
    found, known = one_hospital(60, 0.2, model)
    estimate, after = decide_one_site(found, known)
    assert not estimate.applied
    for old, new in zip(found, after, strict=True):
        assert new.probabilities is old.probabilities
        assert new.present is old.present
        assert new.notes[-1].endswith(
            "not applied: the folder's answers do not differ enough from training"
        )


def test_unusable_recordings_do_not_count(model):
    found, known = one_hospital(60, 0.9, model)
    unusable = replace(found[0], usable=False, probabilities=np.zeros(26))
    estimate, after = decide_one_site([unusable, *found], known)
    assert estimate.n_records == 60
    assert after[0] is unusable


def test_the_windows_of_a_long_recording_are_decided_too(model):
    found, known = one_hospital(60, 0.9, model)
    of_windows = np.full((3, 26), 0.02)
    of_windows[:, SINUS_RHYTHM] = 0.25, 0.01, np.nan
    usable = np.array([True, True, False])
    of_windows[~usable] = np.nan
    timeline = Timeline(
        10.0 * np.arange(3), usable, np.full(3, 70.0), np.zeros((3, 26), bool), of_windows
    )
    _, after = decide_one_site([*found, replace(found[0], timeline=timeline)], known)
    assert np.argwhere(after[-1].timeline.present).tolist() == [[0, SINUS_RHYTHM]]
    assert not timeline.present.any()
