"""The tables of the five papers, as data: `TABLES`.

Figures are copied as printed. Where a figure of the same name is measured here, row and column say
which: the variant of `ecg.evaluation.variants`, the lead set and the figure.
"""

from dataclasses import dataclass
from typing import NamedTuple

from ecg.records.leads import LEAD_SETS

METRIC = "Challenge metric"


class Column(NamedTuple):
    """heading: the paper's. figure: its name in `Scores.summary`, or "F-beta" or "G-beta"; None
    where the column's records are hidden or it holds no score. lead_set: None leaves it to the
    row."""

    heading: str
    figure: str | None
    lead_set: int | None = None


class Row(NamedTuple):
    """label: the paper's. variant: None where the network is not built here or the row's records
    are hidden. published: a value per column, "-" where the paper gives none. lead_set: None
    leaves it to the column."""

    label: str
    variant: str | None
    published: str
    lead_set: int | None = None


@dataclass(frozen=True)
class Table:
    """source: team, conference, table. corner: what the row labels are. data: what the published
    figures were taken on."""

    source: str
    title: str
    method: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    data: str
    note: str = ""


_LEAD_SET_COLUMNS = tuple(Column(f"{size}-lead", METRIC, size) for size in LEAD_SETS)

_AIRCAS = "AIRCAS_MEL1, Computing in Cardiology 2021"
_CSU = "csu_anying, Computing in Cardiology 2021"
# AIRCAS_MEL1 counts 88,243, CQUPT_Dontwant 88,253, csu_anying more than 88,000.
_PUBLIC_2021 = "the some 88,250 public records of Challenge 2021"
_FOLDS_2021 = f"5-fold cross-validation on {_PUBLIC_2021}, 30 classes"
_SPLIT_2021 = f"a split 8:2 by source of {_PUBLIC_2021}, 26 classes"
_WITHOUT_SE = "All rows are without squeeze-and-excitation, as their figures against table 4 tell."
_OWN_EPOCH = (
    "As the paper reads, its figures are of the fifth set aside, which had also chosen the epoch; "
    "here a fold has no say in the model that answers it."
)
_PUBLIC_2020 = "the 43,101 public records of Challenge 2020"

TABLES = (
    Table(
        source=f"{_AIRCAS}, table 1",
        title="Challenge metric of the five models",
        method="multiscale_se",
        corner="Dataset",
        columns=_LEAD_SET_COLUMNS,
        rows=(
            Row("5-fold cross validation", "published", "0.719 0.687 0.698 0.695 0.678"),
            Row("with what we chose beyond it", "default", "- - - - -"),
            Row("Validation Set", None, "0.63 0.57 0.58 0.57 0.56"),
        ),
        data=_FOLDS_2021,
        note="The validation set is the Challenge's own, hidden one.",
    ),
    Table(
        source=f"{_AIRCAS}, table 2",
        title="Challenge metric by the kernels of the last three blocks",
        method="multiscale_se",
        corner="Convolution kernels",
        columns=_LEAD_SET_COLUMNS,
        rows=(
            Row("Fixed size (3, 3, 3)", "kernels_3_3_3", "0.666 0.634 0.640 0.629 0.614"),
            Row("Variable sizes (3, 6, 12)", "kernels_3_6_12", "0.690 0.653 0.660 0.656 0.641"),
            Row("Variable sizes (3, 9, 27)", "without_se", "0.700 0.663 0.672 0.672 0.653"),
        ),
        data=_FOLDS_2021,
        note=_WITHOUT_SE,
    ),
    Table(
        source=f"{_AIRCAS}, table 3",
        title="Challenge metric of single branches",
        method="multiscale_se",
        corner="Strategy",
        columns=_LEAD_SET_COLUMNS,
        rows=(
            Row("First branch models", "first_branch", "0.657 0.635 0.633 0.632 0.615"),
            Row("Second branch models", "second_branch", "0.664 0.637 0.636 0.631 0.621"),
            Row("Third branch model", "third_branch", "0.643 0.617 0.616 0.615 0.598"),
            Row("Baseline models", "without_se", "0.700 0.663 0.672 0.672 0.653"),
        ),
        data=_FOLDS_2021,
        note=_WITHOUT_SE,
    ),
    Table(
        source=f"{_AIRCAS}, table 4",
        title="Challenge metric without and with attention",
        method="multiscale_se",
        corner="Strategy",
        columns=_LEAD_SET_COLUMNS,
        rows=(
            Row("Baseline", "without_se", "0.700 0.663 0.672 0.672 0.653"),
            Row("Baseline+Attention (proposed)", "published", "0.719 0.687 0.698 0.695 0.678"),
        ),
        data=_FOLDS_2021,
    ),
    Table(
        source="CQUPT_Dontwant, Computing in Cardiology 2021, table 2",
        title="scores of the five models",
        method="branched_se",
        corner="Model",
        columns=(
            Column("Accuracy", "Accuracy"),
            Column("F-measure", "F-measure"),
            Column("Challenge metric", METRIC),
        ),
        rows=(
            Row("12-lead", "published", "0.312 0.500 0.639", 12),
            Row("6-lead", "published", "0.306 0.462 0.610", 6),
            Row("4-lead", "published", "0.313 0.490 0.638", 4),
            Row("3-lead", "published", "0.309 0.483 0.619", 3),
            Row("2-lead", "published", "0.308 0.462 0.625", 2),
        ),
        data=_FOLDS_2021,
        note="The authors call their own figures too optimistic.",
    ),
    Table(
        source=f"{_CSU}, table 4",
        title="Challenge metric by channels",
        method="mtfnet",
        corner="Channels of 1D-CNN",
        columns=tuple(Column(f"{size}-lead", METRIC, size) for size in (12, 3, 2)),
        rows=(
            Row("12", "channels_12", "0.6665 0.6616 0.6648"),
            Row("32", "channels_32", "0.7005 0.6901 0.6872"),
            Row("64", "channels_64", "0.7095 0.6980 0.6882"),
        ),
        data=_SPLIT_2021,
        note=_OWN_EPOCH,
    ),
    Table(
        source=f"{_CSU}, table 5",
        title="Challenge metric by BiLSTM layers",
        method="mtfnet",
        corner="Layers of Bi-LSTM",
        columns=(Column("12-lead", METRIC, 12),),
        rows=(
            Row("1", "bilstm_1", "0.6463"),
            Row("2", "bilstm_2", "0.6934"),
            Row("3", "bilstm_3", "0.7069"),
            Row("4", "bilstm_4", "0.7095"),
        ),
        data=_SPLIT_2021,
        note=f"The paper's text gives 0.6403 for one layer. {_OWN_EPOCH}",
    ),
    Table(
        source=f"{_CSU}, table 6",
        title="Challenge metric of the five models",
        method="mtfnet",
        corner="Leads",
        columns=(
            Column("Training", METRIC),
            Column("Validation", None),
            Column("Test", None),
            Column("Ranking", None),
        ),
        rows=(
            Row("12", "published", "0.7095 0.602 0.35 25", 12),
            Row("6", "published", "0.6885 0.592 0.44 16", 6),
            Row("4", "published", "0.7016 0.592 0.43 16", 4),
            Row("3", "published", "0.6980 0.600 0.36 21", 3),
            Row("2", "published", "0.6882 0.593 0.39 19", 2),
        ),
        data=_SPLIT_2021,
        note=f"{_OWN_EPOCH} Validation and test are the Challenge's own, hidden records.",
    ),
    Table(
        source="CQUPT_ECG, Computing in Cardiology 2020, table 1",
        title="scores with 12 leads",
        method="se_ecgnet",
        corner="Model",
        columns=(
            Column("Fbeta", "F-beta", 12),
            Column("Gbeta", "G-beta", 12),
            Column("Challenge metric", METRIC, 12),
        ),
        rows=(
            Row("ResNext", None, "0.497 0.2568 0.5546"),
            Row("ResNest", None, "0.4896 0.2554 0.5236"),
            Row("Proposed", "published", "0.5742 0.3054 0.6134"),
        ),
        data=f"5-fold cross-validation on {_PUBLIC_2020}, 27 classes",
        note="The paper does not describe the two networks of comparison; they are not built here.",
    ),
    Table(
        source="Triology, Computing in Cardiology 2020, section 4",
        title="Challenge metric by sampling rate",
        method="antialiased_resnet18",
        corner="Sampling rate",
        columns=(Column("12-lead", METRIC, 12),),
        rows=(
            Row("60 Hz", "fs_60", "-"),
            Row("80 Hz", "published", "0.328"),
            Row("100 Hz", "fs_100", "-"),
        ),
        data=f"a fifth of {_PUBLIC_2020}, 24 classes",
        note="That fifth had also chosen the epoch. The paper gives a figure for 80 Hz alone.",
    ),
)
