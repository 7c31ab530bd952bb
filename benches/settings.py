#!/usr/bin/env python3
"""Counts what each setting of the extension costs: the table of docs/extension.md.

    layer/build --arch x86_64 && layer/build --arch x86_64 --features tls
    benches/settings.py [SETTING...]

It is the platform of one environment: a start, invocations with three records each, and SHUTDOWN.
Instructions are callgrind's, system calls strace's; an invocation is the difference of two runs with
different numbers of them. Needs strace, valgrind and openssl. Counts of calls vary by a few percent,
because what comes together is handled together.
"""

import http.server
import json
import queue
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STOCK = ROOT / "target/layer/x86_64/bantam"
TLS = ROOT / "target/layer/x86_64/bantam-tls"

# Invocations of the two runs.
FEW, MANY = 4, 14

# Seconds in which the extension has worked off what it was given, also under callgrind.
SETTLE_S = 0.25

OTLP = {"BANTAM_EXPORTERS": "otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:{api}/v1/metrics"}
NDJSON = {"BANTAM_EXPORTERS": "ndjson", "BANTAM_NDJSON_FILE": "{folder}/ndjson"}
SETTINGS = {
    "none": (STOCK, {"BANTAM_EXPORTERS": "none"}),
    "emf": (STOCK, {}),
    "emf-all": (STOCK, {"BANTAM_EMF_METRICS": "all"}),
    "emf-ends": (STOCK, {"BANTAM_EMF_ENDS": "true"}),
    "ndjson": (STOCK, NDJSON),
    "dogstatsd-port": (STOCK, {"BANTAM_EXPORTERS": "dogstatsd", "BANTAM_DOGSTATSD": "127.0.0.1:{port}"}),
    "dogstatsd-socket": (STOCK, {"BANTAM_EXPORTERS": "dogstatsd", "BANTAM_DOGSTATSD": "unix://{folder}/socket"}),
    "otlp": (STOCK, OTLP),
    "tls-none": (TLS, {"BANTAM_EXPORTERS": "none"}),
    "tls-otlp": (TLS, OTLP),
    "tls-https": (
        TLS,
        {
            "BANTAM_EXPORTERS": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://127.0.0.1:{tls}/v1/metrics",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "{folder}/cert.pem",
        },
    ),
    "tls-traces": (
        TLS,
        {"BANTAM_EXPORTERS": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:{api}"},
    ),
    "system": (STOCK, {"BANTAM_EXPORTERS": "none", "BANTAM_SYSTEM_METRICS": "true"}),
    "zone": (STOCK, {"AWS_LAMBDA_METADATA_API": "127.0.0.1:{api}", "AWS_LAMBDA_METADATA_TOKEN": "t"}),
}


class Platform:
    """The APIs for the extension, and a receiver of OTLP."""

    def __init__(self, folder):
        self.asked, self.events = queue.Queue(), queue.Queue()
        self.destination, self.otlp_bytes, self.connection = None, 0, None
        self.port = self.serve(None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.tls_port = self.serve(context)

    def serve(self, context):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        server.daemon_threads = True
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    def deliver(self, records):
        """Delivers a batch of telemetry, and waits for the answer."""
        port, path = re.match(r"http://[^:]+:(\d+)(/.*)", self.destination).groups()
        self.connection = self.connection or socket.create_connection(("127.0.0.1", int(port)))
        body = json.dumps(records).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self.connection.sendall(head.encode() + body)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.connection.recv(1024)
        assert b" 200 " in answer, answer
        time.sleep(SETTLE_S)


def handler(platform):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def answer(self, content, **headers):
            self.send_response(200)
            for name, value in (headers | {"Content-Length": len(content)}).items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self):
            body = self.body()
            if self.path.endswith("/register"):
                told = b'{"functionName":"orders","functionVersion":"12","handler":"h"}'
                return self.answer(told, Lambda_Extension_Identifier="6d68ca91")
            platform.otlp_bytes += len(body)
            return self.answer(b"")

        def do_PUT(self):
            platform.destination = json.loads(self.body())["destination"]["URI"]
            self.answer(b'"OK"')

        def do_GET(self):
            if "metadata" in self.path:
                return self.answer(b'{"AvailabilityZoneID":"use1-az1"}')
            platform.asked.put(None)
            return self.answer(json.dumps(platform.events.get()).encode())

    return Handler


def record(kind, members, off_ms=0):
    at = datetime.fromtimestamp(time.time() + off_ms / 1e3, timezone.utc)
    stamp = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
    return {"time": stamp, "type": f"platform.{kind}", "record": members}


def start():
    init = {"initializationType": "on-demand", "phase": "init"}
    told = {"functionName": "orders", "functionVersion": "12", "instanceMaxMemory": 268435456}
    return [
        record("initStart", init | told | {"instanceId": "2026/08/20/[12]82561ce0"}, -120),
        record("initRuntimeDone", init | {"status": "success"}, -20),
        record("initReport", init | {"status": "success", "metrics": {"durationMs": 120.0}}),
    ]


def invocation(number, request):
    at = record("", {})["time"]
    parts = (("responseLatency", 19.1), ("responseDuration", 0.2), ("runtimeOverhead", 1.0))
    spans = [{"name": name, "start": at, "durationMs": ms} for name, ms in parts]
    done = {"requestId": request, "status": "success", "spans": spans}
    report = {"durationMs": 22.5, "billedDurationMs": 23, "memorySizeMB": 256, "maxMemoryUsedMB": 84}
    if number == 0:
        report["initDurationMs"] = 120.0
    return [
        record("start", {"requestId": request, "version": "12"}),
        record("runtimeDone", done | {"metrics": {"durationMs": 20.5, "producedBytes": 300}}, 20),
        record("report", {"requestId": request, "status": "success", "metrics": report}, 22),
    ]


def live(setting, tool, interval_ms, invocations):
    """One environment; its counts."""
    program, variables = SETTINGS[setting]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        certificate(folder)
        platform = Platform(folder)
        datagrams = [0]
        sockets = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_UNIX)]
        for one, address in zip(sockets, (("127.0.0.1", 0), str(folder / "socket")), strict=True):
            one.bind(address)
            threading.Thread(target=count, args=(one, datagrams), daemon=True).start()
        places = {"api": platform.port, "tls": platform.tls_port, "folder": folder}
        places["port"] = sockets[0].getsockname()[1]
        environment = {name: value.format(**places) for name, value in variables.items()} | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{platform.port}",
            "BANTAM_INTERVAL_MS": str(interval_ms),
        }
        wrapper = {
            "strace": ["strace", "-f", "-o", folder / "trace"],
            "callgrind": ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder / 'out'}"],
            "alone": [],
        }[tool]
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            process = subprocess.Popen([*wrapper, program], env=environment, stdout=out, stderr=err)
        platform.asked.get(timeout=60)
        platform.deliver(start())
        for number in range(invocations):
            request = f"{number:08x}-e9f4-11e8-9739-2dfe598c3fcd"
            platform.events.put(
                {
                    "eventType": "INVOKE",
                    "deadlineMs": 4102444800000,
                    "requestId": request,
                    "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:orders",
                    "tracing": {
                        "type": "X-Amzn-Trace-Id",
                        "value": "Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1",
                    },
                }
            )
            platform.asked.get(timeout=60)
            platform.deliver(invocation(number, request))
        status = Path(f"/proc/{process.pid}/status").read_text()
        deadline_ms = int(time.time() * 1e3) + 2000
        platform.events.put({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": deadline_ms})
        process.wait()
        files = sum((folder / name).stat().st_size for name in ("stdout", "ndjson") if (folder / name).exists())
        counts = {"bytes": files + datagrams[0] + platform.otlp_bytes}
        if tool == "strace":
            lines = (folder / "trace").read_text(errors="replace").splitlines()
            counts["calls"] = sum(bool(re.match(r"\d+ +\w+\(", line)) for line in lines)
        elif tool == "callgrind":
            told = (folder / "stderr").read_text()
            counts["instructions"] = int(re.search(r"Collected : (\d+)", told)[1])
        else:
            counts["kB"] = int(re.search(r"VmHWM:\s+(\d+)", status)[1])
        return counts


def count(one, total):
    while data := one.recv(65536):
        total[0] += len(data)


def certificate(folder):
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost"
    extensions = ("subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE")
    added = [word for extension in extensions for word in ("-addext", extension)]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(["openssl", *command.split(), *added, *files], check=True, capture_output=True)


def measure(setting):
    row = {}
    for interval_ms in (60_000, 0):
        for tool in ("strace", "callgrind"):
            few, many = (live(setting, tool, interval_ms, times) for times in (FEW, MANY))
            for name in few:
                each = (many[name] - few[name]) / (MANY - FEW)
                row[f"{name}, interval {interval_ms}"] = {"whole": few[name], "an invocation": round(each, 1)}
    return row | {"kB": live(setting, "alone", 60_000, FEW)["kB"]}


for chosen in sys.argv[1:] or SETTINGS:
    print(json.dumps({chosen: measure(chosen)}, indent=2), flush=True)
