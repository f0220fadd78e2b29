"""What a process and all below it hold: memory and open files, at once or sampled over its life."""

import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SAMPLED_S = 0.2


@dataclass
class Samples:
    """memory: bytes; files: handles that are open; one number a sample, of the whole tree."""

    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def add(self, pid: int) -> None:
        """One sample more, of the process and all below it."""
        self.memory.append(memory_of_tree(pid))
        self.files.append(open_files_of_tree(pid))


@contextmanager
def watched(pid: int):
    """The `Samples` of a process and all below it, taken every SAMPLED_S while the block lasts and
    at its end."""
    samples, ended = Samples(), threading.Event()

    def sample():
        while not ended.wait(SAMPLED_S):
            samples.add(pid)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
        samples.add(pid)


def memory_of_tree(pid: int) -> int:
    """Bytes: the proportional set sizes of a process and all below it, which count shared pages
    once. Processes that end meanwhile count nothing."""
    return _sum_of_tree(pid, _proportional_set_size)


def open_files_of_tree(pid: int) -> int:
    """Handles that a process and all below it have open."""
    return _sum_of_tree(pid, _n_open_files)


def _sum_of_tree(pid: int, figure: Callable[[int], int]) -> int:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # pid (name) state parent …; a name may hold anything.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        total += figure(one)
    return total


def _proportional_set_size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _n_open_files(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0
