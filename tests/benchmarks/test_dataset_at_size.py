from benchmarks.dataset_at_size import (
    Cost,
    cost_of_dataset,
    drop_from_cache,
    report,
    simulate_missing,
)
from ecg.records.discovery import find_records, sources_of
from tests.synthetic import write_folder


def test_a_tenth_and_the_others_are_simulated_once(tmp_path):
    tenth, whole = simulate_missing(tmp_path, 20, workers=1)
    records = find_records(whole)
    assert (len(find_records(tenth)), len(records)) == (2, 20)
    assert set(sources_of(records)) == {"tenth", "others"}
    files = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    (tenth / "g1").rename(tenth / ".unfinished-g1")  # as one that was cut off
    assert simulate_missing(tmp_path, 20, workers=1) == (tenth, whole)
    found = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    assert found.keys() == files.keys()
    assert all(found[path] == files[path] for path in files if path.parent.parent.name == "others")


def test_records_are_as_they_were_after_they_were_dropped(tmp_path):
    folder = write_folder(tmp_path, 2)
    before = [path.read_bytes() for path in sorted(folder.iterdir())]
    drop_from_cache(folder)
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == before


def test_a_dataset_costs_time_and_memory_and_is_found_again(tmp_path):
    folder = write_folder(tmp_path / "data", 3)
    first, again = (cost_of_dataset(folder, tmp_path / "cache", workers=1) for _ in range(2))
    assert first.n_records == again.n_records == 3
    assert first.memory > 10 * 2**20
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_lines_have_the_ratios():
    tenth, whole = Cost(10, 0.1, 2**30), Cost(100, 1.25, 2**31)
    lines = report(tenth, whole, Cost(100, 0.5, 2**20), workers=2)
    assert "100 records, 2 workers: 80 records/s, 0.80 of the 100 at 10 (target 0.9)" in lines[0]
    assert "2.00 GiB, 1.00 GiB at 10 (target 2 GiB)" in lines[1]
    assert "second start, from the cache: 0.5 s (target 10 s)" in lines[2]
