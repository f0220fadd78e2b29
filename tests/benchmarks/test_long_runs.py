from benchmarks.long_runs import WAYS, Samples, _make_parts, line_of, main
from ecg.records.discovery import find_records


def test_a_leak_shows():
    flat = Samples([0, 10 * 2**20] + [100 * 2**20] * 98, [5] * 100)
    assert line_of("run_model", 1000, flat) == (
        "run_model, 1,000 records: at most 100 MiB; last fifth over second 1.00; handles 5 after 5"
    )
    growing = Samples([i * 2**20 for i in range(101)], list(range(101)))
    assert line_of("run_model", 1000, growing).endswith(
        "at most 100 MiB; last fifth over second 3.03; handles 99 after 39"
    )


def test_both_ways_are_watched(model_folder, capsys):
    main([str(model_folder), "--records", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{way}, 3 records" for way in WAYS]


def test_smaller_folders_hold_the_first_records_of_the_largest(tmp_path):
    parts = _make_parts(tmp_path, [2, 5], lead_set=2)
    few, many = ([file.name for file in find_records(parts[size])] for size in (2, 5))
    assert (len(few), len(many)) == (2, 5)
    assert few == many[:2]
