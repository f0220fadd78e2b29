"""`python -m benchmarks.quality RECORDS`: which recordings `ecg.signals.quality` takes for an ECG.

Prints the share of real records that are refused, whole, with fewer leads, cut and resampled, and
the share of signals that are no ECG that is accepted. Numbers of leads, sampling rates, lengths
and sizes of the latter are drawn. With `--figures`: quantiles of what the limits are about.
"""

import argparse
from collections import Counter
from dataclasses import astuple

import numpy as np
from scipy.signal import butter, chirp, sosfiltfilt

from ecg.records.discovery import find_records
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import read_record, select_leads
from ecg.signals.preprocessing import fill_missing, resample
from ecg.signals.quality import FIGURES, assess_quality, beat_figures

QUANTILES = (0.0, 0.002, 0.005, 0.01, 0.5, 0.99, 0.995, 0.998, 1.0)
SAMPLING_RATES_HZ = (100.0, 250.0, 500.0, 1000.0)
DURATIONS_S = (3.0, 5.0, 10.0)
PEAK_TO_PEAK_MV = (0.01, 100.0)


# Signals that are no ECG: (random generator, number of samples, Hz) -> (n_samples,) -------------


def coloured_noise(random, n_samples, fs, exponent) -> np.ndarray:
    """Noise whose power falls with that power of the frequency, standard deviation 1."""
    spectrum = np.fft.rfft(random.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / fs)
    spectrum[1:] /= frequency[1:] ** (exponent / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, n_samples)
    return noise / noise.std()


def white_noise(random, n_samples, fs) -> np.ndarray:
    """Every sample by itself."""
    return random.standard_normal(n_samples)


def pink_noise(random, n_samples, fs) -> np.ndarray:
    """1/f."""
    return coloured_noise(random, n_samples, fs, 1)


def random_walk(random, n_samples, fs) -> np.ndarray:
    """Return the running sum of white noise."""
    return np.cumsum(random.standard_normal(n_samples))


def low_passed_noise(random, n_samples, fs) -> np.ndarray:
    """White noise below 5 to 40 Hz."""
    sections = butter(2, random.uniform(5, 40), fs=fs, output="sos")
    return sosfiltfilt(sections, random.standard_normal(n_samples))


def eeg(random, n_samples, fs) -> np.ndarray:
    """1/f noise and an alpha rhythm."""
    sections = butter(2, (8, 12), "bandpass", fs=fs, output="sos")
    alpha = sosfiltfilt(sections, random.standard_normal(n_samples))
    return pink_noise(random, n_samples, fs) + random.uniform(0.5, 2) * alpha / alpha.std()


def digital_noise(random, n_samples, fs) -> np.ndarray:
    """2 to 8 levels at random, or low-passed noise in coarse steps."""
    if random.random() < 0.5:
        return random.integers(0, random.integers(2, 9), n_samples).astype(float)
    noise = low_passed_noise(random, n_samples, fs)
    return np.round(noise / noise.std() * random.uniform(0.7, 5))


def _any_frequency(random, fs, low_hz=0.5, high_hz=50.0) -> float:
    return float(np.exp(random.uniform(np.log(low_hz), np.log(min(high_hz, 0.45 * fs)))))


def _cycles(random, n_samples, fs, high_hz=50.0) -> np.ndarray:
    """Cycles that have passed at each sample, at a frequency of 0.5 Hz to `high_hz`."""
    return _any_frequency(random, fs, high_hz=high_hz) * np.arange(n_samples) / fs + random.random()


def sine(random, n_samples, fs) -> np.ndarray:
    """0.5 to 50 Hz."""
    return np.sin(2 * np.pi * _cycles(random, n_samples, fs))


def several_sines(random, n_samples, fs) -> np.ndarray:
    """2 to 6 of them."""
    count = random.integers(2, 7)
    return sum(random.uniform(0.2, 1) * sine(random, n_samples, fs) for _ in range(count))


def frequency_sweep(random, n_samples, fs) -> np.ndarray:
    """From any frequency to any other."""
    time = np.arange(n_samples) / fs
    low, high = _any_frequency(random, fs), _any_frequency(random, fs)
    return chirp(time, low, n_samples / fs, high, "logarithmic", phi=random.uniform(0, 360))


def square_wave(random, n_samples, fs) -> np.ndarray:
    """0.5 to 20 Hz, high for 30 to 70 % of the time."""
    return (_cycles(random, n_samples, fs, 20) % 1 < random.uniform(0.3, 0.7)).astype(float)


def sawtooth_wave(random, n_samples, fs) -> np.ndarray:
    """0.5 to 20 Hz, rising or falling."""
    return random.choice((-1, 1)) * (_cycles(random, n_samples, fs, 20) % 1)


def triangle_wave(random, n_samples, fs) -> np.ndarray:
    """0.5 to 20 Hz."""
    return np.abs(_cycles(random, n_samples, fs, 20) % 1 - 0.5)


def constant(random, n_samples, fs) -> np.ndarray:
    """Any value."""
    return np.full(n_samples, random.standard_normal())


def _event_samples(random, n_samples, fs, least_hz) -> np.ndarray:
    count = max(random.poisson(random.uniform(least_hz, 5) * n_samples / fs), 1)
    return random.integers(0, n_samples, count)


def impulses(random, n_samples, fs) -> np.ndarray:
    """Single samples at random times, 0.5 to 5 a second, of one height or of several."""
    signal = np.zeros(n_samples)
    places = _event_samples(random, n_samples, fs, 0.5)
    signal[places] = 1 if random.random() < 0.5 else random.uniform(0.3, 1, len(places))
    return signal


def steps(random, n_samples, fs) -> np.ndarray:
    """To any level, at random times, 0.3 to 5 a second."""
    signal = np.zeros(n_samples)
    places = _event_samples(random, n_samples, fs, 0.3)
    signal[places] = random.standard_normal(len(places))
    return np.cumsum(signal)


def noisy_impulses(random, n_samples, fs) -> np.ndarray:
    """Impulses and white noise of a fiftieth of their height."""
    return impulses(random, n_samples, fs) + 0.02 * random.standard_normal(n_samples)


def noisy_steps(random, n_samples, fs) -> np.ndarray:
    """Return steps and white noise of a fiftieth of their usual height."""
    return steps(random, n_samples, fs) + 0.02 * random.standard_normal(n_samples)


def breathing(random, n_samples, fs) -> np.ndarray:
    """9 to 30 breaths a minute, of changing length, with a little noise."""
    wander = 1 + 0.2 * coloured_noise(random, n_samples, fs, 2)
    phase = 2 * np.pi * np.cumsum(random.uniform(0.15, 0.5) * wander) / fs
    noise = 0.02 * random.standard_normal(n_samples)
    return np.sin(phase) + 0.2 * np.sin(2 * phase + 1) + noise


def _pulse_times(random, n_samples, fs) -> np.ndarray:
    rr_s = 60 / random.uniform(45, 130)
    count = int(n_samples / fs / rr_s) + 6
    return np.cumsum(rr_s * (1 + 0.04 * random.standard_normal(count))) - 2 * rr_s


def pulse_oximeter(random, n_samples, fs) -> np.ndarray:
    """Return a rounded wave a heartbeat, with a second one after it: a photoplethysmogram."""
    time = np.arange(n_samples) / fs
    width, second = random.uniform(0.07, 0.11), random.uniform(0.3, 0.5)
    signal = 0.002 * coloured_noise(random, n_samples, fs, 1)
    for start in _pulse_times(random, n_samples, fs):
        signal += np.exp(-0.5 * ((time - start) / width) ** 2)
        signal += second * np.exp(-0.5 * ((time - start - 0.28) / (1.5 * width)) ** 2)
    return signal


def arterial_pressure(random, n_samples, fs) -> np.ndarray:
    """Return a steep rise a heartbeat, a slow fall, and a notch in it."""
    time = np.arange(n_samples) / fs
    rise, fall = random.uniform(0.04, 0.08), random.uniform(0.2, 0.6)
    signal = 0.005 * random.standard_normal(n_samples)
    for start in _pulse_times(random, n_samples, fs):
        since = np.maximum(time - start, 0)
        signal += (1 - np.exp(-((since / rise) ** 2))) * np.exp(-since / fall)
        signal += 0.15 * np.exp(-0.5 * ((since - 0.33) / 0.03) ** 2)
    return signal


NO_ECG = (
    white_noise,
    pink_noise,
    random_walk,
    low_passed_noise,
    eeg,
    digital_noise,
    sine,
    several_sines,
    frequency_sweep,
    square_wave,
    sawtooth_wave,
    triangle_wave,
    constant,
    impulses,
    noisy_impulses,
    steps,
    noisy_steps,
    breathing,
    pulse_oximeter,
    arterial_pressure,
)


def draw_signal(kind, seed, duration_s=None) -> tuple[np.ndarray, float]:
    """Signal, mV, (n_leads, n_samples), of that kind, and its sampling rate.

    1, 2 or 12 leads, each drawn by itself or all alike, 100 to 1000 Hz, 3 to 10 s where
    `duration_s` is None, and 0.01 to 100 mV from the lowest to the highest sample.
    """
    random = np.random.default_rng(seed)
    fs = float(random.choice(SAMPLING_RATES_HZ))
    drawn_s = random.choice(DURATIONS_S)
    n_samples = round((duration_s or drawn_s) * fs)
    n_leads = int(random.choice((1, 2, 12)))
    if random.random() < 0.5:
        signal = np.stack([kind(random, n_samples, fs) for _ in range(n_leads)])
    else:
        signal = np.tile(kind(random, n_samples, fs), (n_leads, 1))
    size = np.exp(random.uniform(*np.log(PEAK_TO_PEAK_MV)))
    return (signal * size / max(np.ptp(signal), 1e-9)).astype(np.float32), fs


# What is made of a real record -----------------------------------------------------------------


def shuffle_samples(signal, random) -> np.ndarray:
    """Every lead's samples in any order, all leads' in the same one half of the times."""
    return (
        random.permuted(signal, axis=1) if random.random() < 0.5 else random.permutation(signal.T).T
    )


def variants(signal, fs) -> dict[str, tuple[np.ndarray, float]]:
    """Return the signal and its sampling rate: whole, cut, resampled."""
    middle = max((signal.shape[1] - round(5 * fs)) // 2, 0)
    filled = fill_missing(signal.astype(np.float64))
    first_s = filled[:, : round(10 * fs)]
    level = first_s.mean(axis=1, keepdims=True)
    found = {
        "whole": (signal, fs),
        "first 10 s": (signal[:, : round(10 * fs)], fs),
        "middle 5 s": (signal[:, middle : middle + round(5 * fs)], fs),
    }
    for target_fs in (100.0, 250.0, 1000.0):
        resampled = (resample(first_s - level, fs, target_fs) + level).astype(np.float32)
        found[f"10 s at {target_fs:g} Hz"] = resampled, target_fs
    return found


def refusals(records) -> dict[tuple[str, str], list[str | None]]:
    """By variant and leads, the reason why each record was refused; None where it was not."""
    found = {}
    for record in records:
        signal = select_leads(record, TWELVE_LEADS)
        for variant, (changed, fs) in variants(signal, record.fs).items():
            choices = {"12 leads": range(12), "I+II": range(2)}
            choices |= {lead: [row] for row, lead in enumerate(TWELVE_LEADS)}
            for leads, rows in choices.items():
                names = [TWELVE_LEADS[row] for row in rows]
                reasons = assess_quality(changed[list(rows)], fs, names).reasons
                found.setdefault((variant, leads), []).append(reasons[0] if reasons else None)
    return found


def print_refusals(records) -> None:
    """Return the shares of real records that are refused, and why."""
    found = refusals(records)
    columns = ("12 leads", "I+II", *TWELVE_LEADS)
    print(f"Refused of {len(records)} real records, %, by the leads that are there")
    print(f"{'':16s}" + "".join(f"{name:>9s}" for name in columns) + f"{'a lead':>9s}")
    for variant in dict.fromkeys(variant for variant, _ in found):
        shares = [np.mean([r is not None for r in found[variant, name]]) for name in columns]
        shares.append(np.mean(shares[2:]))
        print(f"{variant:16s}" + "".join(f"{100 * share:9.2f}" for share in shares))
    for (variant, leads), reasons in found.items():
        if leads in ("12 leads", "I+II"):
            for record, reason in zip(records, reasons, strict=True):
                if reason is not None:
                    print(f"{record.name}, {variant}, {leads}: {reason}")
    reasons = Counter(r.split(";")[0] for row in found.values() for r in row if r is not None)
    for reason, count in reasons.most_common():
        print(f"{count:6d}  {reason}")


def print_acceptances(records, n_seeds) -> None:
    """Return the shares of signals that are no ECG, or in another unit, that are accepted."""
    print(f"\nAccepted of {n_seeds} seeds each, %")
    for kind in NO_ECG:
        accepted = [
            assess_quality(signal, fs, TWELVE_LEADS[: len(signal)]).usable
            for signal, fs in (draw_signal(kind, seed) for seed in range(n_seeds))
        ]
        print(f"{100 * np.mean(accepted):7.2f}  {kind.__name__.replace('_', ' ')}")
    made = {
        "samples shuffled": shuffle_samples,
        "uV read as mV": lambda signal, random: signal * 1000,
        "V read as mV": lambda signal, random: signal / 1000,
    }
    print(f"Accepted of {len(records)} real records, first 10 s, %: 12 leads, I+II, a lead")
    for name, change in made.items():
        random = np.random.default_rng(0)
        accepted = []
        for record in records:
            signal = select_leads(record, TWELVE_LEADS)[:, : round(10 * record.fs)]
            changed = change(signal, random)
            rows = ([*range(12)], [0, 1], [int(random.integers(12))])
            accepted.append(
                [assess_quality(changed[r], record.fs, ["lead"] * len(r)).usable for r in rows]
            )
        print("".join(f"{100 * share:7.2f}" for share in np.mean(accepted, axis=0)), f" {name}")


def print_figures(records, n_seeds) -> None:
    """Quantiles of the figures of single leads, of real records and of each other kind."""
    for duration_s in (10, 5):
        leads = [
            figures
            for record in records
            for figures in beat_figures(
                record.signal[:, : round(duration_s * record.fs)], record.fs
            )
        ]
        _print_quantiles(f"real leads, first {duration_s} s", leads)
    for kind in NO_ECG:
        drawn = (draw_signal(kind, seed) for seed in range(n_seeds))
        leads = [beat_figures(signal[:1], fs)[0] for signal, fs in drawn]
        _print_quantiles(kind.__name__.replace("_", " "), leads)


def _print_quantiles(title, leads) -> None:
    found = np.array([astuple(figures) for figures in leads if figures is not None])
    print(f"\n{title}: {len(found)} of {len(leads)} leads have two whole beats; quantiles")
    if len(found):
        print(f"{'':14s}" + "".join(f"{100 * q:9.1f}%" for q in QUANTILES))
        for name, values in zip(FIGURES, found.T, strict=True):
            cells = "".join(f"{value:10.3g}" for value in np.quantile(values, QUANTILES))
            print(f"{name:14s}{cells}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", help="folder of 12-lead records")
    parser.add_argument("--seeds", type=int, default=200, help="signals of each kind")
    parser.add_argument("--figures", action="store_true", help="what the limits are about")
    options = parser.parse_args()
    records = [read_record(files, 60.0) for files in find_records(options.records)]
    if options.figures:
        print_figures(records, options.seeds)
    else:
        print_refusals(records)
        print_acceptances(records, options.seeds)


if __name__ == "__main__":
    main()
