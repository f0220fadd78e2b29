"""Records -> codes, labels, probabilities, by a trained model: one by one, or a folder's many."""

import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from scipy.special import expit

from ecg.models.decisions import calibrate, decide, pool_windows
from ecg.models.devices import find_devices
from ecg.models.forward import logits_of
from ecg.models.inputs import read_inputs, record_inputs
from ecg.models.model_files import TrainedModel, load_trained_model
from ecg.records.diagnoses import N_CLASSES, OUTPUT_CODES, SINUS_RHYTHM, per_code
from ecg.records.discovery import RecordFiles
from ecg.records.headers import RecordError, parse_header
from ecg.records.record import Record, to_record
from ecg.runtime.files import printable
from ecg.runtime.processes import alone, read_ahead

# Windows of several records that are answered together; on a GPU, to which each batch is a call,
# more than on a CPU, whose cache they have to fit.
_BATCH, _BATCH_ON_GPU = 64, 512
_CHUNK = 8  # records that a process reads at a time


class Answer(NamedTuple):
    """Equally long: SNOMED CT codes (both of a pair), labels 0/1, probabilities in [0, 1]."""

    codes: list[str]
    labels: list[int]
    probabilities: list[float]


class Predictor:
    """Answers records with one trained model; `n_unusable` counts those it could only guess.

    batch_size: windows of several records that go through the network together.
    """

    def __init__(self, model: TrainedModel, batch_size: int = _BATCH):
        self.model, self.batch_size = model, batch_size
        self.n_unusable = 0
        # XLA takes seconds to compile for the CPU and gains nothing on one record.
        model.network.compile(jit_compile="auto" if keras.backend.backend() == "jax" else False)

    def probabilities(self, record: Record) -> np.ndarray:
        """Calibrated probabilities (26,) of one record.

        Raises ValueError (RecordError where the record breaks the format) where its sampling rate
        is out of range, no lead of the model holds a signal, or the network overflows on it.
        """
        inputs = record_inputs(record, *self._what_it_takes)
        # One window at a time, a fixed shape.
        windows = (
            {name: values[i : i + 1] for name, values in inputs.items()}
            for i in range(_n_windows(inputs))
        )
        return self._of_record(logits_of(self.model.network, windows, 1))

    def probabilities_of(self, records: Iterable[Record]) -> Iterator[np.ndarray | Exception]:
        """`probabilities` of each record, or the error that it raises, many at a time."""
        inputs = ((None, self._inputs_or_error(record)) for record in records)
        for _, outcome in _in_batches(self.model.network, inputs, self.batch_size):
            yield self._of_record_or_error(outcome)

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
            record = to_record(header, recording, duration_s)
            print_warnings(name, record.warnings)
            probabilities = self.probabilities(record)
        except Exception as error:  # noqa: BLE001 - a caller takes any error for a blank answer,
            # and that scores below sinus rhythm; so this one place lets nothing through.
            return self.answer_unusable(name, error)
        return _to_answer(probabilities, decide(probabilities[None], self.model.decision)[0])

    def answer_files(
        self, files: Sequence[RecordFiles], workers: int = 1
    ) -> Iterator[tuple[RecordFiles, Answer]]:
        """Each record and its answer, as `answer` gives it, in their order.

        `workers` processes read ahead, and windows are answered in batches of one shape, so that
        many records take less time than one by one. Memory does not grow with their number. Never
        fails on a record, either.
        """
        lead_set, preparation, names = self._what_it_takes
        read = partial(read_inputs, lead_set=lead_set, preparation=preparation, names=names)
        chunks = [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)]

        def lost(chunk) -> list:
            if len(chunk) == 1:
                return [RecordError("the process that read it was killed")]
            return [one for files in chunk for one in alone(read, [files], lost)]

        inputs = itertools.chain.from_iterable(read_ahead(read, chunks, workers, lost))
        outcomes = _in_batches(self.model.network, zip(files, inputs, strict=True), self.batch_size)
        while together := list(itertools.islice(outcomes, self.batch_size)):
            yield from self._answer_together(together)

    def answer_unusable(self, name: str, error: Exception) -> Answer:
        """Sinus rhythm with the training prevalence as probabilities; says so on stderr."""
        reason = error if isinstance(error, ValueError) else f"unexpected {error!r}"
        line = printable(f"{name}: could not be read; answered as sinus rhythm: {reason}")
        print(line, file=sys.stderr, flush=True)
        self.n_unusable += 1
        return _to_answer(self.model.prevalence, np.arange(N_CLASSES) == SINUS_RHYTHM)

    def _answer_together(self, outcomes) -> Iterator[tuple[RecordFiles, Answer]]:
        """The answers for records and the logits of their windows, or why there are none."""
        found = [self._of_record_or_error(outcome) for _, outcome in outcomes]
        usable = [one for one in found if not isinstance(one, Exception)]
        labels = iter(decide(np.stack(usable), self.model.decision) if usable else ())
        for (files, _), one in zip(outcomes, found, strict=True):
            if isinstance(one, Exception):
                yield files, self.answer_unusable(files.name, one)
            else:
                yield files, _to_answer(one, next(labels))

    def _inputs_or_error(self, record: Record) -> dict | Exception:
        try:
            return record_inputs(record, *self._what_it_takes)
        except ValueError as error:
            return error

    def _of_record_or_error(self, outcome) -> np.ndarray | Exception:
        if isinstance(outcome, Exception):
            return outcome
        try:
            return self._of_record(outcome)
        except RecordError as error:
            return error

    @property
    def _what_it_takes(self) -> tuple:
        """What `record_inputs` wants to know."""
        model = self.model
        return model.lead_set, model.method.preparation, tuple(model.network.input)

    def _of_record(self, logits) -> np.ndarray:
        """Calibrated probabilities (26,) of a record, by the logits of its windows (n, 26)."""
        if not np.isfinite(logits).all():
            raise RecordError("expected probabilities, the network found no finite ones")
        decision = self.model.decision
        pooled = pool_windows(expit(logits), [len(logits)], decision.options.vote)[0]
        return calibrate(pooled, decision.temperature)


def print_warnings(name: str, warnings: Sequence[str]) -> None:
    """Name on stderr, in one line, what is doubtful about a record that is answered anyhow."""
    if warnings:
        line = printable(f"{name}: warning: {'; '.join(warnings)}")
        print(line, file=sys.stderr, flush=True)


def load_predictor(model_directory: str | Path, lead_set: int) -> Predictor:
    """The predictor of the lead set's model. Raises ModelFolderError."""
    devices = find_devices()  # before the network takes all of a GPU's memory
    model = load_trained_model(model_directory, lead_set)
    return Predictor(model, _BATCH_ON_GPU if devices.gpus else _BATCH)


def _to_answer(probabilities, labels) -> Answer:
    return Answer(
        list(OUTPUT_CODES),
        [int(label) for label in per_code(labels)],
        [float(probability) for probability in per_code(probabilities)],
    )


def _in_batches(network, records: Iterable[tuple], size: int) -> Iterator[tuple]:
    """(key, logits (n_windows, 26)) of each (key, inputs), in their order; of (key, error) the
    error. Windows of neighbours go through the network together."""
    waiting, answered = deque(), deque()  # records, and windows of the first of these

    def windows():
        for key, inputs in records:
            error = inputs if isinstance(inputs, Exception) else None
            n_windows = 0 if error else _n_windows(inputs)
            waiting.append((key, error, n_windows))
            for i in range(n_windows):
                yield {name: values[i] for name, values in inputs.items()}

    left = windows()
    while batch := list(itertools.islice(left, size)):
        stacked = {name: np.stack([one[name] for one in batch]) for name in batch[0]}
        answered.extend(logits_of(network, [stacked], size))
        while waiting and waiting[0][2] <= len(answered):
            key, error, n_windows = waiting.popleft()
            yield key, error or np.stack([answered.popleft() for _ in range(n_windows)])
    for key, error, _ in waiting:  # behind the last window
        yield key, error


def _n_windows(inputs) -> int:
    return len(next(iter(inputs.values())))
