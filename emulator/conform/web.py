"""A web server that the conformance run asks, behind Lambda Web Adapter."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACTIONS = ["crash", "echo", "fail", "large", "sleep"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(200, b"ready")

    def do_POST(self):
        event = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(event)
        action = asked.get("conform")
        if action == "actions":
            event = json.dumps(ACTIONS).encode()
        elif action == "large":
            event = json.dumps("x" * asked["bytes"]).encode()
        elif action == "sleep":
            time.sleep(asked["ms"] / 1000)
        elif action == "crash":
            os._exit(1)
        self.reply(500 if action == "fail" else 200, event)

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
