import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly
from scipy.special import expit

from ecg.models import predictor as inference
from ecg.models.decisions import decide
from ecg.models.predictor import Predictor, load_predictor
from ecg.models.prior_shift import adapt
from ecg.models.registry import METHODS, build_network
from ecg.records.demographics import encode_demographics
from ecg.records.diagnoses import OUTPUT_CODES, per_code
from ecg.records.discovery import find_records, read_header_text
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records.record import Record, read_recording
from ecg.signals.measurements import n_measurements
from ecg.signals.preprocessing import prepare
from ecg.training.batches import window_batches
from ecg.training.dataset import prepare_dataset
from ecg.training.fit import answer_dataset
from tests.narrow import untrained_model
from tests.reading_tasks import die_at_one_record
from tests.synthetic import beats, digitise, header_text, write_record


@pytest.fixture(scope="module")
def predictor(untrained):
    return load_predictor(untrained, 12)


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
        "lead order": answer(predictor, signal[::-1], leads=backwards),
        "lead names": answer(predictor, signal, leads=[lead.upper() for lead in TWELVE_LEADS]),
        "line ends": predictor.answer(text.replace("\n", "\r\n"), digitise(signal)),
        "array type": predictor.answer(text, digitise(signal).astype(float)),
    }
    for what, given in variants.items():
        np.testing.assert_allclose(given.probabilities, reference, atol=1e-3, err_msg=what)


def test_many_records_get_the_probabilities_of_each_alone(predictor):
    signals = [beats(5000, 500, rate_bpm).astype(np.float32) for rate_bpm in (50, 75, 120)]
    records = [Record("A1", one, 500.0, TWELVE_LEADS, 60.0, "Male", ()) for one in signals]
    records.insert(1, replace(records[0], signal=np.zeros_like(signals[0])))
    first, flat, *others = predictor.probabilities_of(iter(records))
    assert "expected a signal" in str(flat)
    for record, found in zip([records[0], *records[2:]], [first, *others], strict=True):
        np.testing.assert_allclose(found, predictor.probabilities(record), atol=1e-5)


@pytest.mark.usefixtures("without_graphs")
def test_the_amplitude_counts_where_it_is_measured_and_nowhere_else():
    model, text = untrained_model("multiscale_se", 2), header_text("A1", 500, 5000, ["I", "II"])
    network = replace(model.method.network, measured_width=None)
    published = replace(model.method, network=network)
    alone = replace(model, method=published, network=build_network(published, 2, 26))
    for own, counts in ((model, True), (alone, False)):
        predictor = Predictor(own)
        low, high = (
            predictor.answer(text, digitise(size * beats(5000, 500)[:2])).probabilities
            for size in (1, 5)
        )
        assert np.allclose(low, high, atol=1e-3) != counts


@pytest.mark.parametrize("fs", [100, 250, 257, 300, 1000])
def test_the_same_recording_at_another_rate_stays_near(predictor, fs):
    signal = beats(5000, 500)
    given = answer(predictor, resample_poly(signal, fs, 500, axis=1), fs=fs)
    reference = answer(predictor, signal)
    np.testing.assert_allclose(given.probabilities, reference.probabilities, atol=0.02)


@pytest.mark.parametrize("lead_set", [12, 2])
def test_dead_leads_and_odd_lengths_are_answered(untrained, lead_set):
    predictor = load_predictor(untrained, lead_set)
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
        (
            "",
            np.zeros((12, 10)),
            "(unreadable header): could not be read; answered as sinus rhythm: empty",
        ),
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
    untrained, text, recording, message, capsys
):
    predictor = load_predictor(untrained, 12)
    given = predictor.answer(text, recording)
    assert_unusable(predictor, given, capsys, message)
    assert predictor.n_unusable == 1


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["se_ecgnet", "antialiased_resnet18"])
def test_age_and_sex_count_where_the_network_takes_them(name):
    predictor, recording = Predictor(untrained_model(name, 2)), digitise(beats(5000, 500)[:2])
    text = header_text("A1", 500, 5000, ["I", "II"], age="60")
    patients = {
        "a woman of 60": text,
        "a woman of 20": text.replace("60\n", "20\n"),
        "a woman of no age": text.replace("60\n", "NaN\n"),
        "a man of 60": text.replace("Female", "Male"),
        "somebody of 60": text.replace("Female", "Unknown"),
    }
    answers = {who: predictor.answer(header, recording) for who, header in patients.items()}
    for who, given in answers.items():
        assert_whole(given)
        for other, answered in answers.items():
            same = np.allclose(given.probabilities, answered.probabilities, atol=1e-6)
            assert same == (who == other), f"{who}, {other}"
    assert predictor.n_unusable == 0


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    ("name", "window_s", "starts_s"),
    [
        ("branched_se", 10, (0, 8, 16, 24)),
        ("se_ecgnet", 10, (0, 8, 16, 24)),
        ("mtfnet", 10, (0,)),
        ("antialiased_resnet18", 5, (0, 5, 10, 15, 20, 25)),
    ],
)
def test_a_long_record_is_voted_over_its_windows(name, window_s, starts_s):
    predictor, fs = Predictor(untrained_model(name, 2)), 500
    method, network = predictor.model.method, predictor.model.network
    # 34 s of beats that grow; each window is prepared by itself.
    recording = digitise(beats(34 * fs, fs)[:2] * np.linspace(0.1, 3, 34 * fs))
    answers = []
    for start_s in starts_s:
        window = recording[:, start_s * fs : (start_s + window_s) * fs] / 1000
        values = {
            "signal": prepare(window, fs, method.preparation),
            "demographics": encode_demographics(60.0, "Female")[None],
        }
        logits = np.asarray(network({part: values[part] for part in network.input}))[0]
        answers.append(expit(logits))
    assert len(starts_s) == 1 or np.ptp(answers, axis=0).max() > 1e-4
    vote = np.max if method.decision.vote == "any" else np.mean
    given = predictor.answer(header_text("A1", fs, 34 * fs, ["I", "II"], age="60"), recording)
    np.testing.assert_allclose(given.probabilities, per_code(vote(answers, axis=0)), atol=1e-6)
    assert predictor.n_unusable == 0


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory):
    """Records of several lengths and rates, one with a dead lead, one with the limb leads alone."""
    folder = tmp_path_factory.mktemp("odd")
    for i, (seconds, fs) in enumerate([(3, 500), (10, 257), (27, 300), (10, 1000), (12, 500)]):
        signal = beats(seconds * fs, fs, rate_bpm=50 + 20 * i, seed=i)
        signal[7] *= i != 1
        leads = TWELVE_LEADS[: 6 if i == 3 else 12]
        write_record(folder, f"R{i}", signal, fs, leads, age=["70", "NaN"][i % 2])
    return folder


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", METHODS)
def test_a_record_is_answered_as_it_is_in_a_dataset(name, odd_folder, tmp_path):
    predictor = Predictor(untrained_model(name, 2, temperature=0.5))
    preparation = predictor.model.method.preparation
    dataset = prepare_dataset(odd_folder, preparation, tmp_path, workers=1)
    outputs, expected = answer_dataset(predictor.model, dataset, np.arange(5))
    for i, files in enumerate(find_records(odd_folder)):
        recording = read_recording(files.recording)
        given = predictor.answer(read_header_text(files.header), recording)
        np.testing.assert_allclose(given.probabilities, per_code(expected[i]), atol=1e-5)
        assert given.labels == per_code(outputs[i])
    assert predictor.n_unusable == 0
    assert np.ptp(expected, axis=0).max() > 1e-4


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    ("name", "workers"),
    [pytest.param("multiscale_se", 2, marks=pytest.mark.contract), ("branched_se", 1)],
)
def test_many_records_are_answered_as_one_by_one(name, workers, odd_folder, tmp_path, capsys):
    for files in find_records(odd_folder):
        for i in range(4):
            for path in (files.header, files.recording):
                shutil.copy(path, tmp_path / f"{i}{path.name}")
    for broken in ("1R1", "3R4"):  # the second one after all that have windows
        (tmp_path / f"{broken}.mat").write_bytes(b"broken")
    files = find_records(tmp_path)
    predictor = Predictor(untrained_model(name, 2, temperature=0.5))
    found = dict(predictor.answer_files(files, workers))
    assert list(found) == files
    assert predictor.n_unusable == 2
    unread = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in unread] == ["1R1", "3R4"]
    for one in files:
        if one.name not in ("1R1", "3R4"):
            recording = read_recording(one.recording)
            expected = predictor.answer(read_header_text(one.header), recording)
            np.testing.assert_allclose(
                found[one].probabilities, expected.probabilities, atol=1e-5, err_msg=one.name
            )
            assert found[one].labels == expected.labels
    assert_whole(found[files[-1]])


@pytest.mark.nightly
@pytest.mark.usefixtures("without_graphs")
def test_a_record_that_kills_its_reader_costs_no_other(odd_folder, tmp_path, capsys, monkeypatch):
    for files in find_records(odd_folder):
        for i in range(4):
            for path in (files.header, files.recording):
                shutil.copy(path, tmp_path / f"{i}{path.name}")
    files = find_records(tmp_path)
    predictor = Predictor(untrained_model("multiscale_se", 2))
    expected = dict(predictor.answer_files(files))
    monkeypatch.setattr(inference, "read_inputs", die_at_one_record)
    found = dict(predictor.answer_files(files, workers=2))
    assert list(found) == files
    for one in files:
        if one.name != "1R1":
            given = found[one].probabilities
            np.testing.assert_allclose(given, expected[one].probabilities, atol=1e-5)
    told = "1R1: could not be read; answered as sinus rhythm: the process that read it was killed\n"
    assert capsys.readouterr().err == told


class Wide:
    """Stands for a network whose logits, for any window, are the first sample of its lead I."""

    input = ("signal",)

    def __init__(self):
        self.shapes = set()

    def compile(self, **options):
        pass

    def predict_on_batch(self, inputs):
        self.shapes.add(inputs["signal"].shape)
        return np.repeat(inputs["signal"][:, 0, :1], 26, axis=1)


def test_windows_of_many_records_go_through_the_network_in_one_shape(monkeypatch):
    n_windows = [1, 70, 0, 3, 64, 1, 0, 0]  # 0: cannot be read
    inputs, expected, count = [], [], 0
    for n in n_windows:
        values = (count + np.arange(n)) / 1000
        count += n
        signal = np.repeat(values[:, None, None], 2, axis=1).astype(np.float32)
        inputs.append({"signal": signal} if n else ValueError("no such file"))
        expected.append(expit(values.max(initial=0)))
    monkeypatch.setattr(inference, "read_inputs", lambda files, **_: [inputs[i] for i in files])
    predictor = Predictor(replace(untrained_model("branched_se", 2), network=Wide()))
    files = [Numbered(i) for i in range(len(n_windows))]
    found = dict(predictor.answer_files(files))
    assert predictor.model.network.shapes == {(64, 2, 1)}
    assert list(found) == files
    for number, n, largest in zip(files, n_windows, expected, strict=True):
        # "any" takes the largest of the windows.
        wanted = largest if n else predictor.model.prevalence[0]
        assert found[number].probabilities[0] == pytest.approx(wanted, abs=1e-6)
    assert predictor.n_unusable == n_windows.count(0)


def test_unreadable_records_of_one_hospital_are_answered_as_ever_and_not_counted():
    predictor = Predictor(untrained_model("branched_se", 2))  # sinus rhythm in a tenth
    random = np.random.default_rng(0)
    probabilities = list(random.uniform(0.2, 0.4, (150, 26)))
    probabilities[3] = probabilities[100] = None
    results = [(Numbered(i), found) for i, found in enumerate(probabilities)]
    estimate, answers = predictor.answer_one_site(iter(results))
    found = dict(answers)
    assert list(found) == [files for files, _ in results]
    assert (estimate.n_records, estimate.applied) == (148, True)
    assert found[3] == found[100]
    assert sum(found[3].labels) == 1
    for i, before in enumerate(probabilities):
        expected = np.full(26, 0.1) if before is None else adapt(before, estimate)
        np.testing.assert_allclose(found[i].probabilities, per_code(expected))
        # Its threshold is one half, which none of the probabilities reached before.
        positive = [code for code, label in zip(*found[i][:2], strict=True) if label]
        assert positive == ["426783006"]


def test_one_hospital_like_the_training_records_is_answered_as_record_by_record():
    predictor = Predictor(untrained_model("multiscale_se", 2))
    results = [(Numbered(i), np.random.default_rng(i).uniform(0, 0.2, 26)) for i in range(70)]
    estimate, answers = predictor.answer_one_site(results)
    assert not estimate.applied
    for (_, probabilities), (_, given) in zip(results, answers, strict=True):
        labels = decide(probabilities[None], predictor.model.decision)[0]
        assert given.labels == per_code(labels)
        np.testing.assert_array_equal(given.probabilities, per_code(probabilities))


class Numbered(int):
    """A record's number in the place of its files."""

    name = "a record"


class Seen:
    """Stands for a network that takes all there is; `batches` are the inputs that it was given."""

    input = ("signal", "demographics", "measurements")

    def __init__(self):
        self.batches = []

    def compile(self, **options):
        pass

    def predict_on_batch(self, inputs):
        self.batches.append(inputs)
        return np.zeros((1, 26))


@pytest.mark.parametrize("lead_set", [12, 2])
@pytest.mark.parametrize("name", ["multiscale_se", "branched_se", "antialiased_resnet18"])
def test_a_network_sees_of_a_record_what_it_saw_in_training(name, lead_set, odd_folder, tmp_path):
    predictor = Predictor(replace(untrained_model(name, lead_set), network=Seen()))
    preparation = predictor.model.method.preparation
    dataset = prepare_dataset(odd_folder, preparation, tmp_path, workers=1)
    for i, files in enumerate(find_records(odd_folder)):
        text, recording = read_header_text(files.header), read_recording(files.recording)
        (expected,) = window_batches(dataset, [i], lead_set, Seen.input, 99)
        assert expected["measurements"].shape[1] == n_measurements(lead_set)
        n_windows = len(expected["signal"])
        # Once with all leads of the file, once with those of the lead set alone.
        predictor.answer(text, recording)
        predictor.answer(*reduced(text, recording, LEAD_SETS[lead_set]))
        assert len(predictor.model.network.batches) == 2 * n_windows
        for part in Seen.input:
            batches = [inputs[part] for inputs in predictor.model.network.batches]
            seen = np.concatenate(batches).reshape(2, *expected[part].shape)
            np.testing.assert_allclose(seen[0], expected[part], atol=1e-6, err_msg=part)
            np.testing.assert_array_equal(seen[1], seen[0], err_msg=part)
            assert seen.dtype == expected[part].dtype == np.float32
        predictor.model.network.batches.clear()
    assert predictor.n_unusable == 0


def reduced(text, recording, leads):
    """The header and the recording with these leads alone, where the record has them."""
    first, *lines = text.splitlines()
    n_leads = len(recording)
    rows = [i for i in range(n_leads) if lines[i].split()[-1] in leads]
    first = first.replace(f" {n_leads} ", f" {len(rows)} ", 1)
    kept = [first, *(lines[i] for i in rows), *lines[n_leads:]]
    return "\n".join(kept) + "\n", recording[rows]


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("gain", [1e-6, 1e-35])
@pytest.mark.parametrize("name", METHODS)
def test_an_absurd_amplitude_is_answered(name, gain):
    predictor, recording = Predictor(untrained_model(name, 2)), digitise(beats(5000, 500)[:2])
    given = predictor.answer(header_text("A1", 500, 5000, ["I", "II"], gain=gain), recording)
    assert predictor.n_unusable == 0
    assert_whole(given)


@pytest.mark.nightly
def test_a_thousand_answers_more_take_no_more_memory(predictor):
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("this system does not tell a process's memory")
    text, recording = header_text("A1", 500, 5000, TWELVE_LEADS), digitise(beats(5000, 500))

    def resident_mib():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    for _ in range(200):
        predictor.answer(text, recording)
    before = resident_mib()
    for _ in range(1000):
        predictor.answer(text, recording)
    assert resident_mib() - before < 10


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


def test_a_network_that_overflows_is_no_answer(untrained, capsys, monkeypatch):
    predictor = load_predictor(untrained, 12)
    nothing = np.full((1, 26), np.nan)
    monkeypatch.setattr(predictor.model.network, "predict_on_batch", lambda inputs: nothing)
    assert_unusable(predictor, answer(predictor, beats(5000, 500)), capsys, "no finite ones")
