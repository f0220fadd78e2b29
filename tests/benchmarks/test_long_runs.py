from benchmarks.long_runs import DRIVERS, Samples, _make_parts, main, summarise
from ecg.records.discovery import find_records


def test_a_leak_is_visible():
    flat = Samples([0, 10 * 2**20] + [100 * 2**20] * 98, [5] * 100)
    assert summarise("run_model", 1000, flat) == (
        "run_model, 1,000 records: peak 100 MiB; last fifth / second fifth 1.00; open files 5, "
        "before 5"
    )
    growing = Samples([i * 2**20 for i in range(101)], list(range(101)))
    assert summarise("run_model", 1000, growing).endswith(
        "peak 100 MiB; last fifth / second fifth 3.03; open files 99, before 39"
    )


def test_both_drivers_are_watched(model_folder, capsys):
    main([str(model_folder), "--records", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{d}, 3 records" for d in DRIVERS]


def test_smaller_folders_contain_the_first_records_of_the_largest(tmp_path):
    parts = _make_parts(tmp_path, [2, 5], lead_set=2)
    few, many = ([file.name for file in find_records(parts[size])] for size in (2, 5))
    assert (len(few), len(many)) == (2, 5)
    assert few == many[:2]
