"""Progress of long work: a bar in a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm

LINE_INTERVAL_S = 10.0


def track(items, total, label):
    """The items, while stderr shows how many are done, the rate and the time left.

    Where stderr is no terminal, a line is printed every LINE_INTERVAL_S and at the end.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, unit="record", dynamic_ncols=True)
        return
    start = printed = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - printed >= LINE_INTERVAL_S and done < total:
            _print_line(done, total, now - start, label)
            printed = now
    _print_line(done, total, time.monotonic() - start, label)


def _print_line(done, total, elapsed, label):
    line = tqdm.format_meter(done, total, elapsed, ncols=0, prefix=label, unit="record")
    print(line, file=sys.stderr, flush=True)
