"""Output for readers: plots, ECG sheets, the report and the explanation page."""

NOTICE = "For research only: not a medical device, no substitute for a physician's diagnosis."
