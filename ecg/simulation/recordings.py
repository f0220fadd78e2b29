"""Simulate records of a source, and write folders of them in parallel."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from ecg.records.headers import Header
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS, lead_rows
from ecg.records.record import write_record
from ecg.runtime.progress import track
from ecg.simulation.heart import beat_table, dipole, fibrillation, flutter, lead_field
from ecg.simulation.names import record_name
from ecg.simulation.patients import Patient, diagnose
from ecg.simulation.populations import draw_patient
from ecg.simulation.recorders import record_signal
from ecg.simulation.rhythms import beat_times
from ecg.simulation.sources import SOURCES, Source, annotate

_CHUNK = 32  # records per task
_MAX_QRS_S = 0.2


def heart_signal(patient: Patient, onsets, kinds, duration_s, fs, rng) -> np.ndarray:
    """Return the noise-free independent leads (8, n_samples), mV, of a patient's heart.

    onsets: (n_beats,), s, and kinds: (n_beats,), as returned by rhythms.beat_times.
    """
    rhythm = patient.rhythm
    n_samples = round(duration_s * fs)
    tables = {kind: beat_table(patient.heart, kind) for kind in set(kinds)}
    beats = np.stack([tables[kind] for kind in kinds])
    # Respiration modulates the amplitude.
    breath = np.sin(2 * np.pi * rhythm.breath_hz * onsets)
    beats[:, :, 2:] *= (1 + patient.heart.respiration * breath)[:, None, None]
    total = dipole(onsets, beats, fs, n_samples)
    time = np.arange(n_samples) / fs
    if rhythm.kind == "fibrillation" or "ventricular pacing, no P" in kinds:
        total += fibrillation(time, rhythm.atrial_hz, rng.uniform(0.04, 0.1), rng)
    elif rhythm.kind == "flutter":
        total += flutter(time, rhythm.atrial_hz, rng.random(), rng.uniform(0.15, 0.4))
    return lead_field(patient.heart) @ total


def simulate_record(name: str, source: Source, lead_set: int, rng) -> tuple[Header, np.ndarray]:
    """Return the header and the recording (n_leads, n_samples), int16, of a random patient."""
    recorder = source.recorder
    patient = draw_patient(source.population, rng)
    duration_s = rng.uniform(*source.duration_s)
    onsets, kinds = beat_times(patient.rhythm, duration_s, rng)
    visible = visible_beat_kinds(onsets, kinds, duration_s)
    dx = annotate(diagnose(patient, visible, source.habits.limits), source.habits, rng)
    signal = heart_signal(patient, onsets, kinds, duration_s, recorder.fs, rng)
    recording = record_signal(signal, recorder, rng)
    rows = lead_rows(lead_set)
    header = Header(
        name=name,
        fs=recorder.fs,
        n_samples=recording.shape[1],
        leads=LEAD_SETS[lead_set],
        adc_gains=(recorder.adc_gain,) * len(rows),
        baselines=(recorder.baseline,) * len(rows),
        files=(f"{name}.mat",) * len(rows),
        age=patient.age,
        sex=patient.sex,
        dx=dx,
    )
    return header, recording[rows]


def visible_beat_kinds(onsets, kinds, duration_s) -> set[str]:
    """Return the kinds of the beats whose QRS, and the beat before, lie within the recording."""
    return {
        kind
        for before, onset, kind in zip(onsets, onsets[1:], kinds[1:], strict=False)
        if before > 0 and onset < duration_s - _MAX_QRS_S
    }


def simulate_folder(
    folder: str | Path,
    n_records: int,
    seed: int,
    sources: Sequence[str] = tuple(SOURCES),
    lead_set: int = len(TWELVE_LEADS),
    fs: float | None = None,
    workers: int = 1,
    label_errors: float | None = None,
) -> None:
    """Write `n_records` records of alternating sources to `folder`, which is made if missing.

    sources: names; a repeated one counts once. lead_set: number of leads. fs: Hz, and label_errors:
    see `Habits`; None for those of each source. workers: processes.
    A record depends only on seed, source and index, not on `workers` or `n_records`; the patient
    does not depend on `lead_set`, `fs` and `label_errors` either.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    adapted = {name: source_with(name, fs, label_errors) for name in sources}
    tasks = (
        delayed(_write_chunk)(
            folder, range(start, min(start + _CHUNK, n_records)), seed, adapted, lead_set
        )
        for start in range(0, n_records, _CHUNK)
    )
    chunks = Parallel(n_jobs=workers, return_as="generator")(tasks)
    written = (i for n_written in chunks for i in range(n_written))
    for _ in track(written, n_records, "simulating records"):
        pass


def source_with(name: str, fs: float | None = None, label_errors: float | None = None) -> Source:
    """Return the named source, with another sampling rate and share of label errors if given."""
    source = SOURCES[name]
    if label_errors is not None:
        source = replace(source, habits=replace(source.habits, label_errors=label_errors))
    if fs is None:
        return source
    low, high = source.recorder.band_hz
    band_hz = (low, min(high, 0.45 * fs))
    return replace(source, recorder=replace(source.recorder, fs=fs, band_hz=band_hz))


def _write_chunk(folder, indices, seed, sources, lead_set) -> int:
    """Write the records with these indices; return their number."""
    # With several threads, BLAS sums in another order, which changes the rounding of some samples.
    with threadpool_limits(1, "blas"):
        _write_records(folder, indices, seed, sources, lead_set)
    return len(indices)


def _write_records(folder, indices, seed, sources, lead_set) -> None:
    names = tuple(sources)
    for index in indices:
        source_name, i = names[index % len(names)], index // len(names)
        source = sources[source_name]
        rng = np.random.default_rng([seed, crc32(source_name.encode()), i])
        name = record_name(source.letter, seed, lead_set, i)
        header, recording = simulate_record(name, source, lead_set, rng)
        write_record(folder, header, recording, source.physionet)
