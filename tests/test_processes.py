import os
import subprocess
import sys
import time

import numpy as np

from benchmarks.processes import memory_of_tree, open_files_of_tree, watched


def test_memory_is_that_of_a_process_and_all_below_it():
    alone = memory_of_tree(os.getpid())
    assert alone > 10 * 2**20
    held = np.ones(2**24)
    assert memory_of_tree(os.getpid()) > alone + 0.9 * held.nbytes
    code = f"held = bytearray({2**26}); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        assert memory_of_tree(os.getpid()) > alone + 0.9 * (held.nbytes + 2**26)
        child.communicate("\n")
    assert memory_of_tree(child.pid) == 0


def test_handles_are_counted(tmp_path):
    before = open_files_of_tree(os.getpid())
    with open(tmp_path / "one", "w"), open(tmp_path / "two", "w"):
        assert open_files_of_tree(os.getpid()) == before + 2
    assert open_files_of_tree(os.getpid()) == before


def test_a_process_is_sampled_over_its_life(tmp_path):
    code = f"held = bytearray({2**27}); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    with watched(child.pid) as samples:
        while not samples.memory or samples.memory[-1] < 2**27:
            time.sleep(0.1)
        child.communicate("\n")
    assert max(samples.memory) > 2**27
    assert len(samples.memory) == len(samples.files) > 1
    assert samples.memory[-1] == 0
