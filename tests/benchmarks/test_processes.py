import os
import subprocess
import sys
import time

from benchmarks.processes import memory_of_tree, open_files_of_tree, watched

# A process that allocates memory, then starts a child that does; each step waits for a line.
PARENT = f"""
import subprocess, sys
child = "held = bytearray({2**26}); print('ready', flush=True); input()"
print("ready", flush=True), input()
held = bytearray({2**27})
print("ready", flush=True), input()
with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, text=True) as process:
    input()
    process.communicate("\\n")
"""


def test_memory_includes_descendants():
    # Not measured on this process, whose other threads may free memory at any time.
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:

        def memory_at_next_step():
            parent.stdout.readline()
            found = memory_of_tree(parent.pid)
            print(file=parent.stdin, flush=True)
            return found

        empty, holding, with_child = (memory_at_next_step() for _ in range(3))
    assert empty > 2**20
    assert holding > empty + 0.9 * 2**27
    assert with_child > holding + 0.9 * 2**26
    assert memory_of_tree(parent.pid) == 0


def test_open_files_are_counted(tmp_path):
    before = open_files_of_tree(os.getpid())
    with open(tmp_path / "one", "w"), open(tmp_path / "two", "w"):
        assert open_files_of_tree(os.getpid()) == before + 2
    assert open_files_of_tree(os.getpid()) == before


def test_a_process_is_sampled_until_it_ends(tmp_path):
    code = f"held = bytearray({2**27}); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    with watched(child.pid) as samples:
        while not samples.memory or samples.memory[-1] < 2**27:
            time.sleep(0.1)
        child.communicate("\n")
    assert max(samples.memory) > 2**27
    assert len(samples.memory) == len(samples.files) > 1
    assert samples.memory[-1] == 0
