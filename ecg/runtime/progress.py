"""Progress of long work: a bar in a terminal, plain lines elsewhere."""

import sys
import time

LINE_INTERVAL_S = 10.0


def track(items, total, label, quiet_s=0.0):
    """Yield the items while stderr shows how many are done, the rate and the time left.

    Where stderr is not a terminal, a line is printed every LINE_INTERVAL_S and at the end. Work
    that takes less than `quiet_s` seconds shows nothing.
    """
    if sys.stderr.isatty():
        tqdm = _tqdm()
        bar = {"desc": label, "unit": "record", "dynamic_ncols": True, "delay": quiet_s}
        yield from tqdm(items, total=total, **bar)
        return
    start = printed = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - printed >= LINE_INTERVAL_S and done < total:
            _print_line(done, total, now - start, label)
            printed = now
    elapsed = time.monotonic() - start
    if elapsed >= quiet_s:
        _print_line(done, total, elapsed, label)


def _print_line(done, total, elapsed, label):
    line = _tqdm().format_meter(done, total, elapsed, ncols=0, prefix=label, unit="record")
    print(line, file=sys.stderr, flush=True)


def _tqdm():
    # Imported only when something is shown: the import takes as long as scoring 1,000 records.
    from tqdm import tqdm

    return tqdm
