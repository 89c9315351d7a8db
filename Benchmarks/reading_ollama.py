#!/usr/bin/env python3
"""A server that answers as much of Ollama's API as a pool needs, and reads a model's files when it loads it.

READING_OLLAMA_DISCOVERY: seconds from its start until it answers, in which Ollama looks for its GPUs.
"""

import http.server
import json
import os
import time
from pathlib import Path

import timed_ollama

STORE = Path(os.environ["OLLAMA_MODELS"])


def load(model):
    name, _, tag = model.partition(":")
    manifest = json.loads((STORE / "manifests/registry.ollama.ai/library" / name / (tag or "latest")).read_text())
    for layer in manifest["layers"]:
        with (STORE / "blobs" / layer["digest"].replace(":", "-")).open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


class Handler(timed_ollama.Handler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if "model" in request:
            load(request["model"])
        self.answer({"model": request.get("model"), "response": "", "done": True, "done_reason": "load"})


if __name__ == "__main__":
    time.sleep(float(os.environ.get("READING_OLLAMA_DISCOVERY", "0")))
    host, port = os.environ["OLLAMA_HOST"].rsplit(":", 1)
    http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
