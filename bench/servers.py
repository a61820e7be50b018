"""The servers that the bench runs against: PostgreSQL, a store that costs next to nothing, and a real one."""
import contextlib
import json
import os
import pwd
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

from measure import start, stop

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.realpath(os.environ.get("PSB_TOOLS", "/var/tmp/postgres-s3-backups-tools"))
BIN = f"{TOOLS}/pg/17/bin"
KEY, SECRET = "bench-key", "bench-secret"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def free_port(beside=(0,)):
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as stack:
            for offset in beside:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            return port


class Postgres:
    def __init__(self, folder, programs=BIN, more=()):
        self.programs = programs
        data = f"{folder}/data"
        os.mkdir(data, 0o700)
        user = []
        if os.getuid() == 0:
            name = next(u.pw_name for n in ("postgres", "nobody") for u in pwd.getpwall() if u.pw_name == n)
            who = pwd.getpwnam(name)
            os.chown(data, who.pw_uid, who.pw_gid)
            user = ["setpriv", "--pdeathsig", "KILL", "--reuid", name, "--regid", str(who.pw_gid), "--clear-groups", "--"]
        subprocess.run([*user, f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"], check=True, cwd="/", **QUIET)
        port = free_port()
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off", "shared_buffers=256MB",
                    "max_wal_size=8GB", "maintenance_work_mem=256MB", "max_locks_per_transaction=512", *more]
        self.process = start([*user, f"{programs}/postgres", "-D", data, "-p", str(port), *(word for setting in settings for word in ("-c", setting))], cwd="/", **QUIET)
        self.url = f"postgresql://postgres@127.0.0.1:{port}"
        while subprocess.run([f"{programs}/psql", "-XAtqc", "", f"{self.url}/postgres"], **QUIET).returncode:
            if self.process.poll() is not None:
                sys.exit("PostgreSQL did not start")
            time.sleep(0.1)

    def sql(self, database, text):
        return subprocess.run([f"{self.programs}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", f"{self.url}/{database}"], input=text, text=True, check=True, stdout=subprocess.PIPE).stdout


class Sink:
    bucket = "bench-bucket"

    def __init__(self, latency=0, rate=0, certificate=None):
        port = free_port()
        tls = [f"{certificate}/good.pem", f"{certificate}/server.key"] if certificate else []
        self.process = start([sys.executable, f"{HERE}/sink.py", str(port), str(latency), str(rate), *tls])
        self.endpoint = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        self.context = ssl.create_default_context(cafile=f"{certificate}/known.pem") if certificate else None
        while True:
            with contextlib.suppress(OSError):
                self.sizes()
                break
            time.sleep(0.05)

    def sizes(self):
        with urllib.request.urlopen(f"{self.endpoint}/sizes", context=self.context) as answer:
            return {line.split(" ", 1)[1]: int(line.split(" ", 1)[0]) for line in answer.read().decode().splitlines()}

    def stop(self):
        stop(self.process)


class SeaweedFs:
    """A real S3 server, set up as in the tests."""
    bucket = "bench-bucket"

    def __init__(self, folder, certificate=None):
        grpc = 10_000
        port = free_port([n + more for n in range(4) for more in (0, grpc)])
        os.makedirs(f"{folder}/weed/data")
        with open(f"{folder}/weed/identities.json", "w") as f:
            json.dump({"identities": [{"name": "admin", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}, f)
        self.process = start([
            f"{TOOLS}/weed", "-logtostderr=true", "server", f"-dir={folder}/weed/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}", f"-master.port={port + 1}",
            f"-volume.port={port + 2}", f"-filer.port={port + 3}", "-master.peers=none", "-master.volumeSizeLimitMB=1024", "-volume.max=100", "-master.telemetry=false", "-s3",
            "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/weed/identities.json", f"-s3.localSocket={folder}/weed/s3", f"-filer.localSocket={folder}/weed/filer",
            *([f"-s3.cert.file={certificate}/good.pem", f"-s3.key.file={certificate}/server.key"] if certificate else []),
        ], cwd=f"{folder}/weed", **QUIET)
        self.sockets = [f"/tmp/seaweedfs-{part}-grpc-{port + grpc + n}.sock" for n, part in enumerate(("s3", "master", "volume", "filer"))]
        self.endpoint = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        self.env = {**({"AWS_CA_BUNDLE": f"{certificate}/known.pem"} if certificate else {}), "PATH": "/usr/bin:/bin", "HOME": folder, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
        # Its parts come up one by one: it is there once it has stored something.
        for _ in range(60):
            self.aws("s3", "mb", f"s3://{self.bucket}")
            if self.aws("s3", "cp", "-", f"s3://{self.bucket}/ready", input="ready").returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        sys.exit("SeaweedFS did not start")

    def aws(self, *words, **options):
        return subprocess.run([f"{TOOLS}/venv/bin/aws", "--endpoint-url", self.endpoint, *words], env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)

    def sizes(self):
        listed = json.loads(self.aws("s3api", "list-objects-v2", "--bucket", self.bucket, "--output", "json").stdout or "{}")
        return {entry["Key"]: entry["Size"] for entry in listed.get("Contents", [])}

    def stop(self):
        stop(self.process)
        for path in self.sockets:
            with contextlib.suppress(OSError):
                os.remove(path)


def certificates(folder):
    """An authority `known.pem` and a certificate of it for this machine, `good.pem` with `server.key`."""
    made = f"{folder}/certificates"
    os.mkdir(made)
    with open(f"{made}/good.ext", "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for line in (f"req -x509 {key} -keyout known.key -out known.pem -days 2 -subj /CN=known -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign",
                 f"req {key} -keyout server.key -out server.csr -subj /CN=localhost",
                 "x509 -req -in server.csr -CA known.pem -CAkey known.key -CAcreateserial -days 2 -out good.pem -extfile good.ext"):
        subprocess.run(["openssl", *line.split()], cwd=made, check=True, **QUIET)
    return made
