import os
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecg.records.discovery import find_records
from ecg.records.leads import LEAD_SETS
from ecg.records.record import read_record, read_recording
from ecg.signals.preprocessing import Preparation, prepare
from ecg.simulation.__main__ import main
from ecg.simulation.names import is_simulated
from ecg.simulation.patients import Patient
from ecg.simulation.recordings import (
    heart_signal,
    simulate_folder,
    simulate_record,
    source_with,
    visible_beat_kinds,
)
from ecg.simulation.rhythms import beat_times
from ecg.simulation.sources import SOURCES


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulated")
    simulate_folder(path, 40, seed=3)
    return path


@pytest.mark.contract
def test_the_same_seed_writes_the_same_files_with_any_number_of_workers(folder, tmp_path):
    simulate_folder(tmp_path, 40, seed=3, workers=2)
    assert contents(tmp_path) == contents(folder)


def test_more_records_do_not_change_the_first_ones(folder, tmp_path):
    simulate_folder(tmp_path, 11, seed=3)
    first = contents(tmp_path)
    assert len(first) == 22
    assert first.items() <= contents(folder).items()


def test_another_seed_gives_other_patients(folder, tmp_path):
    simulate_folder(tmp_path, 7, seed=4)
    assert not set(contents(tmp_path)) & set(contents(folder))
    ages = [
        [read_record(file).age for file in find_records(path)][:7] for path in (folder, tmp_path)
    ]
    assert ages[0] != ages[1]


def test_label_errors_change_some_labels_and_nothing_else(folder, tmp_path):
    simulate_folder(tmp_path, 40, seed=3, label_errors=0.3)
    changed = 0
    for right, wrong in zip(find_records(folder), find_records(tmp_path), strict=True):
        assert right.recording.read_bytes() == wrong.recording.read_bytes()
        lines = [path.read_text().splitlines() for path in (right.header, wrong.header)]
        differing = [one for one, other in zip(*lines, strict=True) if one != other]
        assert all("Dx" in line for line in differing)
        changed += bool(differing)
    assert 5 <= changed <= 30


def test_records_can_be_read_and_match_their_source(folder):
    files = find_records(folder)
    assert len(files) == 40
    for file in files:
        record = read_record(file)
        source = next(s for s in SOURCES.values() if f"SIM{s.letter}" in file.name)
        assert record.fs == source.recorder.fs
        assert record.leads == LEAD_SETS[12]
        assert record.dx
        assert record.sex in ("Male", "Female")
        assert 18 <= record.age <= 95
        low, high = source.duration_s
        assert low - 0.01 <= record.signal.shape[1] / record.fs <= high + 0.01
        assert np.isfinite(record.signal).all()
        assert 0.05 < np.abs(record.signal).max() < 20


def test_wfdb_reads_the_same_signal_and_verifies_the_checksums(folder):
    for file in find_records(folder)[:14]:
        found = wfdb.rdrecord(str(file.header.with_suffix("")), physical=False)
        np.testing.assert_array_equal(found.d_signal.T, read_recording(file.recording))
        assert found.sig_name == list(LEAD_SETS[12])
        assert found.init_value == list(found.d_signal[0])
        assert found.checksum == [int(c) for c in found.calc_checksum()] or found.checksum == [
            (int(c) + 2**15) % 2**16 - 2**15 for c in found.d_signal.sum(axis=0)
        ]


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_records_of_fewer_leads_come_from_the_same_recording(folder, tmp_path, lead_set):
    simulate_folder(tmp_path, 7, seed=3, lead_set=lead_set)
    for file in find_records(tmp_path):
        record = read_record(file)
        twelve = read_record(
            next(
                f
                for f in find_records(folder)
                if f.name == file.name.replace(f"_{lead_set}_", "_12_")
            )
        )
        assert record.leads == LEAD_SETS[lead_set]
        rows = [twelve.leads.index(lead) for lead in record.leads]
        np.testing.assert_array_equal(record.signal, twelve.signal[rows])
        assert record.dx == twelve.dx


def test_another_sampling_rate_gives_the_same_patient_and_signal():
    found = []
    for fs in (250.0, 1000.0):
        rng = np.random.default_rng(5)
        source = source_with("simulated-laboratory", fs)
        header, recording = simulate_record("X", source, 12, rng)
        assert (header.fs, recording.shape[1]) == (fs, 30 * fs)
        signal = recording / source.recorder.adc_gain
        found.append((header.age, header.dx, prepare(signal, fs, Preparation())))
    assert found[0][:2] == found[1][:2]
    agreement = np.corrcoef(found[0][2].ravel(), found[1][2].ravel())[0, 1]
    assert agreement > 0.95


def test_the_signal_of_a_heart_is_free_of_noise():
    rng = np.random.default_rng(0)
    patient = Patient(60, "Male")
    signal = heart_signal(patient, *beat_times(patient.rhythm, 10.0, rng), 10.0, 500.0, rng)
    assert signal.shape == (8, 5000)
    between = np.abs(np.diff(signal, 3, axis=1)).min(axis=0)
    assert np.quantile(between, 0.2) < 1e-6


def test_the_command_follows_its_options(tmp_path, monkeypatch):
    monkeypatch.setenv("ECG_WORKERS", "1")
    main([str(tmp_path / "new"), "--records", "3", "--seed", "9", "--fs", "257", "--leads", "3",
          "--source", "simulated-county"])  # fmt: skip
    main([str(tmp_path / "wrong"), "--records", "3", "--seed", "9", "--source", "simulated-county",
          "--label-errors", "1"])  # fmt: skip
    wrong = {header.read_text() for header in (tmp_path / "wrong").glob("*.hea")}
    main([str(tmp_path / "right"), "--records", "3", "--seed", "9", "--source", "simulated-county"])
    assert wrong.isdisjoint(header.read_text() for header in (tmp_path / "right").glob("*.hea"))
    records = [read_record(file) for file in find_records(tmp_path / "new")]
    assert [record.name for record in records] == [f"SIMC9_3_0000{i}" for i in range(3)]
    assert {record.fs for record in records} == {257.0}
    assert {record.leads for record in records} == {("I", "II", "V2")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--records", "many"], "'many'"),
        (["--records", "0"], "'0'"),
        (["--records", "1", "--fs", "20"], "expected 50 to 4000 Hz, found '20'"),
        (["--records", "1", "--source", "Ningbo"], "'Ningbo'"),
        (["--records", "1", "--leads", "5"], "--leads"),
        (["--records", "1", "--label-errors", "2"], "a share from 0 to 1, found '2'"),
        (["--records", "1", "--label-errors", "nan"], "a share from 0 to 1, found 'nan'"),
        (["--records", "1", "--label-errors", "few"], "a share from 0 to 1, found 'few'"),
        ([], "--records"),
    ],
)
def test_wrong_options_are_refused(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        main([str(tmp_path), *arguments])
    assert message in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def test_a_repeated_source_counts_once(tmp_path):
    simulate_folder(tmp_path, 4, seed=3, sources=["simulated-county", "simulated-county"])
    assert len(find_records(tmp_path)) == 4


def test_premature_beats_are_visible_only_within_the_recording():
    onsets = np.array([-0.4, 0.2, 0.7, 1.5, 9.7, 10.4])
    kinds = ["sinus", "premature atrial", "sinus", "sinus", "sinus", "premature ventricular"]
    assert visible_beat_kinds(onsets, kinds, 10.0) == {"sinus"}
    assert visible_beat_kinds(onsets + 0.5, kinds, 12.0) == set(kinds)


def test_the_error_names_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"simulation: .*file"):
        main([str(tmp_path / "file" / "out"), "--records", "1"])


def test_simulated_records_are_recognised_by_their_names(folder):
    names = {path.stem for path in Path(folder).glob("*.hea")}
    assert names
    assert all(map(is_simulated, names))
    assert not any(
        map(is_simulated, ("A0001", "HR12345", "JS00001", "SIMON", "SIMA1_12_", "S0001"))
    )
