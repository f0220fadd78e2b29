import os
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from ecg.classes import OUTPUT_CODES
from ecg.inference import load_predictor
from ecg.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records import find_records, read_header_text, read_recording
from tests.synthetic import beats, digitise, header_text


@pytest.fixture(scope="module")
def predictor(model_folder):
    return load_predictor(model_folder, 12)


def answer(predictor, signal, fs=500, leads=TWELVE_LEADS, **header):
    text = header_text("A1", fs, signal.shape[1], leads, **header)
    gain, baseline = header.get("gain", 1000), header.get("baseline", 0)
    return predictor.answer(text, digitise(signal, gain, baseline))


def assert_whole(given):
    codes, labels, probabilities = given
    assert tuple(codes) == OUTPUT_CODES
    assert len(labels) == len(probabilities) == 30
    assert set(labels) <= {0, 1}
    assert 1 in labels
    assert all(type(label) is int for label in labels)
    assert all(type(p) is float and 0 <= p <= 1 for p in probabilities)


def assert_unusable(predictor, given, capsys, message):
    assert_whole(given)
    positive = [code for code, label in zip(given.codes, given.labels, strict=True) if label]
    assert positive == ["426783006"]
    prevalence = dict(zip(given.codes, given.probabilities, strict=True))
    assert prevalence["426783006"] == pytest.approx(predictor.model.prevalence[14])
    assert message in capsys.readouterr().err


def test_an_answer_is_whole(predictor):
    assert_whole(answer(predictor, beats(5000, 500)))


def test_the_same_recording_written_otherwise_gets_the_same_probabilities(predictor):
    signal = beats(5000, 500)
    reference = answer(predictor, signal).probabilities
    backwards = TWELVE_LEADS[::-1]
    text = header_text("A1", 500, 5000, TWELVE_LEADS)
    variants = {
        "dialect": answer(predictor, signal, v103=True),
        "gain": answer(predictor, signal, gain=4880),
        "baseline": answer(predictor, signal, baseline=-512),
        "amplitude": predictor.answer(text, digitise(5 * signal)),
        "lead order": answer(predictor, signal[::-1], leads=backwards),
        "lead names": answer(predictor, signal, leads=[lead.upper() for lead in TWELVE_LEADS]),
        "line ends": predictor.answer(text.replace("\n", "\r\n"), digitise(signal)),
        "array type": predictor.answer(text, digitise(signal).astype(float)),
    }
    for what, given in variants.items():
        np.testing.assert_allclose(given.probabilities, reference, atol=1e-3, err_msg=what)


@pytest.mark.parametrize("fs", [100, 250, 257, 300, 1000])
def test_the_same_recording_at_another_rate_stays_near(predictor, fs):
    signal = beats(5000, 500)
    given = answer(predictor, resample_poly(signal, fs, 500, axis=1), fs=fs)
    reference = answer(predictor, signal)
    np.testing.assert_allclose(given.probabilities, reference.probabilities, atol=0.02)


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_dead_leads_and_odd_lengths_are_answered(model_folder, lead_set):
    predictor = load_predictor(model_folder, lead_set)
    signal = beats(5000, 500)
    signal[1] = 0.0
    leads = LEAD_SETS[lead_set]
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    for n_samples in (60, 700, 5000):
        assert_whole(answer(predictor, signal[rows, :n_samples], leads=leads))
    assert predictor.n_unusable == 0
    # Three samples are a single one at the network's rate, and no signal.
    assert_whole(answer(predictor, signal[rows, :3], leads=leads))


def test_missing_samples_are_answered(predictor):
    recording = digitise(beats(5000, 500))
    recording[:, 100:120] = -32768
    recording[4] = -32768
    assert_whole(predictor.answer(header_text("A1", 500, 5000, TWELVE_LEADS), recording))
    assert predictor.n_unusable == 0


def test_leads_that_the_record_lacks_are_taken_as_zeros(predictor):
    assert_whole(answer(predictor, beats(5000, 500)[[1]], leads=["II"]))
    assert predictor.n_unusable == 0


@pytest.mark.parametrize(
    ("text", "recording", "message"),
    [
        ("", np.zeros((12, 10)), "(unreadable header): answered as sinus rhythm, unread: empty"),
        (header_text("A1", 500, 10, TWELVE_LEADS), None, "A1: expected numbers"),
        (header_text("A1", 500, 10, TWELVE_LEADS), np.zeros((2, 10)), "A1: expected 12 leads"),
        (header_text("A1", 500, 10, TWELVE_LEADS), np.zeros((12, 10)), "found none"),
        (header_text("A1", 500, 10, TWELVE_LEADS), np.full((12, 10), np.nan), "found none"),
        (header_text("A1", 20, 10, TWELVE_LEADS), np.ones((12, 10)), "50 to 4000 Hz, found 20"),
        (header_text("A1", 500, 10, ["X"]), np.arange(10.0)[None], "found none"),
        (header_text("A1", 1e308, 10, ["I"]), np.arange(10.0)[None], "50 to 4000 Hz"),
        (None, np.arange(10.0)[None], "unexpected AttributeError"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_and_answered_as_sinus_rhythm(
    model_folder, text, recording, message, capsys
):
    predictor = load_predictor(model_folder, 12)
    given = predictor.answer(text, recording)
    assert_unusable(predictor, given, capsys, message)
    assert predictor.n_unusable == 1


def test_thousands_of_answers_take_no_more_memory(predictor):
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("this system does not tell a process's memory")
    text, recording = header_text("A1", 500, 5000, TWELVE_LEADS), digitise(beats(5000, 500))

    def resident_mib():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    for _ in range(200):
        predictor.answer(text, recording)
    before = resident_mib()
    for _ in range(2000):
        predictor.answer(text, recording)
    assert resident_mib() - before < 20


def test_real_records_are_answered_like_their_rewritten_selves(predictor, shared_records_v103):
    for files in find_records(shared_records_v103)[::5]:
        text, recording = read_header_text(files.header), read_recording(files.recording)
        given = predictor.answer(text, recording)
        assert_whole(given)
        rewritten = text.replace("16x1+24 1000.0(0)/mV", "16+24 1000/mv").replace("# ", "#")
        other = predictor.answer(rewritten, recording.astype(np.int32))
        np.testing.assert_allclose(other.probabilities, given.probabilities, atol=1e-3)
        for fs in (250, 300, 1000):
            resampled = resample_poly(recording.astype(float), fs, 500, axis=1)
            resampled_text = text.replace(" 500 5000", f" {fs} {resampled.shape[1]}")
            near = predictor.answer(resampled_text, resampled)
            np.testing.assert_allclose(near.probabilities, given.probabilities, atol=0.05)
