import numpy as np
import pytest

from ecg.evaluation.papers import read_tables
from ecg.evaluation.tables import format_table, tables_for

RATES = next(table for table in read_tables() if table.source.startswith("Triology"))
KERNELS = next(table for table in read_tables() if table.source.endswith("2021, table 2"))


def everything_measured() -> dict:
    # Below 0, where a figure takes the most room.
    return {
        (table.method, row.variant, row.lead_set or column.lead_set, column.figure): (
            -0.1234,
            0.0567,
            10,
        )
        for table in read_tables()
        for row in table.rows
        for column in table.columns
        if row.variant and column.figure
    }


def test_a_table_has_the_papers_rows_with_the_measured_figures_below():
    measured = {
        ("antialiased_resnet18", "fs_60", 12, "Challenge metric"): (0.3006, 0.0104, 5),
        ("antialiased_resnet18", "published", 12, "Challenge metric"): (0.35, 0.02, 5),
        ("antialiased_resnet18", "fs_100", 12, "Challenge metric"): (-0.0301, 0.1, 5),
    }
    text = format_table(RATES, measured)
    head, body = text.split("\n\n")
    assert head.startswith("Triology, Computing in Cardiology 2020, section 4: ")
    flowing = " ".join(head.split())
    assert "Published: the authors' figures, on other data: a fifth of the 43,101 " in flowing
    assert "mean ± standard deviation of 5 folds' scores" in flowing
    assert body.splitlines() == [
        "Sampling rate                    12-lead",
        "60 Hz          published               -",
        "               here        0.301 ± 0.010",
        "80 Hz          published           0.328",
        "               here        0.350 ± 0.020",
        "100 Hz         published               -",
        "               here       -0.030 ± 0.100",
    ]


def test_what_was_not_measured_is_a_dash():
    measured = {
        ("multiscale_se", "without_se", 2, "Challenge metric"): (0.61, 0.02, 5),
        ("multiscale_se", "kernels_3_3_3", 2, "Challenge metric"): (0.58, 0.01, 10),
        ("multiscale_se", "without_se", 2, "F-measure"): (0.5, 0.02, 5),
    }
    text = format_table(KERNELS, measured)
    here = [line.split()[1:] for line in text.splitlines() if line.split()[:1] == ["here"]]
    assert here == [
        ["-", "-", "-", "-", "0.580", "±", "0.010"],
        ["-", "-", "-", "-", "-"],
        ["-", "-", "-", "-", "0.610", "±", "0.020"],
    ]
    assert "5 to 10 folds' scores" in " ".join(text.split())


def test_one_score_has_no_deviation():
    key = ("antialiased_resnet18", "published", 12, "Challenge metric")
    text = format_table(RATES, {key: (0.35, np.nan, 1)})
    assert "0.350" in text
    assert "±" not in text


@pytest.mark.parametrize(
    "measured",
    [
        {},
        {("multiscale_se", "without_se", 2, "Challenge metric"): (0.61, 0.02, 5)},
        {("antialiased_resnet18", "published", 12, "F-measure"): (0.5, 0.02, 5)},
        {("antialiased_resnet18", "published", 12, "Challenge metric"): (np.nan, np.nan, 5)},
    ],
)
def test_a_table_of_which_nothing_was_measured_is_left_out(measured):
    assert format_table(RATES, measured) is None


def test_tables_come_for_the_methods_measured():
    measured = {("multiscale_se", "published", 12, "Challenge metric"): (0.61, 0.02, 5)}
    # Its second and third tables compare networks without squeeze-and-excitation alone.
    assert [text.partition(":")[0] for text in tables_for(measured)] == [
        "AIRCAS_MEL1, Computing in Cardiology 2021, table 1",
        "AIRCAS_MEL1, Computing in Cardiology 2021, table 4",
    ]


def test_lines_stay_readable():
    texts = tables_for(everything_measured())
    assert len(texts) == len(read_tables())
    assert max(len(line) for text in texts for line in text.splitlines()) <= 120
    assert all(line == line.rstrip() for text in texts for line in text.splitlines())
