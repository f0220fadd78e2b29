"""Output for readers: plots, ECG sheets, the report and the explanation page."""
