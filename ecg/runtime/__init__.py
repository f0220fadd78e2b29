"""Files, processes, progress and command lines: nothing about ECGs or networks."""
