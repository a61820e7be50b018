#!/usr/bin/env python3
"""How fast, how small, and in how much memory: this service against what it could be and against what else there is.

    make bench                 about ten minutes
    BENCH=quick make bench     less than four: smaller data, fewer rounds

Everything runs on 127.0.0.1 in a temporary folder. The table and the plots go into docs/.
"""
import contextlib
import json
import os
import platform
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
QUICK = os.environ.get("BENCH") == "quick"
TOOLS = os.path.realpath(os.environ.get("PSB_TOOLS", "/var/tmp/postgres-s3-backups-tools"))
PROGRAM = os.path.realpath(os.environ.get("BENCH_PROGRAM", os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "release/postgres-s3-backups")))
BIN = f"{TOOLS}/pg/17/bin"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2" if QUICK else "3"))
MEGABYTES = int(os.environ.get("BENCH_MEGABYTES", "250" if QUICK else "1000"))
# What one core of pg_dump and one of its server give.
ELSEWHERE = 160
TICK = os.sysconf("SC_CLK_TCK")
started = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(argv, **options):
    process = subprocess.Popen(argv, **options)
    started.append(process)
    return process


def stat(pid):
    """Parent and ticks of a process: its own, and those of its ended children."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def tree(root):
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(name)] = stat(name)[0]
    found = {root}
    grew = True
    while grew:
        grew = False
        for pid, parent in parents.items():
            if parent in found and pid not in found:
                found.add(pid)
                grew = True
    return found


def cpu_of(root):
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError, IndexError):
            _, own, children = stat(pid)
            total += own + children
    return total / TICK


def busy():
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, soft, *_ = map(int, f.readline().split()[1:])
    return (user + nice + system + irq + soft) / TICK


class Watch(threading.Thread):
    """Peak memory and temporary disk of a process and all below it."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.root, self.done = root, threading.Event()
        self.tree_rss = self.largest = self.disk = 0

    def run(self):
        while not self.done.wait(0.1):
            rss, disk = 0, {}
            for pid in tree(self.root):
                with contextlib.suppress(OSError, ValueError, TypeError):
                    with open(f"/proc/{pid}/status") as f:
                        text = f.read()
                    rss += int(re.search(r"VmRSS:\s+(\d+)", text)[1])
                    self.largest = max(self.largest, int(re.search(r"VmHWM:\s+(\d+)", text)[1]))
                    for fd in os.listdir(f"/proc/{pid}/fd"):
                        info = os.stat(f"/proc/{pid}/fd/{fd}")
                        flags = open(f"/proc/{pid}/fdinfo/{fd}").read()
                        writes = int(re.search(r"flags:\s+(\d+)", flags)[1], 8) & 3
                        if info.st_mode & 0o170000 == 0o100000 and writes:
                            disk[info.st_dev, info.st_ino] = info.st_blocks * 512
            self.tree_rss = max(self.tree_rss, rss)
            self.disk = max(self.disk, sum(disk.values()))


def measure(argv, env, aside=()):
    """Runs it once. `aside` are the processes that serve it: a database, a store."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    others, machine = [cpu_of(pid) for pid in aside], busy()
    own = time.process_time()
    began = time.monotonic()
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    started.append(process)
    watch = Watch(process.pid)
    watch.start()
    said = process.stdout.read().decode()
    status = process.wait()
    wall = time.monotonic() - began
    watch.done.set()
    watch.join()
    started.remove(process)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        sys.exit(f"{argv} ended with {status}:\n{said[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    served = [cpu_of(pid) - before for pid, before in zip(aside, others)]
    foreign = busy() - machine - cpu - sum(served) - (time.process_time() - own)
    return {
        "wall": wall, "cpu": cpu, "served": sum(served[:1]), "foreign": max(0, foreign) / wall / os.cpu_count(),
        "tree": watch.tree_rss / 1024, "largest": watch.largest / 1024, "disk": watch.disk / 1e6, "said": said,
    }


class Postgres:
    def __init__(self, folder):
        data = f"{folder}/data"
        os.mkdir(data, 0o700)
        self.user = []
        if os.getuid() == 0:
            import pwd
            name = next(u.pw_name for n in ("postgres", "nobody") for u in pwd.getpwall() if u.pw_name == n)
            who = pwd.getpwnam(name)
            os.chown(data, who.pw_uid, who.pw_gid)
            self.user = ["setpriv", "--reuid", name, "--regid", str(who.pw_gid), "--clear-groups", "--"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*self.user, f"{BIN}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"], check=True, cwd="/", **quiet)
        port = free_port()
        self.process = start([*self.user, f"{BIN}/postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                              "-c", "fsync=off", "-c", "wal_level=minimal", "-c", "max_wal_senders=0", "-c", "autovacuum=off", "-c", "shared_buffers=256MB"], cwd="/", **quiet)
        self.url = f"postgresql://postgres@127.0.0.1:{port}"
        while subprocess.run([f"{BIN}/pg_isready", "-q", "-d", self.url] if os.path.exists(f"{BIN}/pg_isready") else [f"{BIN}/psql", "-XAtqc", "", f"{self.url}/postgres"], **quiet).returncode:
            if self.process.poll() is not None:
                sys.exit("PostgreSQL did not start")
            time.sleep(0.1)

    def sql(self, database, text):
        return subprocess.run([f"{BIN}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", f"{self.url}/{database}"], input=text, text=True, check=True, capture_output=True).stdout

    def fill_app(self, database, megabytes):
        """What an app has: uuids, times, text, JSON, numbers; gzip makes a third of it. Fixed by its seed."""
        seed = random.Random(20260125)
        letters = "eeeeeeetttttaaaaaooooiiiinnnnsssshhhrrrddlluuccmmwwffggyyppbbvk"
        words = ["".join(seed.choices(letters, k=seed.randint(2, 10))) for _ in range(4000)]
        weights = [1 / (n + 10) for n in range(len(words))]
        lines = []
        for n in range(24_000):
            text = " ".join(seed.choices(words, weights, k=seed.randint(4, 40)))
            body = json.dumps({"source": seed.choice(["ios", "android", "web"]), "score": round(seed.random(), 6), "tags": seed.sample(words, 3)})
            lines.append(f"{n}\t{uuid.UUID(int=seed.getrandbits(128))}\t{text}\t{body}\t{seed.uniform(-90, 90):.9f}")
        self.sql("postgres", f"CREATE DATABASE {database}")
        self.sql(database, "CREATE TABLE base (n int, id uuid, text text, body jsonb, place float8);\nCOPY base FROM stdin;\n" + "\n".join(lines) + "\n\\.\n")
        # Each copy is farther away than any gzip looks, and has keys of its own.
        copies = max(1, round(megabytes / 9.9))
        self.sql(database, f"""
            BEGIN;
            CREATE TABLE messages AS SELECT md5(c || 'm' || n)::uuid AS id, md5(c || 'u' || n % 5000)::uuid AS sender,
                timestamptz '2024-01-01 00:00Z' + (c * 24000 + n) * interval '1.7319 s' AS sent_at, text, body, place,
                md5(c || 'a' || n) || md5(c || 'b' || n) AS token
                FROM generate_series(1, {copies}) c, base;
            COMMIT; DROP TABLE base;""")

    def fill_pgbench(self, database, megabytes):
        self.sql("postgres", f"CREATE DATABASE {database}")
        self.sql(database, f"CREATE TABLE pgbench_accounts AS SELECT n AS aid, n % 10 + 1 AS bid, 0 AS abalance, ' '::char(84) AS filler FROM generate_series(1, {megabytes * 10000}) n")


class Sink:
    def __init__(self, *options):
        self.port = free_port()
        self.process = start([sys.executable, f"{HERE}/sink.py", str(self.port), *map(str, options)])
        self.endpoint = f"http://127.0.0.1:{self.port}"
        while True:
            with contextlib.suppress(OSError):
                self.sizes()
                break
            time.sleep(0.05)

    def sizes(self):
        with urllib.request.urlopen(f"{self.endpoint}/sizes") as answer:
            return {line.split(" ", 1)[1]: int(line.split(" ", 1)[0]) for line in answer.read().decode().splitlines()}


def environment(folder, sink, url, clients=BIN, **more):
    return {
        "PATH": f"{clients}:{TOOLS}/venv/bin:/usr/bin:/bin", "HOME": folder, "AWS_ACCESS_KEY_ID": "bench-key", "AWS_SECRET_ACCESS_KEY": "bench-secret",
        "AWS_DEFAULT_REGION": "auto", "AWS_S3_BUCKET": "bench-bucket", "AWS_S3_ENDPOINT": sink.endpoint, "AWS_EC2_METADATA_DISABLED": "true",
        "BACKUP_DATABASE_URL": url, "BACKUP_RETRIES": "0", "PORT": str(free_port()), "LOG_FORMAT": "json", **more,
    }


def finished(said):
    return next(json.loads(line) for line in said.splitlines() if '"backup finished"' in line)


def ours(level):
    return [PROGRAM, "backup"], {"BACKUP_COMPRESSION": level}


def pipe(line):
    return ["/bin/bash", "-c", "set -o pipefail; " + line], {}


def contenders():
    dump, aws = 'pg_dump --format=plain "$BACKUP_DATABASE_URL"', 'aws s3 cp - "s3://$AWS_S3_BUCKET/$RANDOM.gz" --endpoint-url "$AWS_S3_ENDPOINT" --quiet'
    table = {
        "`pg_dump >/dev/null`": pipe(f"{dump} >/dev/null"),
        "this service, auto": ours("auto"), "this service, 1": ours("1"), "this service, 6": ours("6"), "this service, 9": ours("9"),
        "`pg_dump \\| gzip \\| aws s3 cp -`": pipe(f"{dump} | gzip | {aws}"),
    }
    if shutil.which("pigz", path="/usr/bin:/bin"):
        table["`pg_dump \\| pigz \\| aws s3 cp -`"] = pipe(f"{dump} | pigz | {aws}")
    table["`pg_dump -Fc \\| aws s3 cp -`"] = pipe(f'pg_dump --format=custom "$BACKUP_DATABASE_URL" | {aws}')
    if QUICK:
        for name in ("this service, 9", "`pg_dump -Fc \\| aws s3 cp -`"):
            del table[name]
    return table


LIMIT, RIVAL = "`pg_dump >/dev/null`", "`pg_dump \\| gzip \\| aws s3 cp -`"


def rounds(names, run):
    results = {name: [] for name in names}
    for number in range(ROUNDS):
        # Each round the other way round, so that nothing always follows the same neighbour.
        for name in list(names)[:: 1 if number % 2 == 0 else -1]:
            results[name].append(run(name))
            print(f"   {number + 1}. {name}: {results[name][-1]['wall']:.2f} s", file=sys.stderr)
    return results


def ratio(results, name, to, key):
    pairs = [a[key] / b[key] for a, b in zip(results[name], results[to]) if b.get(key)]
    return statistics.median(pairs) if pairs else None


def show(value, form="{:.2f}"):
    return "–" if value is None else form.format(value)


def table(results):
    lines = ["| | wall s (least–most) | ÷ pg_dump | gzip pipe ÷ it | CPU client s | ÷ gzip pipe's | CPU server s | peak RSS MiB: largest process / tree | temporary disk MB | object ÷ gzip -6's | mean level | foreign load |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for name, runs in results.items():
        median = lambda key: statistics.median(run[key] for run in runs)
        walls = [run["wall"] for run in runs]
        level = statistics.median(finished(run["said"])["compression_level"] for run in runs) if name.startswith("this") else None
        size = ratio(results, name, RIVAL, "size") if RIVAL in results else None
        speed = ratio(results, RIVAL, name, "wall") if RIVAL in results else None
        cpu = ratio(results, name, RIVAL, "cpu") if RIVAL in results else None
        lines.append(f"| {name} | {median('wall'):.2f} ({min(walls):.2f}–{max(walls):.2f}) | {show(ratio(results, name, LIMIT, 'wall'))} | {show(speed)} | {median('cpu'):.2f} | {show(cpu)} | {median('served'):.2f} "
                     f"| {median('largest'):.0f} / {median('tree'):.0f} | {median('disk'):.0f} | {show(size or None, '{:.3f}')} | {show(level, '{:.1f}')} | {100 * median('foreign'):.0f} % |")
    return "\n".join(lines)


def run_once(folder, sink, name, command, url, aside, clients=BIN):
    argv, more = command
    known = set(sink.sizes())
    result = measure(argv, environment(folder, sink, url, clients, **more), aside)
    new = [size for path, size in sink.sizes().items() if path not in known]
    result["size"] = new[0] if new else 0
    return result


def split_dump(path):
    """Cuts a dump into what comes before the rows, the rows, and what comes after them."""
    with open(path, "rb") as f:
        data = f.read()
    begin = data.index(b"\n", data.index(b"\nCOPY ") + 1) + 1
    end = data.index(b"\n\\.\n", begin) + 1
    for name, piece in (("head", data[:begin]), ("body", data[begin:end]), ("foot", data[end:])):
        with open(f"{path}.{name}", "wb") as f:
            f.write(piece)
    os.remove(path)
    return len(data)


def stand_in(folder, dump, rate, times):
    clients = tempfile.mkdtemp(dir=folder)
    for name in ("pg_dump", "psql"):
        shutil.copy(f"{HERE}/producer.py", f"{clients}/{name}")
        os.chmod(f"{clients}/{name}", 0o755)
    with open(f"{clients}/producer.conf", "w") as f:
        f.write(f"{BIN}\n{dump}\n{rate}\n{times}\n")
    return clients


def plot(path, title, unit, series):
    """A plot of lines over the size, both scales logarithmic."""
    import math
    width, height, left, bottom = 640, 320, 60, 40
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    x0, x1, y0, y1 = min(xs) / 1.3, max(xs) * 1.3, min(ys) / 2, max(ys) * 2
    place = lambda x, y: (left + (width - left - 170) * math.log(x / x0) / math.log(x1 / x0), (height - bottom) - (height - bottom - 40) * math.log(y / y0) / math.log(y1 / y0))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">', f'<rect width="{width}" height="{height}" fill="#fff"/>',
           f'<text x="{left}" y="20" font-size="14">{title}</text>']
    for x in sorted(set(xs)):
        px, _ = place(x, y0)
        out.append(f'<line x1="{px:.0f}" y1="40" x2="{px:.0f}" y2="{height - bottom}" stroke="#ddd"/><text x="{px:.0f}" y="{height - bottom + 16}" text-anchor="middle">{x:g} GB</text>')
    for power in range(-3, 7):
        for step in (1, 2, 5):
            y = step * 10.0**power
            if y0 <= y <= y1:
                _, py = place(x0, y)
                out.append(f'<line x1="{left}" y1="{py:.0f}" x2="{width - 170}" y2="{py:.0f}" stroke="#eee"/><text x="{left - 6}" y="{py + 4:.0f}" text-anchor="end">{y:g} {unit}</text>')
    for (name, points), colour in zip(series.items(), ("#1f5fbf", "#888888", "#c0392b", "#2e8b57")):
        pixels = [place(x, y) for x, y in points]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)}"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in pixels]
        out.append(f'<text x="{pixels[-1][0] + 8:.0f}" y="{pixels[-1][1] + 4:.0f}" fill="{colour}">{name}</text>')
    with open(path, "w") as f:
        f.write("\n".join(out + ["</svg>"]) + "\n")


def idle(folder, sink, url, seconds):
    process = start([PROGRAM], env=environment(folder, sink, url), stdout=subprocess.DEVNULL)
    time.sleep(5)
    before = stat(process.pid)[1]
    time.sleep(seconds)
    ticks = stat(process.pid)[1] - before
    with open(f"/proc/{process.pid}/status") as f:
        rss = int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024
    process.terminate()
    process.wait()
    started.remove(process)
    return f"Idle, over {seconds} s: {rss:.1f} MiB RSS, {ticks * 1000 // TICK} ms of processor time. The program: {os.path.getsize(PROGRAM) / 2**20:.1f} MiB."


def main():
    subprocess.run([f"{ROOT}/tests/tools.sh", "pg:17", "aws"], check=True)
    for name in [name for name in os.environ if name.startswith(("PG", "AWS_"))]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    folder = tempfile.mkdtemp(prefix="psb-bench-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    os.chmod(folder, 0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    say = lambda text: print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr)
    text = []
    try:
        postgres, sink = Postgres(folder), Sink()
        say(f"data: {MEGABYTES} MB as an app has")
        postgres.fill_app("app", MEGABYTES)
        postgres.fill_app("small", MEGABYTES / 10)
        postgres.fill_pgbench("pgbench", MEGABYTES // 2)
        aside = (postgres.process.pid, sink.process.pid)
        table_of = contenders()
        url = f"{postgres.url}/app"
        measure(table_of[LIMIT][0], environment(folder, sink, url), aside)
        say("server on the same cores")
        same = rounds(table_of, lambda name: run_once(folder, sink, name, table_of[name], url, aside))
        dump = f"{folder}/app.sql"
        with open(dump, "wb") as f:
            subprocess.run([f"{BIN}/pg_dump", "--format=plain", url], stdout=f, check=True)
        gigabytes = split_dump(dump) / 1e9
        text += [f"### Database on the same {os.cpu_count()} cores, app-like, {gigabytes:.2f} GB", "", table(same), ""]

        say("server elsewhere")
        names = [LIMIT, "this service, auto", RIVAL] + ([] if QUICK else ["this service, 1", "this service, 6"])
        far = stand_in(folder, dump, ELSEWHERE, 1)
        apart = rounds(names, lambda name: run_once(folder, sink, name, table_of[name], url, aside, far))
        text += [f"### Database elsewhere: {ELSEWHERE} MB/s from a stand-in for pg_dump, no server at work here", "", table(apart), ""]

        if not QUICK:
            say("pgbench-like")
            names = [LIMIT, "this service, auto", RIVAL]
            other = rounds(names, lambda name: run_once(folder, sink, name, table_of[name], f"{postgres.url}/pgbench", aside))
            text += ["### Database on the same cores, pgbench-like", "", table(other), ""]

        say("growth")
        sizes = (0.1, 0.5, 2) if QUICK else (0.1, 1, 10)
        walls, memory, lines = {"this service": [], "the stand-in alone": []}, {"largest process": [], "all processes": []}, []
        for size in sizes:
            clients = stand_in(folder, dump, ELSEWHERE, max(1, round(size / gigabytes)))
            database = url
            if size < gigabytes * 0.9:
                clients, database = BIN, f"{postgres.url}/small"
            alone = run_once(folder, sink, LIMIT, table_of[LIMIT], database, aside, clients)
            auto = run_once(folder, sink, "auto", table_of["this service, auto"], database, aside, clients)
            real = finished(auto["said"])["uncompressed_bytes"] / 1e9
            walls["this service"].append((real, auto["wall"]))
            walls["the stand-in alone"].append((real, alone["wall"]))
            memory["largest process"].append((real, auto["largest"]))
            memory["all processes"].append((real, auto["tree"]))
            lines.append(f"| {real:.2f} GB | {alone['wall']:.2f} | {auto['wall']:.2f} | {auto['largest']:.1f} | {auto['tree']:.1f} | {auto['disk']:.0f} |")
        text += ["### Growth", "", "| dump | pg_dump alone s | auto s | RSS MiB, largest process | RSS MiB, all processes | temporary disk MB |", "|---|---|---|---|---|---|", *lines, ""]
        plot(f"{ROOT}/docs/performance-wall.svg", "Wall time", "s", walls)
        plot(f"{ROOT}/docs/performance-memory.svg", "Peak memory", "MiB", memory)
        text += ["![Wall time over the size of the dump](performance-wall.svg)", "", "![Peak memory over the size of the dump](performance-memory.svg)", ""]

        say("slow stores")
        lines = []
        cases = [(1000, 20)] if QUICK else [(latency, rate) for latency in (20, 100, 1000) for rate in (2, 20, 200)]
        for latency, rate in cases:
            slow = Sink(latency, rate)
            # At 2 MB/s a small dump takes long enough.
            clients, database = (BIN, f"{postgres.url}/small") if rate == 2 else (far, url)
            run = run_once(folder, slow, "auto", table_of["this service, auto"], database, aside, clients)
            done = finished(run["said"])
            lines.append(f"| {latency} ms | {rate} MB/s | {done['uncompressed_bytes'] / 1e6:.0f} MB | {run['wall']:.2f} | {done['size_bytes'] / run['wall'] / 1e6:.1f} MB/s | {done['compression_level']:.1f} | {done['waited_for_dump_seconds']:.1f} / {done['waited_for_compression_seconds']:.1f} / {done['waited_for_upload_seconds']:.1f} | {run['largest']:.1f} |")
            slow.process.kill()
            slow.process.wait()
            started.remove(slow.process)
        text += ["### Slow stores (auto)", "", "| latency | link | dump | wall s | sent | mean level | waited for dump / compression / upload s | RSS MiB |", "|---|---|---|---|---|---|---|---|", *lines, ""]

        say("idle")
        text += ["### Idle", "", idle(folder, sink, url, 10 if QUICK else 60), ""]
        took = time.monotonic() - began
        model = next((line.split(": ")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
        versions = [subprocess.run(argv, capture_output=True, text=True).stdout.split("\n")[0] for argv in ([f"{BIN}/pg_dump", "--version"], ["gzip", "--version"], [f"{TOOLS}/venv/bin/aws", "--version"], ["uname", "-sr"])]
        head = [f"`{'BENCH=quick ' if QUICK else ''}make bench`, {time.strftime('%Y-%m-%d', time.gmtime())}, {took / 60:.1f} minutes; {ROUNDS} alternating rounds, medians, ratios within a round.",
                f"{os.cpu_count()} cores of {model}; {'; '.join(version.strip() for version in versions)}.", ""]
        page = f"{ROOT}/docs/performance.md"
        with open(page) as f:
            before, begin, rest = f.read().partition("<!-- bench: begin -->\n")
        _, end, after = rest.partition("<!-- bench: end -->")
        with open(page, "w") as f:
            f.write(before + begin + "\n" + "\n".join(head + text) + "\n" + end + after)
        print("\n".join(head + text))
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
