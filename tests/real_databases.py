#!/usr/bin/env python3
"""Databases that others designed, there and back: schemas that Debian's packages bring, and extensions.

    make real-databases                            all of them, about ten minutes
    REAL=zabbix,hstore make real-databases         these alone

For each: a backup by the real program to a real S3 server over TLS, `verify`, `restore` into a new database, a drill on a throwaway
server and one on the server it came from. Then psql prints every row and every definition of both databases (tests/data/digest.sql), and
both texts must be equal. The result is a table in Markdown. PROGRAM names a built program; without it the release program is built.
"""
import concurrent.futures
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, f"{ROOT}/bench")

from measure import stop_all
from servers import KEY, SECRET, TOOLS, Postgres, SeaweedFs, certificates

REAL = f"{TOOLS}/real"
PROGRAMS = f"{REAL}/usr/lib/postgresql/15/bin"
SHARE = f"{REAL}/usr/share"

# Where the statements of each program are, in the order in which its documents run them.
SCHEMAS = {
    "bacula": [f"{SHARE}/dbconfig-common/data/bacula-director-pgsql/install/pgsql"],
    "ejabberd": [f"{SHARE}/ejabberd/sql/pg.sql"],
    "freeradius": [f"{REAL}/etc/freeradius/3.0/mods-config/sql/{part}/postgresql/{name}.sql" for part, name in
                   (("main", "schema"), ("dhcp", "schema"), ("ippool", "schema"), ("ippool", "procedure"))],
    "icinga2-ido": [f"{SHARE}/icinga2-ido-pgsql/schema/pgsql.sql"],
    "icingadb": [f"{SHARE}/icingadb/schema/pgsql/schema.sql"],
    "kamailio": [f"{SHARE}/kamailio/postgres/{name}-create.sql" for name in
                 ("standard", "acc", "lcr", "domain", "group", "permissions", "registrar", "usrloc", "msilo", "alias_db", "uri_db", "speeddial", "avpops", "auth_db", "pdt", "dialog", "dispatcher",
                  "dialplan", "topos", "presence", "rls", "imc", "cpl", "siptrace", "carrierroute", "drouting", "userblocklist", "htable", "purple", "uac", "pipelimit", "mtree", "sca", "mohqueue",
                  "rtpproxy", "rtpengine", "secfilter", "matrix")],
    "kea": [f"{SHARE}/kea/scripts/pgsql/dhcpdb_create.pgsql"],
    "mediawiki": [f"{SHARE}/mediawiki/maintenance/postgres/{name}.sql" for name in ("tables-generated", "tables")],
    "powerdns": [f"{SHARE}/pdns-backend-pgsql/schema/schema.pgsql.sql"],
    "tt-rss": [f"{SHARE}/tt-rss/schema/ttrss_schema_pgsql.sql"],
    "zabbix": [f"{SHARE}/zabbix-server-pgsql/{name}.sql.gz" for name in ("schema", "images", "data")],
}

# A column of the extension's own type, and its values; the others have no type, and a table with a number stands beside them.
VALUES = {
    "citext": ("citext", "'CaSe'"), "cube": ("cube", "'(1,2),(3,4)'"), "debversion": ("debversion", "'1:2.0-1~deb12'"), "hll": ("hll", "hll_empty()"),
    "hstore": ("hstore", "'a=>1, \"b \"=>NULL'"), "intarray": ("query_int", "'1&!2'"), "ip4r": ("iprange", "'10.0.0.0-10.0.0.9'"), "isn": ("isbn13", "'978-0-393-04002-9'"),
    "jsquery": ("jsquery", "'a = 1'"), "ltree": ("ltree", "'Top.Science'"), "lo": ("lo", "lo_from_bytea(0, 'x')"), "numeral": ("numeral", "'five'"), "pg_rational": ("rational", "'1/3'"),
    "pgmp": ("mpz", "'123456789012345678901234567890'"), "prefix": ("prefix_range", "'0123'"), "seg": ("seg", "'1.0 .. 2.50'"), "semver": ("semver", "'1.2.3-beta'"),
    "tdigest": ("tdigest", "(SELECT tdigest(g::float8, 100) FROM generate_series(1, 9) g)"), "unit": ("unit", "'9.81 m/s^2'"), "asn1oid": ("asn1oid", "'1.3.6.1'"),
    "orafce": ("oracle.varchar2", "'x'"), "pgcrypto": ("bytea", "digest('x', 'sha256')"), "uuid-ossp": ("uuid", "uuid_ns_dns()"),
}

# What can't come back in the way of the others, and why.
KNOWN = {"pg_cron": "a server has it in one database only, which `cron.database_name` names: restore into that one"}

# What a drill on a throwaway server says of an extension that this machine's own server does not have.
LACKING = "that server lacks it"

# Libraries that the server must load at its start.
PRELOADED = ["pg_stat_statements", "pg_cron", "pg_stat_kcache", "pg_qualstats", "pgaudit"]

# Gives every table rows, as far as its constraints let it.
FILL = r"""
DO $fill$
DECLARE made record; n int;
BEGIN
  FOR n IN 1..4 LOOP
    FOR made IN
      SELECT c.oid::regclass AS name, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns, string_agg(
        CASE WHEN t.typcategory = 'N' THEN '%1$s' WHEN t.typcategory = 'B' THEN '%1$s % 2 = 0' WHEN t.typname IN ('bytea') THEN format('%L', '\x00ff27')
             WHEN t.typname = 'bpchar' AND a.atttypmod = 5 THEN format('%L', 'x') WHEN t.typcategory = 'S' THEN format('left(%L || %%1$s, %s)', E'é ''\\ ', CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 40 END)
             WHEN t.typcategory = 'D' THEN 'now()' WHEN t.typcategory = 'A' THEN '''{}''' WHEN t.typcategory = 'E' THEN format('(enum_range(NULL::%s))[1]', t.oid::regtype)
             WHEN t.typname = 'inet' THEN '''10.0.0.%1$s''' WHEN t.typcategory = 'T' THEN '''1 day''' ELSE 'NULL' END, ', ' ORDER BY a.attnum) AS row
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = '' JOIN pg_type t ON t.oid = a.atttypid
      WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
      GROUP BY c.oid ORDER BY c.oid
    LOOP
      BEGIN
        EXECUTE format('INSERT INTO %s (%s) VALUES (' || made.row || ')', made.name, made.columns, n) USING n;
      EXCEPTION WHEN others THEN NULL;
      END;
    END LOOP;
  END LOOP;
END $fill$;
"""


class Failed(Exception):
    pass


def statements(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        return f.read()


def prepare_schema(server, database, name):
    for path in SCHEMAS[name]:
        text = statements(path)
        if name == "mediawiki":
            # As its installer does: its own marks for a schema's prefix.
            text = re.sub(r"/\*_\*/|/\*\$wgDB\w+\*/|/\*i\*/", "", text)
        # A thousand rows in one message to the server, or Zabbix's 170,000 take minutes.
        number = itertools.count(1)
        text = re.sub(r"\);\n(?=INSERT INTO )", lambda end: end[0] if next(number) % 1000 == 0 else ")\\;\n", text)
        server.sql(database, f"SET client_min_messages = error;\n{text}")
    # Rows that its program would write, from what the columns take.
    server.sql(database, FILL.replace("%1$s", "%3$s"))


def prepare_extension(server, database, name):
    kind, value = VALUES.get(name, ("int", "42"))
    server.sql(database, f"""SET client_min_messages = error; CREATE EXTENSION "{name}" CASCADE;
        CREATE TABLE kept (id int PRIMARY KEY, value {kind}); INSERT INTO kept SELECT g, {value} FROM generate_series(1, 100) g; INSERT INTO kept VALUES (101, NULL);""")


class Bench:
    def __init__(self, folder, program):
        self.folder, self.program = folder, program
        certificate = certificates(folder)
        self.authority = f"{certificate}/known.pem"
        self.store = SeaweedFs(folder, certificate)
        preload = f"shared_preload_libraries={','.join(PRELOADED)}"
        self.server = Postgres(folder, PROGRAMS, [preload, "cron.database_name=source_pg_cron", "wal_level=logical", "max_connections=200"])

    def run(self, name, *arguments):
        """A command of the service; its lines, or what went wrong."""
        env = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": self.folder, "SSL_CERT_FILE": self.authority, "LOG_FORMAT": "json", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
               "AWS_S3_BUCKET": self.store.bucket, "AWS_S3_ENDPOINT": self.store.endpoint, "AWS_S3_REGION": "us-east-1", "BUCKET_SUBFOLDER": name, "BACKUP_RETRIES": "0",
               "BACKUP_DATABASE_URL": f"{self.server.url}/source_{name}"}
        ended = subprocess.run([self.program, *arguments], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = []
        for line in ended.stdout.splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"level": "ERROR", "error": line})
        if ended.returncode:
            errors = [line for line in lines if line.get("level") == "ERROR"]
            raise Failed("; ".join(line.get("error") or line.get("message", "") for line in errors) or ended.stdout)
        return lines

    def digest(self, database):
        asked = subprocess.run([f"{PROGRAMS}/psql", "-XAtq", "-f", f"{TESTS}/data/digest.sql", f"{self.server.url}/{database}"], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if asked.returncode:
            raise Failed(f"digest of {database}: {asked.stderr}")
        return asked.stdout

    def there_and_back(self, name, prepare):
        """The steps with their outcomes, the first failure ending what depends on it."""
        row = {"name": name, "tables": "", "rows": ""}
        try:
            for database in (f"source_{name}", f"target_{name}"):
                self.server.sql("postgres", f'CREATE DATABASE "{database}" TEMPLATE template0')
            prepare(self.server, f"source_{name}", name)
        except subprocess.CalledProcessError as error:
            return row | {"made": f"no: {error}"}

        def step(column, work):
            try:
                row[column] = work() or "yes"
            except Failed as failed:
                row[column] = f"no: {failed}"
            return row[column] == "yes"

        def backup():
            finished = next(line for line in self.run(name, "backup") if line.get("message") == "backup finished")
            row.update(tables=finished["tables"], rows=finished["rows"])

        def equal():
            source, target = (self.digest(f"{side}_{name}").splitlines() for side in ("source", "target"))
            if source != target:
                differences = sorted(set(source) ^ set(target))
                raise Failed(f"{len(differences)} lines differ: {differences[0][:200]}")

        # Tables that belong to an extension are not counted, and said so.
        def drill(place):
            def prove():
                proven = next(line for line in self.run(name, "verify", "latest", "--into", place) if line.get("message") == "backup proven")
                if proven["tables_compared"] != row["tables"]:
                    return f"yes, {proven['tables_compared']} of {row['tables']} tables counted"

            def prove_if_possible():
                # The server is one that the machine has installed, where there is one.
                try:
                    return prove()
                except Failed as failed:
                    if place == "embedded" and "the target's server does not have these extensions" in str(failed):
                        return LACKING
                    raise
            return prove_if_possible

        if step("backup", backup) and step("verify", lambda: self.run(name, "verify", "latest") and None):
            if step("restore", lambda: self.run(name, "restore", "latest", "--to", f"{self.server.url}/target_{name}") and None):
                step("equal", equal)
            step("drill, embedded", drill("embedded"))
            step("drill, by URL", drill(f"{self.server.url}/postgres"))
        for database in (f"source_{name}", f"target_{name}"):
            self.server.sql("postgres", f'DROP DATABASE "{database}" WITH (FORCE)')
        return row


COLUMNS = ["name", "tables", "rows", "backup", "verify", "restore", "equal", "drill, embedded", "drill, by URL"]


def table(rows):
    text = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row in rows:
        text.append(f"| {' | '.join(str(row.get(column, row.get('made', ''))).replace('|', '/').replace(chr(10), ' ')[:160] for column in COLUMNS)} |")
    return "\n".join(text)


def main():
    subprocess.run([f"{TESTS}/tools.sh", "weed", "aws", "openssl", "real"], check=True)
    program = os.environ.get("PROGRAM")
    if not program:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
        program = f"{ROOT}/target/release/postgres-s3-backups"
    program = os.path.realpath(program)
    extensions = sorted(name.removesuffix(".control") for name in os.listdir(f"{PROGRAMS}/../share/extension") if name.endswith(".control"))
    wanted = [name for name in os.environ.get("REAL", "").split(",") if name]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        try:
            bench = Bench(folder, program)
            work = [(name, prepare_schema) for name in SCHEMAS] + [(name, prepare_extension) for name in extensions if name != "plpgsql"]
            work = [(name, prepare) for name, prepare in work if not wanted or name in wanted]
            with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "3"))) as pool:
                rows = []
                under_way = [pool.submit(bench.there_and_back, *one) for one in work]
                for one in concurrent.futures.as_completed(under_way):
                    row = one.result()
                    rows.append(row)
                    print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
        finally:
            stop_all()
    rows.sort(key=lambda row: [name for name, _ in work].index(row["name"]))
    print(table(rows))
    good = {row["name"] for row in rows if all(str(row.get(column, "")).startswith(("yes", LACKING)) for column in COLUMNS[3:])}
    print(f"\n{len(good)} of {len(rows)} come back.")
    for row in rows:
        if row["name"] in KNOWN:
            print(f"{row['name']}: {KNOWN[row['name']]}.")
    return 0 if all(row["name"] in good | KNOWN.keys() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
