#!/usr/bin/env python3
"""A web server as the function: nothing in it knows of Lambda.

It greets, counts with server-sent events, and answers messages of a queue. Run it on this machine
as any web server, or as a function:

    cargo emulator run --function target/release/bantam --task-root examples \
        --handler web_server.py --env BANTAM_HANDLER_MODE=http
"""
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/":
            name = parse_qs(url.query).get("name", ["world"])[0]
            self.respond(200, "text/plain; charset=utf-8", f"hello {name}\n".encode())
        elif url.path == "/count":
            self.count()
        else:
            self.respond(404, "text/plain", b"not found\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/events":
            # What is no HTTP request comes here, such as messages of SQS.
            records = json.loads(body).get("Records", [])
            context = json.loads(self.headers["x-amzn-lambda-context"])
            print(context["request_id"], "has", len(records), "messages", flush=True)
            self.respond(200, "application/json", b'{"batchItemFailures":[]}')
        else:
            self.respond(200, self.headers.get("Content-Type", "text/plain"), body)

    def count(self):
        """A response in parts, which AWS_LWA_INVOKE_MODE=response_stream hands on as they come."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(1, 4):
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(0.1)
        self.wfile.write(b"0\r\n\r\n")

    def respond(self, status, content_type, body):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def end(*_):
    print("the environment ends", flush=True)
    sys.exit()


signal.signal(signal.SIGTERM, end)
host = os.environ.get("AWS_LWA_HOST", "127.0.0.1")
ThreadingHTTPServer((host, int(os.environ.get("PORT", 8080))), Handler).serve_forever()
