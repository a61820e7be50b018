#!/usr/bin/env python3
"""Stands in for a pg_dump whose server is on another machine: gives a dump that was made before, as fast as one would.

Its arguments are the file, how many MB a second (0: as many as can be), and how many times to give the tables.
"""
import os
import sys
import time

path, rate, times = sys.argv[1:4]

# The tables between the head and the foot, as often as it takes, in the small pieces that a pg_dump writes.
head, foot = (open(f"{path}.{part}", "rb").read() for part in ("head", "foot"))
began, written, gulp, piece = time.monotonic(), 0, 256 * 1024, 4096
os.write(1, head)
body = os.open(f"{path}.body", os.O_RDONLY)
room = memoryview(bytearray(gulp))
for _ in range(int(times)):
    offset = 0
    while count := os.preadv(body, [room], offset):
        for begin in range(0, count, piece):
            # All of it: a pipe takes a piece of this size whole or not at all.
            os.write(1, room[begin : min(count, begin + piece)])
        offset += count
        written += count
        ahead = written / (float(rate) * 1e6) - (time.monotonic() - began) if float(rate) else 0
        if ahead > 0.002:
            time.sleep(ahead)
os.write(1, foot)
