#!/usr/bin/env python3
"""An S3 server that throws away what it is given and says how much that was: a store that costs next to nothing.

    sink.py PORT [LATENCY_MS [MEGABYTES_PER_SECOND [CERTIFICATE KEY]]]

The latency comes before each answer. The rate is that of the whole link.
"""
import base64
import itertools
import re
import socketserver
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

latency = float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0
rate = float(sys.argv[3]) * 1e6 if len(sys.argv) > 3 else 0
objects, uploads, ids, lock = {}, {}, itertools.count(1), threading.Lock()
link = [0.0]


def carry(count):
    """Waits as long as the link needs for so many bytes."""
    if rate:
        with lock:
            link[0] = max(link[0], time.monotonic()) + count / rate
            until = link[0]
        time.sleep(max(0, until - time.monotonic()))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status=200, body="", headers=()):
        time.sleep(latency)
        data = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def read(self):
        left = int(self.headers.get("Content-Length") or 0)
        room = memoryview(bytearray(256 * 1024))
        kept = b""
        while left:
            count = self.rfile.readinto(room[: min(left, len(room))])
            if not count:
                break
            left -= count
            carry(count)
            kept = bytes(room[:65536]) if len(kept) == 0 else kept
        return kept

    def do_PUT(self):
        self.read()
        path, _, query = self.path.partition("?")
        decoded = self.headers.get("x-amz-decoded-content-length")
        size = int(decoded or self.headers.get("Content-Length") or 0)
        md5 = base64.b64decode(self.headers.get("Content-MD5") or "").hex() or "0" * 32
        upload = re.search("uploadId=(\\w+)", query)
        number = re.search("partNumber=(\\d+)", query)
        with lock:
            if upload and number:
                uploads[upload[1]][int(number[1])] = size
            elif path.count("/") > 1:
                objects[path] = size
        self.answer(headers=[("ETag", f'"{md5}"')])

    def do_POST(self):
        self.read()
        path, _, query = self.path.partition("?")
        upload = re.search("uploadId=(\\w+)", query)
        bucket, _, key = path[1:].partition("/")
        if upload:
            with lock:
                objects[path] = sum(uploads.pop(upload[1]).values())
            self.answer(body=f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>x</ETag></CompleteMultipartUploadResult>")
        else:
            with lock:
                name = str(next(ids))
                uploads[name] = {}
            self.answer(body=f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{name}</UploadId></InitiateMultipartUploadResult>")

    def do_HEAD(self):
        size = objects.get(self.path.partition("?")[0])
        if size is None:
            self.answer(404)
        else:
            self.answer(headers=[("Content-Length", str(size)), ("ETag", '"x"')])

    def do_GET(self):
        kind = "ListMultipartUploadsResult" if "uploads" in self.path else "ListBucketResult"
        if self.path == "/sizes":
            return self.answer(body="\n".join(f"{size} {path}" for path, size in objects.items()))
        self.answer(body=f"<{kind}><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></{kind}>")

    def do_DELETE(self):
        self.answer(204)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
if len(sys.argv) > 5:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    # Each connection greets on its own thread, when it is first read from.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
