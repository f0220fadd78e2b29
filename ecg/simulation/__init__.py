"""Simulated ECGs in the Challenge's format, labelled according to their simulated physiology."""
