"""What is backed up: databases made by a fixed seed, and a stand-in for a pg_dump whose server is elsewhere."""
import functools
import json
import mmap
import os
import random
import subprocess
import tempfile
import uuid

from servers import BIN, HERE, QUIET

BASE = 24_000


@functools.cache
def base():
    """Rows of words, JSON and coordinates, to copy in."""
    seed = random.Random(20260125)
    letters = "eeeeeeetttttaaaaaooooiiiinnnnsssshhhrrrddlluuccmmwwffggyyppbbvk"
    words = ["".join(seed.choices(letters, k=seed.randint(2, 10))) for _ in range(4000)]
    weights = [1 / (n + 10) for n in range(len(words))]
    lines = []
    for n in range(BASE):
        text = " ".join(seed.choices(words, weights, k=seed.randint(4, 40)))
        body = json.dumps({"source": seed.choice(["ios", "android", "web"]), "score": round(seed.random(), 6), "tags": seed.sample(words, 3)})
        lines.append(f"{n}\t{uuid.UUID(int=seed.getrandbits(128))}\t{text}\t{body}\t{seed.uniform(-90, 90):.9f}")
    return "\n".join(lines)


def app(postgres, database, megabytes):
    """What a dating app has: people, pictures, swipes, messages and events; gzip makes a third of it."""
    postgres.sql("postgres", f"CREATE DATABASE {database}")
    postgres.sql(database, "CREATE TABLE base (n int, id uuid, text text, body jsonb, place float8);\nCOPY base FROM stdin;\n" + base() + "\n\\.\n")
    # Each copy is farther away than any gzip looks, and has keys of its own.
    copies = max(1, round(megabytes / COPY_MEGABYTES))
    # Copy after copy, and not row after row: the second is made for each of the first.
    copied = f"FROM generate_series(1, {copies}) c CROSS JOIN LATERAL (SELECT * FROM base WHERE c > 0 OFFSET 0) base"
    time = "timestamptz '2024-01-01 00:00Z' + (c * 24000 + n)"
    postgres.sql(database, f"""
        BEGIN;
        CREATE TABLE users AS SELECT md5(c || 'u' || n)::uuid AS id, left(text, 24) AS name, text || '@example.com' AS email, date '1970-01-01' + (n * 7 + c) % 12000 AS born,
            place AS latitude, -place * 1.7 AS longitude, n % 100 AS age, n % 3 = 0 AS verified, {time} * interval '1.7319 s' AS created_at
            {copied} WHERE n < 1500;
        CREATE TABLE photos AS SELECT md5(c || 'p' || n)::uuid AS id, md5(c || 'u' || n % 1500)::uuid AS user_id, n % 6 AS position, decode(md5(c || 'h' || n) || md5(c || 'i' || n), 'hex') AS hash,
            'https://images.example.com/' || md5(c || 'p' || n) || '.jpg' AS url, {time} * interval '1.7319 s' AS created_at
            {copied} WHERE n < 4000;
        CREATE TABLE swipes AS SELECT c * 24000::bigint + n AS id, md5(c || 'u' || n / 40)::uuid AS swiper, md5(c || 'u' || n * 31 % 1499)::uuid AS swiped, n % 5 = 0 AS liked,
            {time} * interval '1.7319 s' AS created_at
            {copied} WHERE n < 16000;
        CREATE TABLE messages AS SELECT md5(c || 'm' || n)::uuid AS id, md5(c || 'u' || n / 300 * 20 + n % 20)::uuid AS sender, md5(c || 'u' || n / 300 * 20 + (n + 7) % 20)::uuid AS recipient, text,
            {time} * interval '1.7319 s' AS sent_at, {time} * interval '1.7319 s' + n % 900 * interval '1.3 s' AS read_at
            {copied} WHERE n < 14000;
        CREATE TABLE events AS SELECT c * 24000::bigint + n AS id, md5(c || 'u' || n / 600 * 30 + n % 30)::uuid AS user_id, n % 40 AS kind, body, place, {time} * interval '1.7319 s' AS at, (c * 7919 + n * 10473) % 1000003 AS session
            {copied} WHERE n >= 10000;
        ALTER TABLE users ADD PRIMARY KEY (id);
        ALTER TABLE photos ADD PRIMARY KEY (id);
        ALTER TABLE messages ADD PRIMARY KEY (id);
        ALTER TABLE swipes ADD PRIMARY KEY (id);
        ALTER TABLE events ADD PRIMARY KEY (id);
        COMMIT; DROP TABLE base;""")


# What one copy of the base adds to the dump.
COPY_MEGABYTES = 10.1


def pgbench(postgres, database, megabytes):
    postgres.sql("postgres", f"CREATE DATABASE {database}")
    subprocess.run([f"{BIN}/pgbench", "-i", "-q", "-s", str(max(1, round(megabytes / 9.7))), f"{postgres.url}/{database}"], check=True, **QUIET)


def one_row(postgres, database, megabytes):
    postgres.sql("postgres", f"CREATE DATABASE {database}")
    postgres.sql(database, f"CREATE TABLE one_row AS SELECT repeat(string_agg(md5(n::text), ''), {megabytes}) AS a FROM generate_series(1, 31250) n")


def tables(postgres, database, count):
    postgres.sql("postgres", f"CREATE DATABASE {database}")
    postgres.sql(database, f"""DO $$ BEGIN
        FOR n IN 1..{count} LOOP
            EXECUTE format('CREATE TABLE table_%s (id int, amount int)', n);
            IF n % 500 = 0 THEN COMMIT; END IF;
        END LOOP; END $$""")


def dump(url, path):
    """Dumps it into files: what comes before the rows, the tables with their rows, and what comes after them."""
    with open(path, "wb") as f:
        subprocess.run([f"{BIN}/pg_dump", "--format=plain", url], stdout=f, check=True)
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cuts = [0, data.find(b"\nCOPY ") + 1, data.rfind(b"\n\\.\n") + 4, len(data)]
        for name, begin, end in zip(("head", "body", "foot"), cuts, cuts[1:]):
            with open(f"{path}.{name}", "wb") as piece:
                for offset in range(begin, end, 1 << 20):
                    piece.write(data[offset : min(end, offset + (1 << 20))])
        size = len(data)
    return size


def stand_in(folder, dump, rate, times):
    """A folder of clients in which pg_dump gives that dump, its tables so many times, so many MB a second."""
    clients = tempfile.mkdtemp(dir=folder)
    # Before each backup, the service asks pg_dump for its version and psql a few things. An interpreter would have to be started
    # for each answer.
    os.symlink(f"{BIN}/psql", f"{clients}/psql")
    with open(f"{clients}/pg_dump", "w") as f:
        f.write(f'''#!/bin/sh
[ "$1" != --version ] || exec "{BIN}/pg_dump" --version
exec "{HERE}/producer.py" "{dump}" {rate} {times}
''')
    os.chmod(f"{clients}/pg_dump", 0o755)
    return clients
