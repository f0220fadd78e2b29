"""The papers' tables as text, with the figures measured here below the published ones."""

import textwrap

import numpy as np

from ecg.evaluation.papers import Column, Row, Table, read_tables

# (method, variant, lead set, figure) -> (mean, standard deviation, number of scores).
Measured = dict[tuple[str, str, int, str], tuple[float, float, int]]

_WIDTH = 100  # of the lines above a table
_NOTHING = "-"


def tables_for(measured: Measured) -> list[str]:
    """Return the text of each paper's table that has a figure measured here."""
    texts = (format_table(table, measured) for table in read_tables())
    return [text for text in texts if text is not None]


def format_table(table: Table, measured: Measured) -> str | None:
    """Return the table with the paper's rows and columns, each row as published and as measured
    here.

    Lines have at most 120 characters. None where no figure of the table has been measured.
    """
    found = [
        [_find(table.method, row, column, measured) for column in table.columns]
        for row in table.rows
    ]
    counts = sorted({score[2] for line in found for score in line if score})
    if not counts:
        return None
    lines = [[table.row_heading, "", *(column.heading for column in table.columns)]]
    for row, scores in zip(table.rows, found, strict=True):
        lines.append([row.label, "published", *row.published])
        lines.append(["", "here", *(_cell(score) for score in scores)])
    return "\n".join([*_head(table, counts), "", *_align(lines)])


def _find(method, row: Row, column: Column, measured: Measured):
    """Return the measured score of a cell; None where there is none or it is not defined."""
    score = measured.get((method, row.variant, row.lead_set or column.lead_set, column.figure))
    return None if score is None or np.isnan(score[0]) else score


def _cell(score) -> str:
    if score is None:
        return _NOTHING
    mean, deviation, n_scores = score
    return f"{mean:.3f} ± {deviation:.3f}" if n_scores > 1 else f"{mean:.3f}"


def _head(table, counts) -> list[str]:
    number = " to ".join(map(str, sorted({counts[0], counts[-1]})))
    measured = (
        "the score of one fold"
        if counts == [1]
        else f"mean ± standard deviation of {number} folds' scores"
    )
    text = (
        f"Published: the authors' figures, on other data: {table.data}. "
        f"Here ({table.method}): {measured}. {table.note}"
    )
    return [f"{table.source}: {table.title}", *textwrap.wrap(text, _WIDTH)]


def _align(lines) -> list[str]:
    """Lines with columns two spaces apart, words aligned to the left and figures to the right."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    aligned = []
    for label, kind, *cells in lines:
        figures = (f"{cell:>{width}}" for cell, width in zip(cells, widths[2:], strict=True))
        aligned.append("  ".join([f"{label:<{widths[0]}}", f"{kind:<{widths[1]}}", *figures]))
    return aligned
