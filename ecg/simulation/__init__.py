"""Simulated ECGs in the Challenge's format, each with the labels that its physiology implies."""
