"""What `ollama-pool index` asks a pool, answered as pools do whose model fails on some texts."""

import http.server
import json
import sys

DIMENSIONS = 8


class Pool(http.server.BaseHTTPRequestHandler):
    model_is_broken = False

    def do_GET(self):
        model = {"name": "nomic-embed-text:latest", "model": "nomic-embed-text:latest", "digest": "1f"}
        self.answer(200, {"models": [model]})

    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        Pool.model_is_broken |= any("breaks the model" in text for text in texts)
        if Pool.model_is_broken or any("NaN" in text for text in texts):
            return self.answer(500, {"error": "failed to encode response: json: unsupported value: NaN"})
        print("embedded %d" % len(texts), flush=True)
        self.answer(200, {"embeddings": [self.vector(text) for text in texts]})

    def vector(self, text):
        return [0.0] * DIMENSIONS if "nothing at all" in text else [float(len(text))] + [1.0] * (DIMENSIONS - 1)

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Pool)
print("ready", flush=True)
server.serve_forever()
