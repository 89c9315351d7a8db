"""A service that finds sources as an operator's own might: what it answers depends on the question."""

import http.server
import json
import sys


class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        query = asked["query"]
        if self.path != "/find?x=1" or not asked["session"]:
            return self.answer(400, b"wrong")
        if query == "status":
            return self.answer(500, b"broken")
        if query == "nonsense":
            return self.answer(200, b'{"sources": 1}')
        if query == "huge":
            return self.answer(200, b'{"sources": [], "x": "' + b"x" * (3 << 20) + b'"}')
        if query == "slow":
            # As long as anybody waits for it.
            self.connection.recv(1)
        if query == "endless":
            print("asked endless", flush=True)
            self.connection.recv(1)
            print("gone endless", flush=True)
            return
        if query == "cut":
            self.close_connection = True
            return self.connection.close()
        sources = [
            {"title": "One <b>", "score": 1.7, "excerpt": "%d %s" % (asked["limit"], query)},
            {"title": "Two", "score": 0.5, "excerpt": "x"},
            {"title": "Three", "score": 0.4, "excerpt": "x"},
        ]
        self.answer(200, json.dumps({"sources": sources}).encode())

    def answer(self, status, body):
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service)
print("ready", flush=True)
server.serve_forever()
