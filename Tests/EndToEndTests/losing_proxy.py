"""A proxy between a client and a pool, by TCP, that loses answers as networks do."""

import socket
import socketserver
import threading
from urllib.parse import urlsplit


class LosingProxy(socketserver.ThreadingTCPServer):
    """From its start to its end, at `base`."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, base):
        super().__init__(("127.0.0.1", 0), Connection)
        pool = urlsplit(base)
        self.pool = (pool.hostname, pool.port)
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        # The pool gets the next question, and its answer is lost before the first byte.
        self.loses_next = False
        # Whether the line is lost with it.
        self.goes_down = True
        self.is_down = False

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return super().__enter__()

    def __exit__(self, *_):
        self.shutdown()
        super().__exit__()


class Connection(socketserver.BaseRequestHandler):
    loses = False

    def handle(self):
        if self.server.is_down:
            return
        with socket.create_connection(self.server.pool) as pool:
            threading.Thread(target=self.answer, args=[pool], daemon=True).start()
            try:
                while (data := self.request.recv(1 << 16)) and not self.server.is_down:
                    if self.server.loses_next and data.startswith(b"POST /chat/stream "):
                        self.loses, self.server.loses_next = True, False
                    pool.sendall(data)
            except OSError:
                pass
            close(pool)

    def answer(self, pool):
        try:
            while data := pool.recv(1 << 16):
                if self.loses:
                    self.server.is_down = self.server.goes_down
                    break
                self.request.sendall(data)
        except OSError:
            pass
        close(self.request)


def close(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
