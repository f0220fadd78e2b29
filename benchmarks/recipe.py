"""What each choice of the default method is worth: the recipe with one of them changed at a time.

    python -m benchmarks.recipe DATA OUT --leads 12 2 --seeds 0 1 2 [--candidate NAME …]
    python -m benchmarks.recipe DATA OUT --measurements --leads 12 2 --seeds 0 1 2

Each candidate is cross-validated twice on the records: on random folds, split anew for each seed,
and leaving out one source at a time. All that a candidate chooses or fits (epoch, calibration,
decision) it does within a fold's training part. With --measurements the networks have no signal
path: minutes instead of hours, for choices that do not concern it. The `ECG_…` variables apply.

OUT/recipe.csv takes a row per candidate, lead set, seed and split, and what it has is not computed
again. AUROC and AUPRC by source are means over the sources of at least 40 records; the Challenge
metric is that of all records together. In the table a difference to the recipe as it is, taken seed
by seed, is marked * where it is larger than twice its standard error.
"""

import argparse
import contextlib
import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np
from keras import ops

from ecg import training
from ecg.batches import Bags
from ecg.classes import read_weights
from ecg.corpus import Corpus, corpus_cache, prepare_corpus
from ecg.demographics import N_DEMOGRAPHICS
from ecg.devices import find_devices
from ecg.epochs import PretrainingOptions
from ecg.folds import split_corpus
from ecg.leads import LEAD_SETS
from ecg.losses import make_loss
from ecg.measurements import n_measurements
from ecg.methods import Method, as_published, find_method, with_epochs
from ecg.pretraining import pretrain, pretraining_method, simulated_for
from ecg.scoring import challenge_metric, score
from ecg.settings import Settings, read_settings
from ecg.training import Start, answer_corpus, fit

AS_IT_IS = "as it is"
SMALLEST_SOURCE = 40  # records
FIGURES = ("AUROC", "AUPRC", "Challenge metric")
_HEAD = ("candidate", "network", "leads", "seed", "split", *FIGURES)


@dataclass(frozen=True)
class Candidate:
    """change: of the method. corpus: what it trains and answers on, made of the records'.
    throughout: around all of a cross-validation, training on simulated records too. while_fitting:
    around the training on real records alone, given the corpus. fit: in place of `fit`."""

    change: Callable[[Method], Method] = lambda method: method
    corpus: Callable[[Corpus], Corpus] = lambda corpus: corpus
    throughout: Callable = contextlib.nullcontext
    while_fitting: Callable = lambda corpus: contextlib.nullcontext()
    fit: Callable = fit


def _changed(part: str, **options) -> Callable[[Method], Method]:
    return lambda method: replace(method, **{part: replace(getattr(method, part), **options)})


def _times_epochs(factor: float) -> Callable[[Method], Method]:
    def change(method):
        epochs = max(round(factor * method.training.epochs), 1)
        return replace(method, training=replace(method.training, epochs=epochs))

    return change


def _times_width(factor: float) -> Callable[[Method], Method]:
    def change(method):
        widths = tuple(round(factor * width) for width in method.network.widths)
        return replace(method, network=replace(method.network, widths=widths))

    return change


def _without_measurements(method: Method) -> Method:
    method = _changed("pretraining", measured_epochs=0)(method)
    return _changed("network", measured_width=None)(method)


class _ChangedBags(Bags):
    """Training batches changed by `change(inputs, labels, random)`, validation batches as ever."""

    change: Callable

    def __getitem__(self, i):
        inputs, labels = super().__getitem__(i)
        if self.seed is None:
            return inputs, labels
        random = np.random.default_rng([self.seed, self.epoch, 1 + i, 1])
        return self.change(inputs, labels, random)


def _batches(change: Callable) -> Callable:
    own = type("OwnBags", (_ChangedBags,), {"change": staticmethod(change)})
    return lambda corpus: patch.object(training, "Bags", own)


def _on_signal(change: Callable) -> Callable:
    """The change of signals (batch, bag, n_leads, n_samples) as one of batches."""

    def of_batch(inputs, labels, random):
        signal = change(inputs["signal"], random).astype(np.float32)
        return inputs | {"signal": signal}, labels

    return _batches(of_batch)


def _scale_amplitude(signal, random):
    return signal * random.uniform(0.8, 1.2, (*signal.shape[:3], 1))


def _drop_leads(signal, random):
    return signal * (random.random((*signal.shape[:3], 1)) >= 0.15)


def _stretch_time(signal, random):
    time, stretched = np.arange(signal.shape[-1]), np.zeros_like(signal)
    for record, factor in enumerate(random.uniform(0.9, 1.1, len(signal))):
        places = time[time * factor <= time[-1]] * factor
        before = places.astype(int)
        after, share = np.minimum(before + 1, time[-1]), places - before
        own = signal[record]
        moved = own[..., before] * (1 - share) + own[..., after] * share
        stretched[record, ..., : len(places)] = moved
    return stretched


def _crop(signal, random):
    """Six to ten of the ten seconds, from anywhere."""
    cropped, n_samples = np.zeros_like(signal), signal.shape[-1]
    for record, length in enumerate(random.integers(6 * n_samples // 10, n_samples, len(signal))):
        first = random.integers(0, n_samples - length + 1)
        cropped[record, ..., :length] = signal[record, ..., first : first + length]
    return cropped


def _mix_up(inputs, labels, random):
    """Pairs of records, weighted by beta(0.3, 0.3); Zhang et al. 2018, arXiv:1710.09412."""
    share = random.beta(0.3, 0.3, len(labels)).astype(np.float32)
    other = random.permutation(len(labels))

    def mix(values):
        own = share.reshape(-1, *[1] * (values.ndim - 1))
        return own * values + (1 - own) * values[other]

    return {name: mix(values) for name, values in inputs.items()}, mix(labels)


class _Masked(keras.losses.Loss):
    """A loss for labels of which -1 stands for unknown: there the answer is taken as right."""

    def __init__(self, loss):
        super().__init__(dtype="float32")
        self.loss = loss

    def call(self, labels, logits):
        unknown = labels < 0
        answers = ops.where(unknown[:, None], -30.0, logits)
        return self.loss.call(ops.where(unknown, 0.0, labels), answers)


@contextlib.contextmanager
def _mask_unlabelled(corpus: Corpus):
    """In training, the classes that none of a source's records has are unknown there."""
    never = {
        source: ~corpus.labels[corpus.sources == source].any(axis=0)
        for source in np.unique(corpus.sources)
    }
    unknown = np.array([never[source] for source in corpus.sources])

    class MaskedBags(Bags):
        def __getitem__(self, i):
            inputs, labels = super().__getitem__(i)
            if self.seed is None:
                return inputs, labels
            chosen = self.order[i * self.batch_size : (i + 1) * self.batch_size]
            return inputs, np.where(unknown[chosen], -1.0, labels).astype(np.float32)

    def masked_loss(options, labels):
        return _Masked(make_loss(options, labels))

    with (
        patch.object(training, "Bags", MaskedBags),
        patch.object(training, "make_loss", masked_loss),
    ):
        yield


def _average_weights(corpus: Corpus):
    """Weights averaged exponentially over the steps; Keras's optimisers put them in at the end."""

    def averaging(options, n_steps):
        return keras.optimizers.AdamW(
            options.learning_rate,
            global_clipnorm=options.clip_norm,
            use_ema=True,
            ema_momentum=0.98,
        )

    return patch("ecg.epochs._optimizer", averaging)


class _SoftMetric(keras.losses.Loss):
    """1 - the Challenge score, where probabilities stand for answers."""

    def __init__(self):
        super().__init__(dtype="float32")
        self.weights = read_weights().astype(np.float32)

    def call(self, labels, logits):
        answers = ops.sigmoid(logits)[:, 0]
        involved = ops.sum(labels + answers - labels * answers, axis=1)
        rewards = ops.sum(ops.matmul(labels, self.weights) * answers, axis=1)
        return 1 - rewards / ops.maximum(involved, 1.0)


def _fit_with_soft_metric(method, corpus, indices, lead_set, seed, devices, start=None):
    """`fit`, then five epochs more, at a tenth of the rate, for the soft Challenge metric."""
    first = fit(method, corpus, indices, lead_set, seed, devices, start=start)
    rate = 0.1 * method.training.learning_rate
    stage = replace(method, training=replace(method.training, epochs=5, learning_rate=rate))
    goes_on = Start(first.network.get_weights(), first.prevalence)
    with patch.object(training, "make_loss", lambda *_: _SoftMetric()):
        return fit(stage, corpus, indices, lead_set, seed, devices, start=goes_on)


def _with_demographics(corpus: Corpus) -> Corpus:
    return replace(corpus, rhythm=np.hstack([corpus.rhythm, corpus.demographics]))


def _wider_input():
    place = "ecg.architectures.multiscale_se.n_measurements"
    return patch(place, lambda n_leads: n_measurements(n_leads) + N_DEMOGRAPHICS)


_TRAINING, _SIGNAL = partial(_changed, "training"), partial(_changed, "augmentation")
# Those that ask for a change of the signal path have no meaning without it.
ON_SIGNAL = {
    "as published": Candidate(as_published),
    "measurements alone": Candidate(_changed("network", steps=())),
    "without measurements": Candidate(_without_measurements),
    "measurements first, no": Candidate(_changed("pretraining", measured_epochs=0)),
    "mV instead of z-score": Candidate(_changed("preparation", scale="mV")),
    "windows over the whole record": Candidate(_changed("preparation", max_windows=6)),
    "shift up to 1 s": Candidate(_SIGNAL(shift_s=1.0)),
    "noise of 5 %": Candidate(_SIGNAL(noise=0.05)),
    "time stretch 10 %": Candidate(while_fitting=_on_signal(_stretch_time)),
    "amplitudes 20 %": Candidate(while_fitting=_on_signal(_scale_amplitude)),
    "lead dropout 15 %": Candidate(while_fitting=_on_signal(_drop_leads)),
    "crops of 6 to 10 s": Candidate(while_fitting=_on_signal(_crop)),
    "feature dropout, none": Candidate(_changed("network", feature_dropout=0.0)),
    "half the width": Candidate(_times_width(0.5)),
    "twice the width": Candidate(_times_width(2)),
}
CANDIDATES = {
    AS_IT_IS: Candidate(),
    "without pre-training": Candidate(
        lambda method: replace(method, pretraining=PretrainingOptions())
    ),
    "twice the simulated records": Candidate(_changed("pretraining", n_records=12_000)),
    "half the measured width": Candidate(_changed("network", measured_width=64)),
    "twice the measured width": Candidate(_changed("network", measured_width=256)),
    "half the epochs": Candidate(_times_epochs(0.5)),
    "twice the epochs": Candidate(_times_epochs(2)),
    "rate without warm-up": Candidate(_TRAINING(warmup_share=0.0)),
    "rate halved on plateau, best epoch": Candidate(
        _TRAINING(schedule="plateau", optimizer="adam", best="loss", epochs=60)
    ),
    "weights averaged": Candidate(while_fitting=_average_weights),
    "classes weigh alike": Candidate(_changed("loss", class_weights="equal")),
    "unlabelled classes masked": Candidate(while_fitting=_mask_unlabelled),
    "mixup": Candidate(while_fitting=_batches(_mix_up)),
    "age and sex": Candidate(corpus=_with_demographics, throughout=_wider_input),
    "soft metric at the end": Candidate(fit=_fit_with_soft_metric),
    **ON_SIGNAL,
}


class Bench:
    """One folder of records, cross-validated candidate by candidate.

    measured: whether the networks see the measurements alone.
    """

    def __init__(self, data: Path, cache: Path, settings: Settings, measured: bool):
        self.data, self.cache, self.settings, self.measured = data, cache, settings, measured
        self.devices, self.starts = find_devices(), {}

    def method(self, candidate: Candidate) -> Method:
        """The candidate's method, at the preset and with the epochs of the settings."""
        method = candidate.change(find_method(self.settings.method, self.settings.preset))
        if self.measured:
            method = replace(method, network=replace(method.network, steps=()))
        return with_epochs(method, self.settings.epochs)

    def scores(self, candidate: Candidate, lead_set: int, seed: int, n_folds: int | None) -> dict:
        """The figures of one cross-validation; n_folds: None leaves out a source at a time."""
        method = self.method(candidate)
        corpus = prepare_corpus(self.data, method.preparation, self.cache, self.settings.workers)
        corpus = candidate.corpus(corpus)
        labels, outputs = corpus.labels, np.zeros_like(corpus.labels)
        of_folds = []
        for name, kept, held_out in split_corpus(corpus, n_folds, seed):
            with candidate.throughout():
                start = self._start(method, candidate, lead_set, seed)
                what = (method, corpus, kept, lead_set, seed, self.devices)
                with candidate.while_fitting(corpus):
                    model = candidate.fit(*what, start=start)
                outputs[held_out], probabilities = answer_corpus(model, corpus, held_out)
            if n_folds is not None or len(held_out) >= SMALLEST_SOURCE:
                own = score(labels[held_out], outputs[held_out], probabilities, read_weights())
                of_folds.append(own.summary)
            print(f"  fold {name} of {len(held_out)} records", flush=True)
        means = {name: float(np.mean([one[name] for one in of_folds])) for name in FIGURES}
        return means | {"Challenge metric": challenge_metric(labels, outputs, read_weights())}

    def _start(self, method: Method, candidate: Candidate, lead_set, seed) -> Start | None:
        """Where the folds go on from, the same for all candidates that come to the same there."""
        own = (pretraining_method(method), lead_set, seed, candidate.corpus, candidate.throughout)
        if own not in self.starts:
            simulated = simulated_for(method, self.cache, self.settings.workers)
            self.starts[own] = simulated and pretrain(
                method, candidate.corpus(simulated), lead_set, seed, self.devices
            )
        return self.starts[own]


def print_table(rows: list[dict]) -> None:
    """Mean and standard deviation over seeds of each figure, and the difference to `AS_IT_IS`."""
    settings = dict.fromkeys((row["network"], row["leads"], row["split"]) for row in rows)
    for setting in settings:
        own = [row for row in rows if (row["network"], row["leads"], row["split"]) == setting]
        by_name = {}
        for row in own:
            figures = [float(row[name]) for name in FIGURES]
            by_name.setdefault(row["candidate"], {})[row["seed"]] = np.array(figures)
        print(f"\n{setting[0]}, {setting[1]} leads, {setting[2]}")
        print(f"{'':36s}" + "".join(f"{name:>32s}" for name in FIGURES))
        for name, by_seed in by_name.items():
            cells = [_cell(by_seed, by_name.get(AS_IT_IS, {}), i) for i in range(len(FIGURES))]
            print(f"{name:36s}" + "".join(f"{cell:>32s}" for cell in cells))


def _cell(by_seed: dict, reference: dict, figure: int) -> str:
    values = np.array([values[figure] for values in by_seed.values()])
    text = f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")
    shared = [seed for seed in by_seed if seed in reference]
    differences = np.array([by_seed[seed][figure] - reference[seed][figure] for seed in shared])
    if not differences.any():
        return text
    text += f" ({differences.mean():+.3f}"
    if len(differences) > 1:
        error = differences.std(ddof=1) / np.sqrt(len(differences))
        text += f" ± {error:.3f}{'*' if abs(differences.mean()) > 2 * error else ''}"
    return text + ")"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of records")
    parser.add_argument("out", type=Path, help="folder for recipe.csv; kept, it can go on")
    parser.add_argument("--leads", type=int, nargs="+", choices=LEAD_SETS, default=[12, 2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--candidate", nargs="+", choices=CANDIDATES, default=None)
    parser.add_argument("--measurements", action="store_true", help="networks without the signal")
    options = parser.parse_args()
    settings = read_settings()
    names = options.candidate or [
        name for name in CANDIDATES if not (options.measurements and name in ON_SIGNAL)
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "recipe.csv"
    rows = list(csv.DictReader(file.open(newline=""))) if file.exists() else []
    network = "measurements alone" if options.measurements else settings.preset
    splits = {f"{options.folds} folds": options.folds, "by source": None}
    with corpus_cache(settings.cache, options.out) as cache:
        bench = Bench(options.data, cache, settings, options.measurements)
        for lead_set in options.leads:
            for name in names:
                for seed in options.seeds:
                    for split, n_folds in splits.items():
                        key = dict(
                            zip(
                                _HEAD,
                                (name, network, str(lead_set), str(seed), split),
                                strict=False,
                            )
                        )
                        if any(key.items() <= row.items() for row in rows):
                            continue
                        found = bench.scores(CANDIDATES[name], lead_set, seed, n_folds)
                        rows.append(key | {figure: f"{found[figure]:.4f}" for figure in FIGURES})
                        print(rows[-1], flush=True)
                        with open(file, "w", newline="") as written:
                            writer = csv.DictWriter(written, _HEAD)
                            writer.writeheader()
                            writer.writerows(rows)
    print_table(rows)


if __name__ == "__main__":
    main()
