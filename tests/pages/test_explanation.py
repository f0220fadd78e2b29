from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ecg.pages.explanation import explain, remove_part, split_into_parts
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from tests.synthetic import beats

PREVALENCE = np.full(26, 0.1)


def a_record(leads=("I", "II", "V2"), seconds=10, fs=500.0) -> Record:
    signal = beats(round(seconds * fs), fs).astype(np.float32)
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    return Record("A1", signal[rows], fs, leads, 60.0, "Female", ())


def model_with(log_odds):
    """Return a model whose log-odds of class 0 are a function of the record, of other classes 0."""

    def predict_proba(records):
        for record in records:
            probabilities = np.full(26, 0.5)
            probabilities[0] = 1 / (1 + np.exp(-log_odds(record)))
            yield probabilities

    return predict_proba


def test_the_only_part_that_matters_is_found():
    record = a_record()
    qrs_mv = np.nanmax(record.signal[2])

    def height_of_v2(record):
        return np.nan_to_num(np.nanmax(record.signal[2], initial=0.0)) / qrs_mv * 4 - 2

    explanation = explain(model_with(height_of_v2), record, record.leads, PREVALENCE)
    strongest = explanation.parts[explanation.contributions[:, 0].argmax()]
    assert strongest.name == "QRS complex in V2"
    assert np.abs(explanation.separable[:, 1:]).max() == 0
    assert explanation.without_lead[2, 0] < explanation.without_lead[0, 0]


def test_an_abnormal_beat_is_found():
    record = a_record()
    beat_at = round(4.8 * record.fs)
    record.signal[:, beat_at - 100 : beat_at + 100] -= 3 * np.hanning(200).astype(np.float32)
    explanation = explain(
        model_with(lambda record: -np.nanmin(record.signal)), record, record.leads, PREVALENCE
    )
    strongest = explanation.parts[explanation.contributions[:, 0].argmax()]
    assert strongest.leads == record.leads
    ((start, end),) = strongest.spans_s
    assert start < 4.8 < end
    assert end - start < 1.5


def test_contributions_add_up_to_the_change_of_the_log_odds():
    explanation = explain(
        model_with(lambda record: np.nansum(np.abs(record.signal)) / 1000),
        a_record(),
        ("I", "II", "V2"),
        PREVALENCE,
    )
    np.testing.assert_allclose(
        explanation.contributions.sum(axis=0), explanation.log_odds - explanation.baseline
    )
    assert explanation.log_odds[0] == pytest.approx(
        np.abs(a_record().signal).sum() / 1000, rel=1e-5
    )


def test_waves_and_beats_cover_a_lead_without_overlap():
    record = a_record()
    parts = split_into_parts(record, record.leads)
    waves = [part for part in parts if part.leads == ("II",)]
    beats_ = [part for part in parts if len(part.leads) == 3]
    for group in (waves, beats_):
        spans = sorted(span for part in group for span in part.spans_s)
        assert spans[0][0] == 0
        assert spans[-1][1] == pytest.approx(10)
        for (_, end), (start, _) in pairwise(spans):
            assert end == pytest.approx(start)
    assert len(waves) == 3


def test_a_recording_without_beats_is_split_into_seconds():
    record = a_record()
    flat = replace(record, signal=np.zeros_like(record.signal))
    assert [part.name for part in split_into_parts(flat, flat.leads)][:2] == [
        "0.0 to 1.0 s",
        "1.0 to 2.0 s",
    ]
    assert len(split_into_parts(flat, flat.leads)) == 10
    assert len(split_into_parts(a_record(seconds=0.3), ("I", "II"))) == 1


def test_a_part_is_replaced_by_a_straight_line_and_nothing_else_changes():
    record = a_record()
    record.signal[0, :10] = np.nan
    part = next(
        part for part in split_into_parts(record, record.leads) if part.name == "QRS complex in I"
    )
    changed = remove_part(record, part).signal
    np.testing.assert_array_equal(changed[1:], record.signal[1:])
    start, end = (round(edge * record.fs) for edge in part.spans_s[3])
    steps = np.diff(changed[0, start - 1 : end + 1])
    np.testing.assert_allclose(steps, steps.mean(), atol=1e-5)
    np.testing.assert_array_equal(changed[0, end:][:50], record.signal[0, end:][:50])


def test_the_error_of_an_unusable_record_is_raised():
    def predict_proba(records):
        for _ in records:
            yield RecordError("no signal")

    with pytest.raises(RecordError, match="no signal"):
        explain(predict_proba, a_record(), ("I", "II"), PREVALENCE)


def test_a_record_unusable_without_a_part_counts_at_the_prevalence():
    def predict_proba(records):
        yield np.full(26, 0.9)
        for _ in list(records)[1:]:
            yield RecordError("no signal")

    explanation = explain(predict_proba, a_record(), ("I", "II"), PREVALENCE)
    np.testing.assert_allclose(explanation.separable, np.log(0.9 / 0.1) - np.log(0.1 / 0.9))
    assert explanation.leads == ("I", "II")
