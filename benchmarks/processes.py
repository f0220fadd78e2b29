"""Memory and open files of a process and its descendants, now or sampled over time."""

import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL_S = 0.2


@dataclass
class Samples:
    """Samples of a process tree. memory: bytes. files: open file handles."""

    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def add(self, pid: int) -> None:
        """Take a sample of a process and its descendants."""
        self.memory.append(memory_of_tree(pid))
        self.files.append(open_files_of_tree(pid))


@contextmanager
def watched(pid: int):
    """Sample a process and its descendants every INTERVAL_S during the block, and at its end."""
    samples, ended = Samples(), threading.Event()

    def sample():
        while not ended.wait(INTERVAL_S):
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
    """Return the sum of the proportional set sizes of a process and its descendants, bytes.

    Shared pages count once. Processes that have ended count as 0.
    """
    return _sum_of_tree(pid, _proportional_set_size)


def open_files_of_tree(pid: int) -> int:
    """Return the number of file handles that a process and its descendants have open."""
    return _sum_of_tree(pid, _n_open_files)


def _sum_of_tree(pid: int, measure: Callable[[int], int]) -> int:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # pid (name) state parent …; the name may contain anything.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    total, waiting = 0, [pid]
    while waiting:
        descendant = waiting.pop()
        waiting += children.get(descendant, [])
        total += measure(descendant)
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
