"""Predict with a trained model: codes, labels and probabilities of one record or of many."""

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
from ecg.models.descriptions import find_model_folder
from ecg.models.devices import find_devices
from ecg.models.forward import logits_of
from ecg.models.inputs import InputOptions, read_inputs, record_inputs
from ecg.models.model_files import TrainedModel, load_trained_model
from ecg.models.prior_shift import ShareEstimate, adapt, estimate_share
from ecg.records.diagnoses import N_CLASSES, OUTPUT_CODES, SINUS_RHYTHM, per_code
from ecg.records.discovery import RecordFiles
from ecg.records.headers import RecordError, parse_header
from ecg.records.record import Record, to_record
from ecg.runtime.files import printable
from ecg.runtime.processes import alone, read_ahead

# Windows, of several records. On a CPU a batch has to fit the cache; on a GPU larger batches save
# calls.
_BATCH, _BATCH_ON_GPU = 64, 512
_CHUNK = 8  # records that a process reads at a time


class Answer(NamedTuple):
    """SNOMED CT codes (both of a pair), their labels (0 or 1) and their probabilities."""

    codes: list[str]
    labels: list[int]
    probabilities: list[float]


class Predictor:
    """Answers records with a trained model, whatever the records are like.

    n_unusable: number of records so far that could not be used. batch_size: windows, of several
    records, that go through the network together.
    """

    def __init__(self, model: TrainedModel, batch_size: int = _BATCH):
        self.model, self.batch_size = model, batch_size
        self.input_options = InputOptions(
            model.lead_set, model.method.preparation, tuple(model.network.input)
        )
        self.n_unusable = 0
        # On a CPU, XLA takes seconds to compile and gains nothing on a single record.
        model.network.compile(jit_compile="auto" if keras.backend.backend() == "jax" else False)

    def probabilities(self, record: Record) -> np.ndarray:
        """Calibrated probabilities (26,) of one record.

        Raises ValueError (RecordError where the record breaks the format) where its sampling rate
        is out of range, none of the model's leads holds a signal, or the network overflows on it.
        """
        inputs = record_inputs(record, self.input_options)
        # One window at a time, so that all batches have one shape.
        windows = (
            {name: values[i : i + 1] for name, values in inputs.items()}
            for i in range(_n_windows(inputs))
        )
        return self._to_probabilities(logits_of(self.model.network, windows, 1))

    def probabilities_of(self, records: Iterable[Record]) -> Iterator[np.ndarray | Exception]:
        """Return the `probabilities` of each record, or the error raised; computed in batches."""
        inputs = ((None, self._inputs_or_error(record)) for record in records)
        for _, logits_or_error in _in_batches(self.model.network, inputs, self.batch_size):
            yield self._probabilities_or_error(logits_or_error)

    def answer(self, header_text: str, recording) -> Answer:
        """Return the answer for a record given as the Challenge's `run_model` receives it.

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
        except Exception as error:  # noqa: BLE001 - callers take an error for an empty answer,
            # which scores below sinus rhythm, so nothing may pass here.
            return self.answer_unusable(name, error)
        return _to_answer(probabilities, decide(probabilities[None], self.model.decision)[0])

    def answer_files(
        self, files: Sequence[RecordFiles], workers: int = 1
    ) -> Iterator[tuple[RecordFiles, Answer]]:
        """Yield each record's files and its answer, equal to that of `answer`, in order.

        Faster than one by one: `workers` processes read ahead, and windows go through the network
        in batches. Memory does not grow with the number of records. Never fails on a record.
        """
        yield from self._answers(self.probabilities_of_files(files, workers))

    def answer_one_site(
        self, results: Iterable[tuple[RecordFiles, np.ndarray | None]]
    ) -> tuple[ShareEstimate, Iterator[tuple[RecordFiles, Answer]]]:
        """Answer records that all come from one hospital, see `ecg.models.prior_shift`.

        results: of `probabilities_of_files`, which are kept in memory: 26 numbers a record.
        Returns the share of sinus rhythm estimated from them, without unusable records, and each
        record's files and its answer, as `answer_files` yields them. An answer depends on all
        records.
        """
        results = list(results)
        sinus_rhythm = [found[SINUS_RHYTHM] for _, found in results if found is not None]
        estimate = estimate_share(sinus_rhythm, self.model.prevalence[SINUS_RHYTHM])
        adapted = (
            (files, None if found is None else adapt(found, estimate)) for files, found in results
        )
        return estimate, self._answers(adapted)

    def probabilities_of_files(
        self, files: Sequence[RecordFiles], workers: int = 1
    ) -> Iterator[tuple[RecordFiles, np.ndarray | None]]:
        """Yield each record's files and its `probabilities`, in order; computed in batches.

        None for a record that cannot be used, which is named on stderr and counted in `n_unusable`.
        workers: processes that read ahead.
        """
        read = partial(read_inputs, options=self.input_options)
        chunks = [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)]

        def read_one_by_one(chunk) -> list:
            """Return the results for a chunk whose reading process was killed."""
            if len(chunk) == 1:
                return [RecordError("the process that read it was killed")]
            return [alone(read, [record], read_one_by_one)[0] for record in chunk]

        inputs = itertools.chain.from_iterable(read_ahead(read, chunks, workers, read_one_by_one))
        results = _in_batches(self.model.network, zip(files, inputs, strict=True), self.batch_size)
        for record_files, logits_or_error in results:
            found = self._probabilities_or_error(logits_or_error)
            if isinstance(found, Exception):
                self._report_unusable(record_files.name, found)
                found = None
            yield record_files, found

    def answer_unusable(self, name: str, error: Exception) -> Answer:
        """Return sinus rhythm, with the training prevalence as probabilities; say why on stderr."""
        self._report_unusable(name, error)
        return self._unusable_answer()

    def _report_unusable(self, name: str, error: Exception) -> None:
        reason = error if isinstance(error, ValueError) else f"unexpected {error!r}"
        line = printable(f"{name}: could not be read; answered as sinus rhythm: {reason}")
        print(line, file=sys.stderr, flush=True)
        self.n_unusable += 1

    def _unusable_answer(self) -> Answer:
        return _to_answer(self.model.prevalence, np.arange(N_CLASSES) == SINUS_RHYTHM)

    def _answers(self, results) -> Iterator[tuple[RecordFiles, Answer]]:
        """Yield the answer of each (record files, probabilities or None)."""
        results = iter(results)
        while batch := list(itertools.islice(results, self.batch_size)):
            usable = [found for _, found in batch if found is not None]
            labels = iter(decide(np.stack(usable), self.model.decision) if usable else ())
            for files, found in batch:
                if found is None:
                    yield files, self._unusable_answer()
                else:
                    yield files, _to_answer(found, next(labels))

    def _inputs_or_error(self, record: Record) -> dict | Exception:
        try:
            return record_inputs(record, self.input_options)
        except ValueError as error:
            return error

    def _probabilities_or_error(self, logits_or_error) -> np.ndarray | Exception:
        if isinstance(logits_or_error, Exception):
            return logits_or_error
        try:
            return self._to_probabilities(logits_or_error)
        except RecordError as error:
            return error

    def _to_probabilities(self, logits) -> np.ndarray:
        """Calibrated probabilities (26,) of a record from the logits (n_windows, 26)."""
        if not np.isfinite(logits).all():
            raise RecordError("expected probabilities, the network found no finite ones")
        decision = self.model.decision
        pooled = pool_windows(expit(logits), [len(logits)], decision.options.vote)[0]
        return calibrate(pooled, decision.temperature)


def print_warnings(name: str, warnings: Sequence[str]) -> None:
    """Print on stderr, in one line, what is doubtful about a record that is still answered."""
    if warnings:
        line = printable(f"{name}: warning: {'; '.join(warnings)}")
        print(line, file=sys.stderr, flush=True)


def load_predictor(model_directory: str | Path, lead_set: int) -> Predictor:
    """Return the predictor of a folder's model for the lead set. Raises ModelFolderError.

    model_directory: a path, or "starter", see `find_model_folder`.
    """
    folder = find_model_folder(model_directory)
    devices = find_devices()  # first, or the network would take all of the GPU's memory
    model = load_trained_model(folder, lead_set)
    return Predictor(model, _BATCH_ON_GPU if devices.gpus else _BATCH)


def _to_answer(probabilities, labels) -> Answer:
    return Answer(
        list(OUTPUT_CODES),
        [int(label) for label in per_code(labels)],
        [float(probability) for probability in per_code(probabilities)],
    )


def _in_batches(network, records: Iterable[tuple], size: int) -> Iterator[tuple]:
    """Yield (key, logits (n_windows, 26)) for each (key, inputs) in `records`, in order.

    Batches of `size` windows span several records. A (key, error) is passed on as it is.
    """
    waiting = deque()  # (key, error, n_windows) of records not yet yielded
    logits = deque()  # of windows, from the first waiting record on

    def read_windows():
        for key, inputs in records:
            error = inputs if isinstance(inputs, Exception) else None
            n_windows = 0 if error else _n_windows(inputs)
            waiting.append((key, error, n_windows))
            for i in range(n_windows):
                yield {name: values[i] for name, values in inputs.items()}

    windows = read_windows()
    while batch := list(itertools.islice(windows, size)):
        stacked = {name: np.stack([window[name] for window in batch]) for name in batch[0]}
        logits.extend(logits_of(network, [stacked], size))
        while waiting and waiting[0][2] <= len(logits):
            key, error, n_windows = waiting.popleft()
            yield key, error or np.stack([logits.popleft() for _ in range(n_windows)])
    for key, error, _ in waiting:  # errors after the last window
        yield key, error


def _n_windows(inputs) -> int:
    return len(next(iter(inputs.values())))
