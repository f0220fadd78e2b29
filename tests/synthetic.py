"""Small synthetic records in the Challenge's formats, with predictable samples."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from ecg.records.leads import LEAD_SETS, TWELVE_LEADS

GAIN = 1000.0  # ADC units per mV
# Share of a beat's deflections in each lead; limb leads obey Einthoven and Goldberger.
_LEAD_GAIN = dict(
    zip(TWELVE_LEADS, (0.6, 1.0, 0.4, -0.8, 0.1, 0.7, -0.5, 0.3, 0.6, 1.1, 1.0, 0.8), strict=True)
)
# (codes, heart rate, width of the R wave) of rhythms that a network can distinguish.
_RHYTHMS = (
    ("426783006", 75.0, 0.012),
    ("427084000", 130.0, 0.012),
    ("426177001", 45.0, 0.012),
    ("164909002,426783006", 70.0, 0.045),
)


def beats(n_samples, fs, rate_bpm=75.0, qrs_s=0.012, seed=0, noise_mv=0.01) -> np.ndarray:
    """Return a signal (12, n_samples), mV, of P, R and T waves with white noise."""
    time = np.arange(n_samples) / fs
    since_beat = (time + 0.3) % (60.0 / rate_bpm) - 0.3
    wave = sum(
        height * np.exp(-0.5 * ((since_beat - centre) / width) ** 2)
        for height, centre, width in ((0.15, -0.16, 0.02), (1.0, 0.0, qrs_s), (0.3, 0.2, 0.04))
    )
    signal = np.array([_LEAD_GAIN[lead] for lead in TWELVE_LEADS])[:, None] * wave
    return signal + noise_mv * np.random.default_rng(seed).standard_normal(signal.shape)


def header_text(
    name, fs, n_samples, leads, dx="426783006", gain=GAIN, baseline=0, age="60", v103=False
) -> str:
    """Return a header in the dialect of the Challenge's downloads, or of PhysioNet 1.0.3."""
    signal_format, units = ("16x1+24", f"{gain}({baseline})") if v103 else ("16+24", f"{gain:g}")
    if baseline and not v103:
        units = f"{gain:g}({baseline})"
    mark = "# " if v103 else "#"
    date = "" if v103 else " 12-May-2020 12:33:59"
    lines = [f"{name} {len(leads)} {fs:g} {n_samples}{date}"]
    lines += [f"{name}.mat {signal_format} {units}/mV 16 0 0 0 0 {lead}" for lead in leads]
    lines += [f"{mark}Age: {age}", f"{mark}Sex: Female", f"{mark}Dx: {dx}", f"{mark}Rx: Unknown"]
    return "\n".join(lines) + "\n"


def digitise(signal, gain=GAIN, baseline=0) -> np.ndarray:
    """Return the digital values, int16, of a signal in mV."""
    return np.round(np.asarray(signal) * gain + baseline).astype(np.int16)


def write_record(folder, name, signal, fs, leads=TWELVE_LEADS, **header) -> Path:
    """Write NAME.hea and NAME.mat (v4) with the `leads` of a 12-lead signal in mV."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recording = digitise(signal[[TWELVE_LEADS.index(lead) for lead in leads]])
    savemat(folder / f"{name}.mat", {"val": recording}, format="4")
    text = header_text(name, fs, recording.shape[1], leads, **header)
    (folder / f"{name}.hea").write_text(text)
    return folder / f"{name}.hea"


def write_folder(folder, n_records, lead_set=12, prefix="T", fs=500.0, v103=False) -> Path:
    """Write ten-second records of four alternating rhythms; return the folder."""
    for i in range(n_records):
        dx, rate_bpm, qrs_s = _RHYTHMS[i % len(_RHYTHMS)]
        signal = beats(round(10 * fs), fs, rate_bpm + i % 7, qrs_s, seed=i)
        name = f"{prefix}{lead_set:02d}{i:04d}"
        write_record(folder, name, signal, fs, LEAD_SETS[lead_set], dx=dx, v103=v103)
    return Path(folder)
