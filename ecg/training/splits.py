"""Splits of records into training and held-out records, stratified by label or by source."""

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit


def hold_out(labels, share, seed, sources=None) -> tuple[np.ndarray, np.ndarray]:
    """Positions (kept, held out) of the records, with a share of them held out.

    Iterative stratification preserves the proportions of the labels (n_records, n_classes), bool,
    and, where given, of the sources (n_records,), str. Where there are too few records to hold one
    out, both parts are all records; the caller should tell the user so.
    """
    everything = np.arange(len(labels))
    if share * len(labels) < 1:
        return everything, everything
    if sources is not None:
        labels = np.hstack([labels, sources[:, None] == np.unique(sources)])
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    kept, held_out = next(splitter.split(everything, labels))
    return (np.sort(kept), np.sort(held_out)) if len(held_out) else (everything, everything)


def k_folds(labels, n_folds, seed) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions (kept, held out) of each fold, by iterative stratification of the labels.

    Raises ValueError where there are fewer records than folds, or fewer than two folds.
    """
    if not 2 <= n_folds <= len(labels):
        raise ValueError(
            f"expected 2 to {len(labels)} folds (the number of records), found {n_folds}"
        )
    splitter = MultilabelStratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.arange(len(labels)), labels))


def leave_one_source_out(sources) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """One (source, positions kept, positions held out) for each source.

    sources: (n_records,), str. Raises ValueError where all records are of one source.
    """
    names = np.unique(sources)
    if len(names) < 2:
        raise ValueError(f"expected records of at least 2 sources, found '{names[0]}' alone")
    return [
        (str(name), np.flatnonzero(sources != name), np.flatnonzero(sources == name))
        for name in names
    ]
