#!/usr/bin/env python3
"""How fast, how small, and in how much memory: this service against what it could be and against what else there is.

    make bench                          about eight minutes, or twelve on a slow machine
    BENCH=quick make bench              less than four: smaller data, fewer rounds
    BENCH=same,restore make bench       these sections alone, printed and not kept

Everything runs on 127.0.0.1 in a temporary folder. The table and the plots go into docs/ (or the folder BENCH_DOCS), also
when it is cut off.
"""
import contextlib
import glob
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import data
import report
from measure import TICK, measure, memory, start, stat, stop, stop_all
from report import AUTO, AUTO_WITHOUT, FASTEST, FASTEST_WITHOUT, LIMIT, RIVAL, TEMPLATE, finished, median, ratio, show
from servers import BIN, HERE, KEY, QUIET, SECRET, TOOLS, Postgres, SeaweedFs, Sink, certificates, free_port

ROOT = os.path.dirname(HERE)
WHICH = os.environ.get("BENCH", "")
QUICK = WHICH == "quick"
DOCS = os.environ.get("BENCH_DOCS", f"{ROOT}/docs")
# The program as the image has it, and the one whose fastest level is libdeflate's. `make bench` builds both.
BUILT = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "bench")
PROGRAM = os.path.realpath(os.environ.get("BENCH_PROGRAM", f"{BUILT}/with-isal/postgres-s3-backups"))
WITHOUT = os.path.realpath(os.environ.get("BENCH_PROGRAM_WITHOUT_ISAL", f"{BUILT}/without-isal/postgres-s3-backups"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2" if QUICK else "3"))
MEGABYTES = int(os.environ.get("BENCH_MEGABYTES", "200" if QUICK else "1000"))
# What one core of a server and one of pg_dump gave of an app's data where the goals were set.
ELSEWHERE = 160
# How many answers of the store a backup waits for in a row, besides the upload of its parts.
ANSWERS = 6
# The template as it was when this service replaced it.
TEMPLATE_REPOSITORY, TEMPLATE_COMMIT = "https://github.com/railwayapp-templates/postgres-s3-backups", "647038883ab7cc19705211111e1357aa16846ff5"
SCRATCH = os.environ.get("TMPDIR", "/var/tmp")


def ours(level="auto", program=PROGRAM):
    return [program, "backup"], {"BACKUP_COMPRESSION": level}


def pipe(line):
    return ["/bin/bash", "-c", "set -o pipefail; " + line], {}


def contenders(template):
    dump, aws = 'pg_dump --format=plain "$BACKUP_DATABASE_URL"', 'aws s3 cp - "s3://$AWS_S3_BUCKET/$RANDOM$RANDOM.gz" --endpoint-url "$AWS_S3_ENDPOINT" --quiet'
    table = {
        LIMIT: pipe(f"{dump} >/dev/null"), AUTO: ours(), FASTEST: ours("1"), AUTO_WITHOUT: ours(program=WITHOUT), FASTEST_WITHOUT: ours("1", WITHOUT), "this service, 6": ours("6"),
        RIVAL: pipe(f"{dump} | gzip | {aws}"),
    }
    if shutil.which("pigz", path="/usr/bin:/bin"):
        table["`pg_dump \\| pigz \\| aws s3 cp -`"] = pipe(f"{dump} | pigz | {aws}")
    if template:
        table[TEMPLATE] = [shutil.which("node"), f"{template}/dist/index.js"], {"SINGLE_SHOT_MODE": "true", "AWS_S3_REGION": "us-east-1", "AWS_S3_FORCE_PATH_STYLE": "true"}
    return table


def old_template():
    """The folder where the template that this service replaces is built, or None and why."""
    folder = os.environ.get("BENCH_TEMPLATE") or f"{TOOLS}/old-template"
    if not shutil.which("node"):
        return None, "there is no node here"
    try:
        if not os.path.isdir(folder):
            for words in (["init", "-q", folder], ["-C", folder, "fetch", "-q", "--depth", "1", TEMPLATE_REPOSITORY, TEMPLATE_COMMIT], ["-C", folder, "checkout", "-q", TEMPLATE_COMMIT]):
                subprocess.run(["git", *words], check=True, timeout=60, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}, **QUIET)
        if not os.path.exists(f"{folder}/dist/index.js"):
            for words in (["ci", "--silent"], ["run", "-s", "build"], ["prune", "--omit=dev", "--silent"]):
                subprocess.run(["npm", *words], cwd=folder, check=True, timeout=120, **QUIET)
        return os.path.realpath(folder), ""
    except (OSError, subprocess.SubprocessError) as error:
        if not os.environ.get("BENCH_TEMPLATE"):
            shutil.rmtree(folder, ignore_errors=True)
        return None, f"it could not be fetched and built here ({type(error).__name__}); BENCH_TEMPLATE can name a checkout of it"


class Bench:
    def __init__(self, folder):
        self.folder, self.began = folder, time.monotonic()
        self.text, self.found, self.goals = [], {}, report.Goals()
        self.services, self.next_name = [], 0
        self.section = "the start"

    def say(self, text):
        print(f"[{time.monotonic() - self.began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def add(self, *lines):
        self.text += [*lines, ""]

    def prepare(self, sections):
        self.template, self.no_template = old_template()
        if not self.template:
            self.say(f"without the old template: {self.no_template}")
        self.table_of = contenders(self.template)
        self.postgres, self.sink = Postgres(self.folder), Sink()
        self.url = lambda database: f"{self.postgres.url}/{database}"
        self.aside = (self.postgres.process.pid, self.sink.process.pid)
        self.say(f"data: {MEGABYTES} MB as an app has, and less of it")
        data.app(self.postgres, "app", MEGABYTES)
        data.app(self.postgres, "middle", MEGABYTES / 2)
        data.app(self.postgres, "small", MEGABYTES / 10)
        data.app(self.postgres, "tiny", MEGABYTES / 20)
        self.dump = f"{self.folder}/app.sql"
        self.gigabytes = data.dump(self.url("app"), self.dump) / 1e9
        # What was written a moment ago goes to the disk now, and not beside the first round.
        os.sync()

    def environment(self, store, url, clients=BIN, **more):
        return {
            "PATH": f"{clients}:{TOOLS}/venv/bin:/usr/bin:/bin", "HOME": self.folder, "TMPDIR": f"{self.folder}/temporary", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_S3_BUCKET": store.bucket, "AWS_S3_ENDPOINT": store.endpoint, "AWS_EC2_METADATA_DISABLED": "true",
            "BACKUP_DATABASE_URL": url, "BACKUP_RETRIES": "0", "PORT": str(free_port()), "LOG_FORMAT": "json", **more,
        }

    def run(self, command, url, store=None, clients=BIN, **extra):
        """Once, with the size of the object that it left in the store."""
        store = store or self.sink
        argv, more = command
        is_ours = argv[0] in (PROGRAM, WITHOUT)
        if is_ours:
            # Its objects are named by the second.
            time.sleep(max(0, self.next_name - time.monotonic()))
            self.next_name = time.monotonic() + 1
        known = store.sizes()
        result = measure(argv, self.environment(store, url, clients, **more, **extra), (self.postgres.process.pid, store.process.pid))
        new = [size for path, size in store.sizes().items() if path not in known]
        result |= {"size": new[0] if new else 0, "cores": os.cpu_count()}
        if is_ours:
            if result["size"] != finished(result["said"])["size_bytes"]:
                sys.exit(f"the store has {result['size']} bytes of this: {result['said']}")
            self.services.append(result)
        return result

    def rounds(self, names, url, store=None, clients=BIN):
        """Names with how often each is run: in the first so many rounds."""
        results = {name: [] for name in names}
        for number in range(max(names.values())):
            # Each round the other way round, so that nothing always follows the same neighbour.
            for name in list(names)[:: 1 if number % 2 == 0 else -1]:
                if number < names[name]:
                    result = self.run(self.table_of[name], url, store, clients)
                    results[name].append(result)
                    self.say(f"   {number + 1}. {name}: {result['wall']:.2f} s")
        return results

    def same(self):
        """Server on the same cores, app-like"""
        # The slow ones run less often: a round of it all takes more than two minutes.
        often = {name: ROUNDS if name in (LIMIT, AUTO, FASTEST) else min(2, ROUNDS) if name in (RIVAL, AUTO_WITHOUT) else 1 for name in self.table_of}
        self.run(self.table_of[LIMIT], self.url("app"))
        results = self.found["same"] = self.rounds(often, self.url("app"))
        rate = self.gigabytes * 1000 / median(results[LIMIT], "wall")
        self.add(f"### Database on the same {os.cpu_count()} cores, app-like, {self.gigabytes:.2f} GB", "", report.contest(results), "",
                 f"`pg_dump` gives {rate:.0f} MB/s of this data." + ("" if self.template else f" The old template did not take part: {self.no_template}."))
        self.add("### Where a second goes", "", "auto, the database on the same cores:", "", report.profile(results[AUTO], self.gigabytes), "",
                 "The same without ISA-L:", "", report.profile(results[AUTO_WITHOUT], self.gigabytes))

    def elsewhere(self):
        """Server elsewhere"""
        clients = data.stand_in(self.folder, self.dump, ELSEWHERE, 1)
        results = self.found["elsewhere"] = self.rounds({LIMIT: 1, AUTO: min(2, ROUNDS), AUTO_WITHOUT: 1} | ({} if "same" in self.found else {RIVAL: 1}), self.url("app"), clients=clients)
        self.add(f"### Database elsewhere, app-like, {self.gigabytes:.2f} GB", "",
                 f"A stand-in for `pg_dump` gives {ELSEWHERE} MB/s in pieces of 4 KiB, and no server is at work on these cores:", "", report.contest(results))

    def pgbench(self):
        """pgbench-like"""
        data.pgbench(self.postgres, "pgbench", MEGABYTES // 2)
        results = self.rounds({LIMIT: 2, AUTO: 2, AUTO_WITHOUT: 2, RIVAL: 1}, self.url("pgbench"))
        gigabytes = finished(results[AUTO][0]["said"])["uncompressed_bytes"] / 1e9
        self.add(f"### Database on the same cores, pgbench-like (`pgbench -i`), {gigabytes:.2f} GB", "", report.contest(results))

    def seaweed(self):
        """A real S3 server on the same cores"""
        store = self.real_store()
        results = self.rounds({LIMIT: 2, AUTO: 2, AUTO_WITHOUT: 1}, self.url("middle"), store)
        self.add("### A real S3 server (SeaweedFS), on the same cores too, app-like, half as much", "", report.contest(results), "",
                 f"It takes {median(results[AUTO], 'store'):.1f} s of processor time itself for each of these backups, which is why the other sections use a store that takes next to nothing.")

    def real_store(self):
        if "store" not in self.found:
            self.found["store"] = SeaweedFs(self.folder)
        return self.found["store"]

    def restore(self):
        """Restore"""
        store = self.real_store()
        store.bucket = "restore-bucket"
        store.aws("s3", "mb", "s3://restore-bucket")
        self.run(ours(), self.url("middle"), store)
        plain = f"{self.folder}/middle.sql"
        with open(plain, "wb") as f:
            subprocess.run([f"{BIN}/pg_dump", "--format=plain", self.url("middle")], stdout=f, check=True)
        psql, bare, whole, read = "`psql -1 -f` from a plain local file", "`restore --no-verify --no-analyze`", "`restore`", "`verify`"
        target = self.url("target")
        commands = {psql: ["/bin/bash", "-c", f"psql -Xq -1 -v ON_ERROR_STOP=1 -f '{plain}' '{target}' >/dev/null"], bare: [PROGRAM, "restore", "--no-verify", "--no-analyze"], whole: [PROGRAM, "restore"], read: [PROGRAM, "verify"]}
        results = {name: [] for name in commands}
        for number in range(min(2, ROUNDS)):
            for name in list(commands)[:: 1 if number % 2 == 0 else -1]:
                self.postgres.sql("postgres", "SET client_min_messages = error;\nDROP DATABASE IF EXISTS target;\nCREATE DATABASE target TEMPLATE template0;\nCHECKPOINT;\n")
                results[name].append(measure(commands[name], self.environment(store, self.url("middle"), RESTORE_DATABASE_URL=target), (self.postgres.process.pid, store.process.pid)))
                self.say(f"   {number + 1}. {name}: {results[name][-1]['wall']:.2f} s")
        self.postgres.sql("postgres", "DROP DATABASE target")
        os.remove(plain)
        lines = [[name, f"{median(runs, 'wall'):.2f} ({min(run['wall'] for run in runs):.2f}–{max(run['wall'] for run in runs):.2f})", show(ratio(results, name, psql, "wall")), f"{median(runs, 'cpu'):.2f}",
                  f"{median(runs, 'served'):.2f}", "–" if name == psql else f"{median(runs, 'own'):.0f}", f"{median(runs, 'tree'):.0f}", f"{median(runs, 'disk'):.0f}", f"{100 * median(runs, 'foreign'):.0f} %"] for name, runs in results.items()]
        size = finished(self.services[-1]["said"])["uncompressed_bytes"] / 1e9
        self.add(f"### Restore of {size:.2f} GB, from a real S3 server on the same cores", "",
                 report.rows(["", "wall s (least–most)", "÷ psql", "CPU client s", "CPU server s", "peak RSS MiB: this service", "all processes", "temporary disk MB", "foreign load"], lines), "",
                 "The default reads the backup whole before it touches the database, as `verify` does, and runs `ANALYZE` at the end; `psql` does neither. A restore is one transaction in all three.")
        store.bucket = "bench-bucket"
        self.found["restore"] = {"bare": ratio(results, bare, psql, "wall"), "whole": ratio(results, whole, psql, "wall"), "own": max(median(results[name], "own") for name in (bare, whole))}

    def growth(self):
        """Growth, and a daemon that idles meanwhile"""
        idle = Idle(self)
        lines, walls, peaks = [], {"this service": [], "pg_dump alone": [], "gzip pipe": []}, {"this service": [], "all processes": [], "gzip pipe": []}

        def line(size, source, alone, auto, pipe=None, drawn=True):
            if drawn:
                walls["this service"].append((size, auto["wall"]))
                walls["pg_dump alone"].append((size, alone))
                peaks["this service"].append((size, auto["own"]))
                peaks["all processes"].append((size, auto["tree"]))
            if pipe:
                walls["gzip pipe"].append((size, pipe["wall"]))
                peaks["gzip pipe"].append((size, pipe["tree"]))
            lines.append([f"{size:.2f} GB", source, f"{alone:.2f}", f"{auto['wall']:.2f}", f"{auto['wall'] / alone:.2f}", pipe and f"{pipe['wall']:.2f}" or "–", f"{auto['own']:.1f}", f"{auto['tree']:.1f}", f"{auto['disk']:.0f}"])

        def medians(runs):
            return {key: median(runs, key) for key in ("wall", "own", "tree", "disk")}

        runs = {name: [self.run(self.table_of[name], self.url("small"))] for name in (LIMIT, AUTO, RIVAL)}
        line(self.gigabytes / 10, "a real server", runs[LIMIT][0]["wall"], runs[AUTO][0], runs[RIVAL][0])
        if "same" in self.found:
            same = self.found["same"]
            line(self.gigabytes, "a real server", median(same[LIMIT], "wall"), medians(same[AUTO]), medians(same[RIVAL]))
        if "elsewhere" in self.found:
            apart = self.found["elsewhere"]
            line(self.gigabytes, f"the stand-in, {ELSEWHERE} MB/s", median(apart[LIMIT], "wall"), medians(apart[AUTO]), drawn="same" not in self.found)
        times = max(2, round((2 if QUICK else 10) / self.gigabytes)) if MEGABYTES > 99 else 2
        self.say(f"   {times} times that from the stand-in")
        large = self.run(ours(), self.url("app"), clients=data.stand_in(self.folder, self.dump, ELSEWHERE, times))
        size = finished(large["said"])["uncompressed_bytes"] / 1e9
        line(size, f"the stand-in, {ELSEWHERE} MB/s", size * 1000 / ELSEWHERE, large)
        if "elsewhere" in self.found:
            self.found["flat"] = large["own"] / median(self.found["elsewhere"][AUTO], "own")
        plots = {"wall": ("Wall time over the size of the dump", "s", walls), "memory": ("Peak memory over the size of the dump", "MiB", peaks)}
        for name, (title, unit, series) in plots.items():
            report.plot(f"{DOCS}/performance-{name}.svg" if not sections_asked() else f"{self.folder}/{name}.svg", title, unit, series)
        self.add("### Growth", "", report.rows(["dump", "from", "pg_dump alone s", "auto s", "ratio", "gzip pipe s", "RSS MiB: this service", "all processes", "temporary disk MB"], lines), "",
                 f"The largest is the same tables {times} times over from the stand-in, which alone would take as long as its speed says. In the plots it follows the real server's.", "",
                 *(f"![{title}](performance-{name}.svg)\n" for name, (title, _, _) in plots.items()))
        self.found["idle"] = idle.end(10 if QUICK else 60)
        rss, ticks, seconds = self.found["idle"]
        self.add("### Idle", "", f"The daemon over {seconds:.0f} s without a backup: {rss:.1f} MiB RSS, {ticks * 1000 // TICK} ms of processor time. The program: {os.path.getsize(PROGRAM) / 2**20:.1f} MiB.")

    def shapes(self):
        """Shapes that could cost memory"""
        lines = []

        def line(name, result):
            done = finished(result["said"])
            lines.append([name, f"{done['uncompressed_bytes'] / 1e6:.0f} MB", f"{result['wall']:.2f}", f"{result['own']:.1f}", f"{result['tree']:.1f}", f"{result['disk']:.0f}"])
            self.say(f"   {name}: {result['wall']:.2f} s, {result['own']:.1f} MiB")

        data.one_row(self.postgres, "one_row", 200)
        line("one row of 200 MB", self.run(ours(), self.url("one_row")))
        count = 2_000 if QUICK else 20_000
        data.tables(self.postgres, "tables", count)
        line(f"{count} tables", self.run(ours(), self.url("tables")))
        self.postgres.sql("postgres", "DROP DATABASE one_row")
        folder = certificates(self.folder)
        secure = Sink(certificate=folder)
        line("over TLS", self.run(ours(), self.url("middle"), secure, SSL_CERT_FILE=f"{folder}/known.pem"))
        secure.stop()
        # What stays of it in a daemon.
        process = start([PROGRAM], env=self.environment(self.sink, self.url("middle"), RUN_ON_STARTUP="true", BACKUP_CRON_SCHEDULE=far_off()), stdout=subprocess.PIPE, text=True)
        for said in process.stdout:
            if '"backup finished"' in said:
                break
        time.sleep(10)
        now, most = memory(process.pid)
        stop(process)
        self.found["after"] = now
        self.add("### Memory, by shape", "", report.rows(["", "dump", "wall s", "RSS MiB: this service", "all processes", "temporary disk MB"], lines), "",
                 f"`pg_dump` itself holds a row whole, twice. A daemon 10 s after a backup: {now:.1f} MiB, of {most:.1f} at its most.")

    def stores(self):
        """Slow stores"""
        lines = []
        for latency, rate in [(1000, 20)] if QUICK else [(latency, rate) for latency in (20, 1000) for rate in (2, 20, 200)]:
            slow = Sink(latency, rate)
            # As much as shows the link's speed: some seconds of it. On a fast link the dump is the limit: that of a database elsewhere.
            clients = data.stand_in(self.folder, self.dump, ELSEWHERE, 1) if rate == 200 else BIN
            run = self.run(ours(), self.url({2: "tiny", 20: "middle", 200: "app"}[rate]), slow, clients)
            slow.stop()
            done = finished(run["said"])
            link, dump = done["size_bytes"] / rate / 1e6, done["uncompressed_bytes"] / (ELSEWHERE * 1e6)
            waits = {"dump": done["waited_for_dump_seconds"], "compression": done["waited_for_compression_seconds"], "upload": done["waited_for_upload_seconds"]}
            bound = max(link, dump)
            lines.append([f"{latency} ms", f"{rate} MB/s", f"{done['uncompressed_bytes'] / 1e6:.0f} → {done['size_bytes'] / 1e6:.0f} MB", f"{run['wall']:.2f}", f"{link:.2f}", f"{dump:.2f}", "link" if link > dump else "dump",
                          f"{100 * bound / run['wall']:.0f} %", f"{100 * (bound + ANSWERS * latency / 1000) / run['wall']:.0f} %", f"{done['compression_level']:.1f}", " / ".join(f"{wait:.1f}" for wait in waits.values()), f"{run['own']:.1f}"])
            self.say(f"   {latency} ms, {rate} MB/s: {run['wall']:.2f} s for {bound:.2f}")
        self.add("### Slow stores (auto)", "", report.rows(["latency", "link", "dump → object", "wall s", "link's time s", f"dump's at {ELSEWHERE} MB/s", "bound by", "reached", "with the answers", "mean level", "waited for dump / compression / upload s", "RSS MiB"], lines), "",
                 f"\"Reached\" is the longer of the two times, which no program can be faster than, against the wall; \"with the answers\" adds the {ANSWERS} answers that a backup must wait for one after "
                 "the other: two listings, the upload's begin, its last part, its completion, and a look at what was stored.")

    def judge(self):
        same, apart, goals = self.found.get("same", {}), self.found.get("elsewhere", {}), self.goals
        goals.add("same cores, auto: wall ÷ `pg_dump >/dev/null`", ratio(same, AUTO, LIMIT, "wall"), most=1.05)
        goals.add("same cores, 1: wall ÷ `pg_dump >/dev/null`", ratio(same, FASTEST, LIMIT, "wall"), most=1.05)
        goals.add("same cores, auto: times faster than `pg_dump \\| gzip \\| aws s3 cp -`", ratio(same, RIVAL, AUTO, "wall"), least=6)
        goals.add("same cores, auto: times faster than the old template", ratio(same, TEMPLATE, AUTO, "wall"), least=7)
        goals.add("same cores, auto: client CPU ÷ the gzip pipe's", ratio(same, AUTO, RIVAL, "cpu"), most=0.17)
        goals.add("same cores, 1: client CPU ÷ the gzip pipe's", ratio(same, FASTEST, RIVAL, "cpu"), most=0.17)
        goals.add("same cores, auto: object ÷ gzip -6's", ratio(same, AUTO, RIVAL, "size"), most=1.04, form="{:.3f}")
        goals.add("elsewhere, auto: wall ÷ the dump alone", ratio(apart, AUTO, LIMIT, "wall"), most=1.02)
        # gzip makes the same of this dump wherever it comes from.
        rivals = apart.get(RIVAL) or same.get(RIVAL)
        goals.add("elsewhere, auto: object ÷ gzip -6's", rivals and median(apart[AUTO], "size") / median(rivals, "size") if apart else None, most=0.95, form="{:.3f}")
        backups = self.services
        goals.add(f"peak RSS of this service in the worst of {len(backups)} backups, MiB", max((run["own"] for run in backups), default=None), most=64, form="{:.1f}")
        flat = self.found.get("flat")
        goals.add("peak RSS of this service: the larger of that at 10 GB and that at 1 GB ÷ the other", flat and max(flat, 1 / flat), most=1.05)
        rss, ticks, _ = self.found.get("idle", (None, None, None))
        goals.add("idle: RSS, MiB", rss, most=10, form="{:.1f}")
        goals.add("idle: processor time in a minute, ms", None if ticks is None else ticks * 1000 // TICK, most=10, form="{:.0f}")
        goals.add("program without the library, MiB", os.path.getsize(PROGRAM) / 2**20, most=9.5, form="{:.1f}")
        goals.add("temporary disk in the worst backup, MB", max((run["disk"] for run in backups), default=None), most=0, form="{:.0f}")
        restored = self.found.get("restore", {})
        goals.add("restore (`--no-verify --no-analyze`) ÷ `psql -1 -f` from a plain local file", restored.get("bare"), most=1.05)
        goals.add("restore as it is by default ÷ the same", restored.get("whole"), most=1.05)

    def page(self, cut):
        took = time.monotonic() - self.began
        self.judge()
        with open("/proc/cpuinfo") as f:
            model = next((line.split(": ")[1].strip() for line in f if line.startswith("model name")), platform.machine())
        versions = [subprocess.run(argv, capture_output=True, text=True).stdout.split("\n")[0].strip()
                    for argv in ([PROGRAM, "--version"], [f"{BIN}/pg_dump", "--version"], ["gzip", "--version"], [f"{TOOLS}/venv/bin/aws", "--version"], ["uname", "-sr"])]
        if self.template:
            versions.append(f"the old template at {TEMPLATE_COMMIT[:7]}, node {subprocess.run(['node', '--version'], capture_output=True, text=True).stdout.strip()}")
        load = statistics.median(run["foreign"] for run in self.services) if self.services else 0
        head = [f"`{'BENCH=' + WHICH + ' ' if WHICH else ''}make bench`, {time.strftime('%Y-%m-%d', time.gmtime())}, {took / 60:.1f} minutes; up to {ROUNDS} alternating rounds, medians, ratios within a round.",
                f"{os.cpu_count()} cores of {model}; {'; '.join(versions)}. Foreign load beside the backups: {100 * load:.0f} % (median)."]
        if load > 0.1:
            head.append("**The machine was not quiet**: the wall times here say little.")
        if cut:
            head.append(f"**Cut off** in the section \"{self.section}\".")
        return "\n".join([*head, "", "### Goals", "", self.goals.table(), "", *self.text])


class Idle:
    """A daemon that has nothing to do."""

    def __init__(self, bench):
        self.process = start([PROGRAM], env=bench.environment(bench.sink, bench.url("small"), BACKUP_CRON_SCHEDULE=far_off()), stdout=subprocess.DEVNULL)
        # Its start, and the look ahead that belongs to it.
        time.sleep(3)
        self.before, self.began = stat(self.process.pid)[1], time.monotonic()

    def end(self, seconds):
        """After at least so many seconds."""
        time.sleep(max(0, self.began + seconds - time.monotonic()))
        ticks, rss = stat(self.process.pid)[1] - self.before, memory(self.process.pid)[0]
        stop(self.process)
        return rss, ticks, time.monotonic() - self.began


def far_off():
    """A schedule that is not due while the bench runs."""
    return f"0 {(time.gmtime().tm_hour + 12) % 24} * * *"


def sections_asked():
    return WHICH.split(",") if WHICH and not QUICK else []


def clear_up():
    """What a bench left behind that had no time to."""
    for folder in glob.glob(f"{SCRATCH}/psb-bench-*"):
        with contextlib.suppress(OSError, ValueError):
            with open(f"{folder}/pid") as f:
                pid = int(f.read())
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if b"bench.py" in f.read():
                        continue
            shutil.rmtree(folder, ignore_errors=True)


def keep(page):
    path = f"{DOCS}/performance.md"
    with open(path if os.path.exists(path) else f"{ROOT}/docs/performance.md") as f:
        before, begin, rest = f.read().partition("<!-- bench: begin -->\n")
    _, end, after = rest.partition("<!-- bench: end -->")
    with open(path, "w") as f:
        f.write(f"{before}{begin}\n{page.rstrip()}\n\n{end}{after}")


def main():
    sections = ["same", "elsewhere", "pgbench", "stores", "growth", "restore", "seaweed", "shapes"]
    asked = sections_asked() or [name for name in sections if not (QUICK and name in ("pgbench", "seaweed"))]
    for name in asked:
        if name not in sections:
            sys.exit(f"BENCH={WHICH}: {name} is none of {', '.join(sections)}, quick")
    subprocess.run([f"{ROOT}/tests/tools.sh", "pg:17", "aws", "weed", "openssl", "gunzips"], check=True)
    for name in [name for name in os.environ if name.startswith(("PG", "AWS_"))]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    clear_up()
    folder = tempfile.mkdtemp(prefix="psb-bench-", dir=SCRATCH)
    with open(f"{folder}/pid", "w") as f:
        f.write(str(os.getpid()))
    os.chmod(folder, 0o755)
    os.mkdir(f"{folder}/temporary")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    bench = Bench(folder)
    cut = True
    try:
        bench.prepare(asked)
        for name in asked:
            bench.section = getattr(bench, name).__doc__
            bench.say(bench.section)
            getattr(bench, name)()
        cut = False
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if bench.text:
            page = bench.page(cut)
            print(page, flush=True)
            if not sections_asked():
                keep(page)
        bench.say("done" if not cut else f"cut off in: {bench.section}")
        if "store" in bench.found:
            bench.found["store"].stop()
        stop_all()
        shutil.rmtree(folder, ignore_errors=True)


main()
