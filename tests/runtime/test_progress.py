from ecg.runtime import progress


def test_without_a_terminal_plain_lines_tell_count_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.0)
    assert list(progress.track(iter("abc"), 3, "reading")) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("reading: ")
    assert "1/3" in lines[0]
    assert "record/s" in lines[0]
    assert "3/3" in lines[2]
    assert not any("\r" in line for line in lines)


def test_short_work_shows_nothing_where_it_is_to_be_quiet(capsys, monkeypatch):
    assert list(progress.track("abc", 3, "reading", quiet_s=60)) == ["a", "b", "c"]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(progress.track("abc", 3, "reading", quiet_s=60)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_in_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(progress.track([1, 2], 2, "reading")) == [1, 2]
    assert "\r" in capsys.readouterr().err
