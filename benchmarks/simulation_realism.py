"""`python -m benchmarks.simulation_realism SIMULATED REAL`: compare simulated and real records.

Prints, for each quantity, quantiles of the real records and of the simulated ones: of all records,
of those in sinus rhythm with no other scored diagnosis, by diagnosis, and by source for noise. The
gap is the mean distance between the quantiles of both, as a share of the range between the outer
real ones.

Intervals are those of `ecg.signals.measurements`; waves are measured on the median beat.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.signal import butter, sosfiltfilt, welch

from ecg.models.settings import read_settings
from ecg.records.diagnoses import DIAGNOSES, encode_dx
from ecg.records.discovery import find_records
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import read_record, select_leads
from ecg.signals import qrs
from ecg.signals.delineation import BEFORE, FS, Delineation, align_beats, delineate
from ecg.signals.measurements import beats_of, measure_globally

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LEAD = {lead: i for i, lead in enumerate(TWELVE_LEADS)}
_LONGEST_S = 10.0
_BANDS_HZ = ((0.05, 0.7), (0.7, 5.0), (5.0, 15.0), (15.0, 40.0), (40.0, 100.0))
_NOISE_HZ = (20.0, 100.0)
_NORMAL_DEVIATION = 1.4826  # of a normal distribution, in median absolute deviations
_MAINS_HZ = (50.0, 60.0)
_MIN_RECORDS = 8  # of a group, on either side

ALL, SINUS_ALONE = "all", "sinus rhythm alone"
# Simulated sources and the names of the real records after which they are modelled.
COUNTERPARTS = {"A": ("JS",), "B": ("HR",), "C": ("E",), "D": ("A", "Q"), "E": ("S",)}

RHYTHM = ("heart rate", "RR deviation", "RR successive", "RR range")
INTERVALS = ("PR", "QRS", "QT", "QTc", "QRS axis", "T axis")
WAVES = (
    *(f"QRS {lead}" for lead in TWELVE_LEADS),
    *(f"{wave} {lead}" for wave in ("R", "S") for lead in ("V1", "V3", "V6")),
    "QRS chest / limb",
    "QRS share above 40 Hz",
    "QRS beat to beat",
    *(f"T {lead}" for lead in ("I", "II", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")),
    *(f"ST {lead}" for lead in ("II", "V2", "V5")),
    "P II",
    "P V1, highest",
    "P V1, lowest",
)
NOISE = (
    *(f"II, {low:g}-{high:g} Hz" for low, high in _BANDS_HZ),
    "V2, 40-100 Hz",
    *(f"noise {lead}" for lead in ("I", "II", "V1", "V5")),
    "noise, noisiest lead / median",
    "mains II",
)
UNITS = {"heart rate": "/min", "QRS chest / limb": "", "QRS beat to beat": "%"}
UNITS |= dict.fromkeys(RHYTHM[1:], "ms") | dict.fromkeys(INTERVALS[:4], "ms")
UNITS |= {"QRS axis": "degrees", "T axis": "degrees", "QRS share above 40 Hz": "dB"}
UNITS |= dict.fromkeys(NOISE, "uV") | {"noise, noisiest lead / median": ""}
UNITS = dict.fromkeys(WAVES, "mV") | UNITS
BY_LABEL = (
    "heart rate",
    "RR deviation",
    "PR",
    "QRS",
    "QTc",
    "QRS axis",
    "QRS II",
    "QRS V1",
    "T V5",
)


@dataclass(frozen=True)
class Measured:
    """A record's name, scored diagnoses (abbreviations), and quantities that could be measured."""

    name: str
    diagnoses: frozenset[str]
    values: dict[str, float]


def measure_record(files) -> Measured | None:
    """Measure a record; None where it has no two beats or a lead is flat."""
    record = read_record(files, _LONGEST_S)
    signal = np.nan_to_num(select_leads(record, TWELVE_LEADS).astype(float))
    beats = beats_of(signal, record.fs)
    if beats is None or len(beats.r_peaks) < 3 or not np.ptp(signal, axis=1).all():
        return None
    values = _rhythm(beats.r_peaks / qrs.FS) | _global_measurements(signal, record.fs)
    aligned = align_beats(signal, record.fs, beats.r_peaks / qrs.FS)
    if aligned is not None and len(aligned.median_beat) == len(TWELVE_LEADS):
        values |= _waves(aligned, delineate(aligned))
    values |= _noise(signal, record.fs)
    labels = encode_dx(record.dx)
    diagnoses = (d.abbreviation for d, is_labelled in zip(DIAGNOSES, labels, strict=True)
                 if is_labelled)  # fmt: skip
    kept = {name: value for name, value in values.items() if np.isfinite(value)}
    return Measured(files.name, frozenset(diagnoses), kept)


def _rhythm(r_peaks_s) -> dict[str, float]:
    rr_ms = 1000 * np.diff(r_peaks_s)
    return {
        "RR deviation": rr_ms.std(),
        "RR successive": np.sqrt(np.mean(np.diff(rr_ms) ** 2)),
        "RR range": np.ptp(rr_ms),
    }


def _global_measurements(signal, fs) -> dict[str, float]:
    found = measure_globally(signal, fs)
    rate = found.heart_rate_bpm
    values = {"heart rate": rate, "PR": found.pr_ms, "QRS": found.qrs_ms, "QT": found.qt_ms}
    values["QRS axis"] = found.qrs_axis_deg
    if rate and found.qt_ms:
        values["QTc"] = found.qt_ms * (rate / 60) ** (1 / 3)  # Fridericia's
    return {name: value for name, value in values.items() if value is not None}


def _waves(aligned, limits: Delineation) -> dict[str, float]:
    """Sizes of the median beat's waves, above the level just before the QRS."""
    if not np.isfinite(limits.qrs_ms):
        return {}
    beat = aligned.median_beat

    def sample(since_onset_ms) -> int:
        return onset + round(since_onset_ms * FS / 1000)

    # The delineation counts from the R peak, the largest sample of the QRS over all leads.
    near = slice(BEFORE - 50, BEFORE + 50)
    centred = beat - np.median(beat, axis=1, keepdims=True)
    r_peak = near.start + np.sqrt((centred[:, near] ** 2).mean(axis=0)).argmax()
    onset = r_peak + round(limits.qrs_onset_ms * FS / 1000)
    end = sample(limits.qrs_ms)
    if onset < 12 or end - onset < 10:
        return {}
    beat = beat - beat[:, onset - 10 : onset].mean(axis=1, keepdims=True)
    complexes = beat[:, onset:end]
    size = np.ptp(complexes, axis=1)
    values = {f"QRS {lead}": size[i] for lead, i in LEAD.items()}
    values |= {f"R {lead}": complexes[LEAD[lead]].max() for lead in ("V1", "V3", "V6")}
    values |= {f"S {lead}": complexes[LEAD[lead]].min() for lead in ("V1", "V3", "V6")}
    values["QRS chest / limb"] = np.median(size[6:]) / np.median(size[:6])
    fast = sosfiltfilt(_high_pass(40.0, FS), beat, axis=1)[:, onset:end]
    total = ((complexes - complexes.mean(axis=1, keepdims=True)) ** 2).sum()
    values["QRS share above 40 Hz"] = 10 * np.log10((fast**2).sum() / total)
    each = np.ptp(aligned.beats[:, :, onset:end], axis=2)
    values["QRS beat to beat"] = 100 * np.median(each.std(axis=1) / each.mean(axis=1))
    latest = min(limits.qt_ms if np.isfinite(limits.qt_ms) else 420, 480)
    t_wave = beat[:, end + round(0.06 * FS) : sample(latest)]
    if t_wave.shape[1] > 20:
        height = t_wave[np.arange(len(t_wave)), np.abs(t_wave).argmax(axis=1)]
        values |= {name: height[LEAD[name[2:]]] for name in WAVES if name.startswith("T ")}
        lead_i, lead_ii = t_wave.sum(axis=1)[:2]
        values["T axis"] = np.degrees(np.arctan2((2 * lead_ii - lead_i) / np.sqrt(3), lead_i))
    j_60 = beat[:, end + round(0.06 * FS)]
    values |= {f"ST {lead}": j_60[LEAD[lead]] for lead in ("II", "V2", "V5")}
    if np.isfinite(limits.pr_ms):
        start = max(sample(-limits.pr_ms), 0)
        p_wave = beat[:, start : onset - 5] - beat[:, [start]]
        if p_wave.shape[1] > 15:
            values["P II"] = p_wave[LEAD["II"]].max()
            values["P V1, highest"] = p_wave[LEAD["V1"]].max()
            values["P V1, lowest"] = p_wave[LEAD["V1"]].min()
    return values


def _noise(signal, fs) -> dict[str, float]:
    """Root mean square by bands, and what of it lies between the QRS complexes, uV."""
    signal = 1000 * signal
    n_segment = min(signal.shape[1], round(8 * fs))
    frequencies, density = welch(signal, fs, nperseg=n_segment)
    step = frequencies[1]

    def size(lead, low, high) -> float:
        inside = (frequencies >= low) & (frequencies < high)
        return np.sqrt(density[LEAD[lead], inside].sum() * step)

    values = {f"II, {low:g}-{high:g} Hz": size("II", low, high) for low, high in _BANDS_HZ}
    values["V2, 40-100 Hz"] = size("V2", 40, 100)
    fast = sosfiltfilt(_high_pass(_NOISE_HZ[0], fs), signal, axis=1)
    noise = _NORMAL_DEVIATION * np.median(np.abs(fast), axis=1)
    values |= {f"noise {lead}": noise[LEAD[lead]] for lead in ("I", "II", "V1", "V5")}
    values["noise, noisiest lead / median"] = noise.max() / max(np.median(noise), 1e-9)
    lines = []
    for hz in _MAINS_HZ:
        near = density[LEAD["II"], np.abs(frequencies - hz) < 0.4].max(initial=0.0)
        around = density[
            LEAD["II"], (np.abs(frequencies - hz) > 1) & (np.abs(frequencies - hz) < 4)
        ]
        lines.append(max(near - np.median(around), 0.0) * 1.5 * step)  # the window's bandwidth
    values["mains II"] = np.sqrt(max(lines))
    return values


def _high_pass(hz, fs) -> np.ndarray:
    high = min(_NOISE_HZ[1], 0.45 * fs)
    return butter(4, (hz, high), "bandpass", fs=fs, output="sos")


def groups() -> dict[str, tuple]:
    """Return, per group, whether a simulated and whether a real record belongs to it, and which
    quantities are compared."""
    found = {
        ALL: (lambda _: True, lambda _: True, (*RHYTHM, *INTERVALS, *WAVES, *NOISE)),
        SINUS_ALONE: (_is_sinus_alone, _is_sinus_alone, (*RHYTHM, *INTERVALS, *WAVES, *NOISE)),
    }
    for diagnosis in DIAGNOSES:
        name = diagnosis.abbreviation

        def has(measured, name=name):
            return name in measured.diagnoses

        found[name] = has, has, BY_LABEL
    for letter, prefixes in COUNTERPARTS.items():

        def is_simulated(measured, letter=letter):
            return measured.name.startswith(f"SIM{letter}")

        def is_real(measured, prefixes=prefixes):
            return measured.name.rstrip("0123456789") in prefixes

        found[f"SIM{letter} and {', '.join(prefixes)}"] = is_simulated, is_real, NOISE
    return found


def _is_sinus_alone(measured) -> bool:
    return measured.diagnoses == {"NSR"}


def compare(tables: dict[str, list[Measured]]) -> list[dict]:
    """Return a row per group and quantity: quantiles of each table, and the gap to the real ones.

    tables: measured records by name; one is "real", the others are simulated.
    """
    rows = []
    for group, (is_simulated, is_real, quantities) in groups().items():
        for quantity in quantities:
            columns = {
                name: [
                    measured.values[quantity]
                    for measured in table
                    if (is_real if name == "real" else is_simulated)(measured)
                    and quantity in measured.values
                ]
                for name, table in tables.items()
            }
            if min(map(len, columns.values())) < _MIN_RECORDS:
                continue
            quantiles = {name: np.quantile(column, QUANTILES) for name, column in columns.items()}
            real = quantiles["real"]
            row = {"group": group, "quantity": quantity, "unit": UNITS[quantity]}
            for name, found in quantiles.items():
                row |= {name: _text(found), f"{name}_records": len(columns[name])}
                if name != "real":
                    gap = np.abs(found - real).mean() / max(real[-1] - real[0], 1e-9)
                    row[f"{name}_gap"] = f"{gap:.2f}"
            rows.append(row)
    return rows


def _text(quantiles) -> str:
    return " / ".join(f"{value:.3g}" for value in quantiles)


def measure_folder(folder) -> list[Measured]:
    """Measure the records of a folder, and say how many could be."""
    files = find_records(folder)
    workers = read_settings().workers
    found = Parallel(n_jobs=workers)(delayed(measure_record)(record) for record in files)
    kept = [measured for measured in found if measured is not None]
    print(f"{folder}: {len(kept)} of {len(files)} records measured")
    return kept


def report(rows) -> str:
    """Return the table as text, group by group."""
    simulated = [name.removesuffix("_gap") for name in rows[0] if name.endswith("_gap")]
    shares = " / ".join(f"{share:.0%}" for share in QUANTILES)
    lines = []
    for group in dict.fromkeys(row["group"] for row in rows):
        lines.append(f"\n{group}: {shares}; gap")
        inside = [row for row in rows if row["group"] == group]
        for row in inside:
            quantity = f"{row['quantity']}, {row['unit']}".removesuffix(", ")
            lines.append(f"{quantity:34s} {'real':10s} {row['real']}")
            lines += [
                f"{'':34s} {name:10s} {row[name]}; {row[f'{name}_gap']}" for name in simulated
            ]
        for name in simulated:
            gap = np.mean([float(row[f"{name}_gap"]) for row in inside])
            lines.append(f"{'mean gap':34s} {name:10s} {gap:.3f}")
    return "\n".join(lines)


def main() -> None:
    """Run the command line; ECG_WORKERS sets the number of processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("simulated")
    parser.add_argument("real")
    parser.add_argument("--earlier", help="records of another simulation, to be compared as well")
    parser.add_argument("--csv", type=Path, help="file for the same table")
    options = parser.parse_args()
    folders = {"real": options.real, "earlier": options.earlier, "simulated": options.simulated}
    rows = compare({name: measure_folder(folder) for name, folder in folders.items() if folder})
    print(report(rows))
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
