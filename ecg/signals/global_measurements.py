"""The measurements that cardiographs print, of all leads together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GlobalMeasurements:
    """Rate, intervals and axis; None for what was not or cannot be measured.

    heart_rate_bpm: beats a minute. pr_ms, qrs_ms, qt_ms, qtc_ms: ms. qrs_axis_deg: of the QRS in
    the frontal plane, -180 to 180, from lead I clockwise.
    """

    heart_rate_bpm: float | None = None
    pr_ms: float | None = None
    qrs_ms: float | None = None
    qt_ms: float | None = None
    qtc_ms: float | None = None
    qrs_axis_deg: float | None = None


NOT_MEASURED = GlobalMeasurements()
