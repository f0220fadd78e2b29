"""Comparisons of answers, methods, variants and folds."""
