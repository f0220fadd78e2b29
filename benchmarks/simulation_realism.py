"""`python -m benchmarks.simulation_realism SIMULATED REAL`: compare simulated and real records.

Prints quantiles of heart rate, QRS duration, QT interval, amplitude per lead and spectrum of both
folders.
"""

import argparse

import numpy as np
from joblib import Parallel, delayed
from scipy.signal import welch

from ecg.records.discovery import find_records
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import read_record, select_leads
from tests.measurements import FS, LEAD, measure

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BANDS_HZ = ((0.05, 0.7), (0.7, 5), (5, 15), (15, 40), (40, 100))


def measure_record(files) -> dict[str, float] | None:
    """Return named measurements of a record; None if it has too few beats or no lead II."""
    record = read_record(files, 10.0)
    signal = select_leads(record, TWELVE_LEADS)
    found = measure(signal, record.fs)
    if found is None or not np.ptp(found.signal[LEAD["II"]]):
        return None
    measurements = {
        "heart rate, /min": found.rate_bpm,
        "RR irregularity": found.irregularity,
        "QRS duration, ms": 1000 * found.qrs_s,
        "QT interval, ms": 1000 * found.qt_s,
        "QRS axis, degrees": found.axis_deg,
    }
    measurements |= {
        f"QRS {lead}, mV": value for lead, value in zip(TWELVE_LEADS, found.qrs_mv, strict=True)
    }
    measurements |= {f"T {lead}, mV": found.t_mv[LEAD[lead]] for lead in ("II", "V2", "V5")}
    raw = np.nan_to_num(signal[LEAD["II"]].astype(float))
    frequencies, power = welch(raw, record.fs, nperseg=min(len(raw), round(8 * record.fs)))
    total = power[(frequencies >= BANDS_HZ[0][0]) & (frequencies < 100)].sum()
    for low, high in BANDS_HZ:
        inside = (frequencies >= low) & (frequencies < high)
        share = power[inside].sum() / total
        measurements[f"II, {low:g}-{high:g} Hz, dB"] = 10 * np.log10(share + 1e-9)
    noise_mv = _high_pass_deviation(found.signal[LEAD["II"]])
    measurements["II, noise above 50 Hz, uV"] = 1000 * noise_mv
    return measurements


def _high_pass_deviation(lead) -> float:
    """Return the standard deviation, by the median absolute deviation, after a 10 ms mean."""
    residual = lead - np.convolve(lead, np.ones(5) / 5, "same")
    return 1.48 * np.median(np.abs(residual - np.median(residual)))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("simulated")
    parser.add_argument("real")
    options = parser.parse_args()
    tables = []
    for folder in (options.simulated, options.real):
        files = find_records(folder)
        rows = Parallel(n_jobs=-1)(delayed(measure_record)(record) for record in files)
        kept = [row for row in rows if row is not None]
        print(f"{folder}: {len(kept)} of {len(files)} records measured at {FS:g} Hz")
        tables.append(kept)
    print(f"{'':26s}" + " ".join(f"{f'{q:.0%} sim':>9s} {'real':>8s}" for q in QUANTILES))
    for name in tables[0][0]:
        columns = [np.quantile([row[name] for row in table], QUANTILES) for table in tables]
        print(f"{name:26s}" + " ".join(f"{a:9.3g} {b:8.3g}" for a, b in zip(*columns, strict=True)))


if __name__ == "__main__":
    main()
