import pytest

from ecg.evaluation.papers import read_tables
from ecg.models.registry import METHODS, find_method
from ecg.records.leads import LEAD_SETS

CELLS = [
    pytest.param(table, row, column, value, id=f"{table.source}, {row.label}, {column.heading}")
    for table in read_tables()
    for row in table.rows
    for column, value in zip(table.columns, row.published, strict=True)
]
SCORES = {"Accuracy", "F-measure", "Challenge metric", "F-beta", "G-beta"}


@pytest.mark.parametrize(
    ("source", "row", "column", "value"),
    [
        ("AIRCAS_MEL1, Computing in Cardiology 2021, table 1", 0, 3, "0.695"),
        ("AIRCAS_MEL1, Computing in Cardiology 2021, table 1", 2, 2, "0.58"),
        ("AIRCAS_MEL1, Computing in Cardiology 2021, table 2", 1, 0, "0.690"),
        ("AIRCAS_MEL1, Computing in Cardiology 2021, table 3", 2, 4, "0.598"),
        ("AIRCAS_MEL1, Computing in Cardiology 2021, table 4", 0, 1, "0.663"),
        ("CQUPT_Dontwant, Computing in Cardiology 2021, table 2", 2, 1, "0.490"),
        ("csu_anying, Computing in Cardiology 2021, table 4", 1, 2, "0.6872"),
        ("csu_anying, Computing in Cardiology 2021, table 5", 0, 0, "0.6463"),
        ("csu_anying, Computing in Cardiology 2021, table 6", 3, 2, "0.36"),
        ("CQUPT_ECG, Computing in Cardiology 2020, table 1", 0, 1, "0.2568"),
        ("Triology, Computing in Cardiology 2020, section 4", 1, 0, "0.328"),
    ],
)
def test_figures_are_those_of_the_papers(source, row, column, value):
    (table,) = [table for table in read_tables() if table.source == source]
    assert table.rows[row].published[column] == value


@pytest.mark.parametrize(("table", "row", "column", "value"), CELLS)
def test_every_cell_has_a_figure_and_says_what_to_measure(table, row, column, value):
    assert value == "-" or float(value) > 0
    assert column.figure is None or column.figure in SCORES
    if row.variant is not None:
        assert (row.lead_set is None) != (column.lead_set is None)
        assert (row.lead_set or column.lead_set) in LEAD_SETS


def test_every_variant_is_a_row_and_every_row_a_variant():
    rows = {
        (table.method, row.variant) for table in read_tables() for row in table.rows if row.variant
    }
    variants = {(method, name) for method in METHODS for name in METHODS[method].variants}
    assert rows <= variants
    # A default has a row of its own where it is not the published method.
    same = {
        (name, "default")
        for name in METHODS
        if find_method(name) == find_method(name, variant="published")
    }
    assert variants - rows == same


def test_what_was_not_published_has_no_figures():
    rows = [row for table in read_tables() for row in table.rows if row.variant == "default"]
    assert rows
    assert {cell for row in rows for cell in row.published} == {"-"}


def test_one_network_has_one_set_of_figures_in_all_tables_of_its_paper():
    baseline = [
        row.published
        for table in read_tables()
        for row in table.rows
        if row.variant == "without_se"
    ]
    assert len(baseline) == 3
    assert len(set(baseline)) == 1
