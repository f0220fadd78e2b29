"""Methods as data, their networks and decisions, and trained models that predict."""
