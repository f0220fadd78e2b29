"""Header text and digital recording -> codes, labels, probabilities, by a trained model."""

import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from ecg.classes import N_CLASSES, OUTPUT_CODES, SINUS_RHYTHM, per_code
from ecg.decisions import calibrate, decide, pool_windows
from ecg.demographics import encode_demographics
from ecg.devices import find_devices
from ecg.headers import RecordError, parse_header
from ecg.leads import LEAD_SETS
from ecg.measurements import join_measurements, measure
from ecg.model_files import TrainedModel, load_trained_model
from ecg.records import Record, select_leads, to_record
from ecg.signals import prepare, window_length


class Answer(NamedTuple):
    """Equally long: SNOMED CT codes (both of a pair), labels 0/1, probabilities in [0, 1]."""

    codes: list[str]
    labels: list[int]
    probabilities: list[float]


class Predictor:
    """Answers records with one trained model; `n_unusable` counts those it could only guess."""

    def __init__(self, model: TrainedModel):
        self.model = model
        self.leads = LEAD_SETS[model.lead_set]
        self.n_unusable = 0
        # XLA takes seconds to compile for the CPU and gains nothing on one record.
        model.network.compile(jit_compile="auto" if keras.backend.backend() == "jax" else False)

    def probabilities(self, record: Record) -> np.ndarray:
        """Calibrated probabilities (26,) of one record.

        Raises ValueError (RecordError where the record breaks the format) where its sampling rate
        is out of range, no lead of the model holds a signal, or the network overflows on it.
        """
        method = self.model.method
        used = window_length(record.fs, method.preparation.duration_s)
        signal = select_leads(record, self.leads)[:, :used]
        windows = prepare(signal, record.fs, method.preparation)
        if not windows.any():
            raise RecordError(
                f"expected a signal in one of the leads {', '.join(self.leads)}, found none"
            )
        # Batches of one fixed shape through Keras's compiled function: `predict` costs a hundred
        # times the overhead and leaks when called record by record.
        network, others = self.model.network, self._other_inputs(record, signal)
        signals = [
            {"signal": window[None]} if "signal" in network.input else {} for window in windows
        ]
        answers = [network.predict_on_batch(one | others) for one in signals]
        probabilities = np.concatenate(answers).astype(float)
        if not np.isfinite(probabilities).all():
            raise RecordError("expected probabilities, the network found no finite ones")
        pooled = pool_windows(probabilities, [len(windows)], method.decision.vote)[0]
        return calibrate(pooled, self.model.decision.temperature)

    def answer(self, header_text: str, recording) -> Answer:
        """The answer for a record given as the contract's `run_model` gets it.

        header_text: the whole header; recording: raw digital values (n_leads, n_samples) in the
        header's lead order. Never fails on a record: see `answer_unusable`.
        """
        name = "(unreadable header)"
        try:
            header = parse_header(header_text)
            name = header.name
            duration_s = self.model.method.preparation.duration_s
            probabilities = self.probabilities(to_record(header, recording, duration_s))
        except ValueError as error:
            return self.answer_unusable(name, error)
        except Exception as error:  # noqa: BLE001 - a caller takes any error for a blank answer,
            # and that scores below sinus rhythm; so this one place lets nothing through.
            return self.answer_unusable(name, f"unexpected {error!r}")
        labels = decide(probabilities[None], self.model.decision)
        return _to_answer(probabilities, labels[0])

    def answer_unusable(self, name: str, reason) -> Answer:
        """Sinus rhythm with the training prevalence as probabilities; says so on stderr."""
        print(f"{name}: answered as sinus rhythm, unread: {reason}", file=sys.stderr, flush=True)
        self.n_unusable += 1
        return _to_answer(self.model.prevalence, np.arange(N_CLASSES) == SINUS_RHYTHM)

    def _other_inputs(self, record: Record, signal) -> dict[str, np.ndarray]:
        """What the network takes beside a window, for a batch of one; signal: of its leads, mV."""
        values = {}
        if "demographics" in self.model.network.input:
            values["demographics"] = encode_demographics(record.age, record.sex)[None]
        if "measurements" in self.model.network.input:
            values["measurements"] = join_measurements(*measure(signal, record.fs))[None]
        return values


def load_predictor(model_directory: str | Path, lead_set: int) -> Predictor:
    """The predictor of the lead set's model. Raises ModelFolderError."""
    find_devices()  # before the network takes all of a GPU's memory
    return Predictor(load_trained_model(model_directory, lead_set))


def _to_answer(probabilities, labels) -> Answer:
    return Answer(
        list(OUTPUT_CODES),
        [int(label) for label in per_code(labels)],
        [float(probability) for probability in per_code(probabilities)],
    )
