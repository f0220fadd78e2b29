from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ecg.pages.explanation import explain, parts_of, take_out
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from tests.synthetic import beats

PREVALENCE = np.full(26, 0.1)


def a_record(leads=("I", "II", "V2"), seconds=10, fs=500.0) -> Record:
    signal = beats(round(seconds * fs), fs).astype(np.float32)
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    return Record("A1", signal[rows], fs, leads, 60.0, "Female", ())


def answers_by(log_odds):
    """Answers whose log-odds of class 0 are a function of the signal; those of others are 0."""

    def answers(records):
        for record in records:
            probabilities = np.full(26, 0.5)
            probabilities[0] = 1 / (1 + np.exp(-log_odds(record)))
            yield probabilities

    return answers


def test_the_part_that_alone_counts_is_found():
    record = a_record()
    qrs_mv = np.nanmax(record.signal[2])

    def height_of_v2(record):
        return np.nan_to_num(np.nanmax(record.signal[2], initial=0.0)) / qrs_mv * 4 - 2

    told = explain(answers_by(height_of_v2), record, record.leads, PREVALENCE)
    strongest = told.parts[told.contributions[:, 0].argmax()]
    assert strongest.name == "QRS complex in V2"
    assert np.abs(told.own[:, 1:]).max() == 0
    assert told.without_lead[2, 0] < told.without_lead[0, 0]


def test_an_odd_beat_is_found():
    record = a_record()
    beat_at = round(4.8 * record.fs)
    record.signal[:, beat_at - 100 : beat_at + 100] -= 3 * np.hanning(200).astype(np.float32)
    told = explain(
        answers_by(lambda record: -np.nanmin(record.signal)), record, record.leads, PREVALENCE
    )
    strongest = told.parts[told.contributions[:, 0].argmax()]
    assert strongest.leads == record.leads
    ((start, end),) = strongest.spans_s
    assert start < 4.8 < end
    assert end - start < 1.5


def test_contributions_add_up_to_the_change_of_the_answer():
    told = explain(
        answers_by(lambda record: np.nansum(np.abs(record.signal)) / 1000),
        a_record(),
        ("I", "II", "V2"),
        PREVALENCE,
    )
    np.testing.assert_allclose(told.contributions.sum(axis=0), told.whole - told.empty)
    assert told.whole[0] == pytest.approx(np.abs(a_record().signal).sum() / 1000, rel=1e-5)


def test_waves_and_beats_cover_a_lead_without_overlap():
    record = a_record()
    parts = parts_of(record, record.leads)
    waves = [part for part in parts if part.leads == ("II",)]
    beats_ = [part for part in parts if len(part.leads) == 3]
    for group in (waves, beats_):
        spans = sorted(span for part in group for span in part.spans_s)
        assert spans[0][0] == 0
        assert spans[-1][1] == pytest.approx(10)
        for (_, end), (start, _) in pairwise(spans):
            assert end == pytest.approx(start)
    assert len(waves) == 3


def test_a_recording_without_beats_has_pieces_of_a_second():
    record = a_record()
    flat = replace(record, signal=np.zeros_like(record.signal))
    assert [part.name for part in parts_of(flat, flat.leads)][:2] == [
        "0.0 to 1.0 s",
        "1.0 to 2.0 s",
    ]
    assert len(parts_of(flat, flat.leads)) == 10
    assert len(parts_of(a_record(seconds=0.3), ("I", "II"))) == 1


def test_a_part_is_replaced_by_a_straight_line_and_nothing_else_changes():
    record = a_record()
    record.signal[0, :10] = np.nan
    part = next(part for part in parts_of(record, record.leads) if part.name == "QRS complex in I")
    changed = take_out(record, part).signal
    np.testing.assert_array_equal(changed[1:], record.signal[1:])
    start, end = (round(edge * record.fs) for edge in part.spans_s[3])
    steps = np.diff(changed[0, start - 1 : end + 1])
    np.testing.assert_allclose(steps, steps.mean(), atol=1e-5)
    np.testing.assert_array_equal(changed[0, end:][:50], record.signal[0, end:][:50])


def test_a_record_without_an_answer_is_an_error():
    def answers(records):
        for _ in records:
            yield RecordError("no signal")

    with pytest.raises(RecordError, match="no signal"):
        explain(answers, a_record(), ("I", "II"), PREVALENCE)


def test_what_cannot_be_answered_without_a_part_counts_as_nothing_known():
    def answers(records):
        yield np.full(26, 0.9)
        for _ in list(records)[1:]:
            yield RecordError("no signal")

    told = explain(answers, a_record(), ("I", "II"), PREVALENCE)
    np.testing.assert_allclose(told.own, np.log(0.9 / 0.1) - np.log(0.1 / 0.9))
    assert told.leads == ("I", "II")
