"""Copy trained models to `starter/` as they are shipped: smaller files, the same weights.

    python -m benchmarks.pack_models MODEL STARTER [--folds OUT] [--half]

MODEL is a folder that train_model.py wrote. Of each weights file STARTER gets a copy in HDF5's
newer layout, with compressed arrays: about 30 % smaller, and bit-identical when it is read. The
JSON file gets the digest of the copy, and the version, the commit and the command of the training.

--folds: the folder of a `python -m ecg.cross_validation RECORDS OUT` of the same recipe. The
operating points of each model are then fitted on its out-of-fold answers to all records, instead of
on the tenth of the records that the training set aside. --half: stores weights in half precision,
which changed probabilities by up to .0005 (129 records, 12 and 2 leads).

Raises an error before it writes where the models of STARTER would take more than 10 MB together.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

import ecg
from benchmarks.decision_rules import read_runs
from ecg.evaluation.folds import FoldOutputs
from ecg.models.decisions import calibrate
from ecg.models.descriptions import ModelFolderError, find_models, model_paths, read_description
from ecg.models.operating_points import fit_points, points_to_dict
from ecg.records.leads import LEAD_SETS
from ecg.runtime.command_line import running
from ecg.runtime.files import digest_files, make_folder, written_whole
from ecg.training.model_folders import was_cut

LARGEST_BYTES = 10_000_000  # of all models of the folder together
_COMPRESSED_BYTES = 4096  # arrays from this size on; for smaller ones it costs more than it saves


@dataclass(frozen=True)
class Release:
    """Where shipped models come from. version: of the project. commit, command: of the training."""

    version: str
    commit: str
    command: str


def pack(
    model: Path, starter: Path, release: Release, out: Path | None = None, half: bool = False
) -> list[int]:
    """Copy the models of a folder to `starter`; return their lead sets.

    out: of a cross-validation, for operating points. Models of other lead sets in `starter` stay.
    Raises ModelFolderError for a model that the time limit cut, ValueError where `out` lacks a lead
    set or the folder would become too large.
    """
    lead_sets = find_models(model)
    runs = {} if out is None else runs_by_lead_set(out)
    make_folder(starter)
    with tempfile.TemporaryDirectory() as temporary:
        packed = {}
        for lead_set in lead_sets:
            weights_file, json_file = model_paths(model, lead_set)
            description = read_description(model, lead_set)
            if was_cut(description["training_log"]):
                raise ModelFolderError(f"{json_file}: expected a full training, found a cut one")
            packed[lead_set] = Path(temporary, weights_file.name)
            pack_weights(weights_file, packed[lead_set], np.float16 if half else None)
            digest = digest_files(packed[lead_set])
            description["weights"] = {"file": weights_file.name, "sha256": digest}
            stored = {"stored_as": "float16" if half else "float32"}
            description["release"] = asdict(release) | stored
            if out is not None:
                if lead_set not in runs:
                    raise ValueError(f"{out}: expected folds of {lead_set} leads, found none")
                description["decision"] = _with_points(description["decision"], runs[lead_set])
            text = json.dumps(description, indent=1) + "\n"
            Path(temporary, json_file.name).write_text(text, encoding="utf-8")
        _check_size(starter, Path(temporary))
        for lead_set in lead_sets:
            for source, target in zip(
                model_paths(temporary, lead_set), model_paths(starter, lead_set), strict=True
            ):
                with written_whole(target, lasting=True) as unfinished:
                    unfinished.write_bytes(source.read_bytes())
    return lead_sets


def pack_weights(source: Path, target: Path, dtype=None) -> None:
    """Write a smaller copy of a weights file; equal weights give equal files.

    dtype: of its float32 arrays; None to keep them.
    """
    with h5py.File(source) as before, _new_file(target) as after:
        untimed = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        untimed.set_obj_track_times(False)

        def copy(name: str, item) -> None:
            if isinstance(item, h5py.Group):
                h5py.h5g.create(after.id, name.encode(), gcpl=untimed)
                after[name].attrs.update(item.attrs)
                return
            values = item[()]
            if dtype is not None and values.dtype == np.float32:
                values = values.astype(dtype)
            options = {}
            if values.nbytes >= _COMPRESSED_BYTES:
                options = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
                options["chunks"] = values.shape
            after.create_dataset(name, data=values, **options).attrs.update(item.attrs)

        after.attrs.update(before.attrs)
        before.visititems(copy)  # groups before what they contain


def _new_file(path: Path) -> h5py.File:
    """Return a new file of HDF5's newest layout, without the time of its making."""
    untimed = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    untimed.set_obj_track_times(False)
    newest = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    newest.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
    return h5py.File(h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, untimed, newest))


def runs_by_lead_set(out: Path) -> dict[int, list[FoldOutputs]]:
    """Return the folds of a cross-validation by lead set.

    Raises ValueError where a lead set was cross-validated with several methods, variants or seeds.
    """
    by_lead_set = {}
    for (method, variant, lead_set, seed), folds in read_runs(out).items():
        if lead_set in by_lead_set:
            raise ValueError(
                f"{out}: expected one method, variant and seed of {lead_set} leads, found also "
                f"{method} {variant}, seed {seed}"
            )
        by_lead_set[lead_set] = list(folds.values())
    return by_lead_set


def _with_points(decision: dict, folds: list[FoldOutputs]) -> dict:
    """Return the decision with operating points fitted on the answers of all folds.

    Out-of-fold probabilities are calibrated by each fold's temperature, as the model's are by its
    own; the temperature of the points comes on top.
    """
    points = decision.get("operating_points")
    temperature = 1.0 if points is None else points["temperature"]
    labels = np.concatenate([fold.labels for fold in folds])
    probabilities = np.concatenate([fold.probabilities for fold in folds])
    fitted = fit_points(labels, calibrate(probabilities, temperature), temperature)
    return decision | {"operating_points": points_to_dict(fitted)}


def _check_size(starter: Path, packed: Path) -> None:
    """Raise ValueError where the models in `starter`, some replaced by those in `packed`, are too
    large."""
    files = {
        path.name: path
        for folder in (starter, packed)
        for lead_set in LEAD_SETS
        for path in model_paths(folder, lead_set)
        if path.exists()
    }
    n_bytes = sum(path.stat().st_size for path in files.values())
    if n_bytes > LARGEST_BYTES:
        raise ValueError(
            f"{starter}: expected models of at most {LARGEST_BYTES / 1e6:g} MB together, found "
            f"{n_bytes / 1e6:.1f} MB (--half stores weights in half precision)"
        )


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pack_models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="folder that train_model.py wrote")
    parser.add_argument("starter", type=Path, help="folder to copy to, made if missing")
    parser.add_argument("--folds", type=Path, metavar="OUT", help="for operating points")
    parser.add_argument("--half", action="store_true", help="store weights in half precision")
    parser.add_argument("--commit", default="unknown", help="of the code that trained the models")
    parser.add_argument("--command", default="unknown", help="that trained the models")
    options = parser.parse_args(arguments)
    with running("benchmarks.pack_models"):
        release = Release(ecg.__version__, options.commit, options.command)
        lead_sets = pack(options.model, options.starter, release, options.folds, options.half)
        n_bytes = sum(path.stat().st_size for path in options.starter.iterdir())
        print(f"{options.starter}: {', '.join(map(str, lead_sets))} leads, {n_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
