"""Records -> parts that keep the proportions of every label."""

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit


def hold_out(labels, share, seed, sources=None) -> tuple[np.ndarray, np.ndarray]:
    """Positions (kept, held out) of the records, `share` of them held out.

    labels: (n_records, n_classes) bool; iterative stratification keeps their proportions, and
    those of the `sources` (n_records,), str, where they are given. Where the share of the records
    is less than one, or what is held out comes out empty, both parts are all of them: there is
    nothing to validate on, and the caller should say so.
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
    """Positions (kept, held out) of each of `n_folds` folds, by iterative stratification.

    Raises ValueError where there are fewer records than folds, or fewer than two folds.
    """
    if not 2 <= n_folds <= len(labels):
        raise ValueError(
            f"expected 2 to {len(labels)} folds (the number of records), found {n_folds}"
        )
    splitter = MultilabelStratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.arange(len(labels)), labels))


def by_source(sources) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(source, positions kept, positions held out): each source (n_records,), str, left out once.

    Raises ValueError where there is a single source.
    """
    names = np.unique(sources)
    if len(names) < 2:
        raise ValueError(f"expected records of at least 2 sources, found '{names[0]}' alone")
    return [
        (str(name), np.flatnonzero(sources != name), np.flatnonzero(sources == name))
        for name in names
    ]
