"""An ECG from any file to mV, its diagnosis codes, and the Challenge's outputs and metrics."""
