#!/usr/bin/python3
"""A server that answers as much of Ollama's API as a pool needs, and tells in its answers what happened to it when.

Times are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

import http.server
import json
import os
import time

times = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/api/version":
            times.setdefault("first_200", time.monotonic_ns())
        self.answer({"version": "0.0.0-benchmark", "models": []})

    def do_POST(self):
        times["last_request"] = time.monotonic_ns()
        times.setdefault("first_request", times["last_request"])
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({"model": "benchmark", "response": "", "done": True, "done_reason": "stop", "times": times})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    host, port = os.environ["OLLAMA_HOST"].rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    times["listening"] = time.monotonic_ns()
    server.serve_forever()
