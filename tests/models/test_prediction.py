from dataclasses import replace

import numpy as np
import pytest

from ecg.models.prediction import ModelSummary, Prediction, Timeline, summarise_model
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
    timeline = Timeline(10.0 * np.arange(5), np.ones(5, bool), np.full(5, 70.0), present)
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
