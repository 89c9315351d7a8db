#!/usr/bin/env python3
"""Thousands of clients that wait for the chat: what each costs, and how soon all hear that the queue moved.

usage: waiting_clients.py [CLIENTS [SECONDS]]   10000 clients and 30 seconds by default

Runs the release build's dispatcher and supervisor with one simulated instance that serves one question a second, has
all clients ask `/chat/stream`, and then looks on. Needs as many open files as twice the clients, as root has.
"""

import json
import os
import resource
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".build/release/ollama-pool"
SIMULATOR = ROOT / ".build/release/ollama-simulator"
BODY = json.dumps({"message": "How long will I wait?", "model": "llama3.2"}).encode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def anonymous_bytes(process):
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon")


def processor_seconds(process):
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Pool:
    """Both daemons, each a process of its own."""

    def __init__(self, clients):
        self.folder = Path(tempfile.mkdtemp(prefix="waiting-clients-"))
        self.port = free_port()
        configuration = self.folder / "ollama-pool.yaml"
        configuration.write_text(f"""
listen: [127.0.0.1:{self.port}]
metrics_listen: off
launcher: child
ollama: {SIMULATOR}
gpus: cpu
instance_ports: 24500
models_path: {self.folder}/models
queue: {{requests: {clients * 2}}}
environment:
  OLLAMA_SIMULATOR_TOKENS: "1"
  OLLAMA_SIMULATOR_TOKENS_PER_SECOND: "0"
  OLLAMA_SIMULATOR_FIRST_TOKEN_SECONDS: "1"
""")
        self.log = (self.folder / "log").open("w")
        common = ["--config", str(configuration), "--socket", str(self.folder / "run")]
        (self.folder / "run").mkdir()
        self.daemons = [
            subprocess.Popen(
                [str(PROGRAM), daemon, *common, "--state", str(self.folder / daemon)], stdout=self.log,
                stderr=self.log)
            for daemon in ("dispatcher", "supervisor")]
        self.dispatcher = self.daemons[0].pid
        deadline = time.monotonic() + 30
        while not self.is_ready():
            if time.monotonic() > deadline:
                sys.exit(f"the pool does not start: {self.folder}/log")
            time.sleep(0.1)

    def is_ready(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"GET /queue HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b'"max_concurrent":1' in b"".join(iter(lambda: probe.recv(65536), b""))
        except OSError:
            return False

    def close(self):
        for daemon in self.daemons:
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
        subprocess.run(["pkill", "-9", "-f", str(self.folder)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Clients:
    def __init__(self, port, count):
        self.selector = selectors.EpollSelector()
        self.port = port
        self.count = count
        self.waiting = {}
        self.placed = set()
        self.departures = 0
        self.departed_at = None
        self.lags = []
        self.updates = 0

    def ask_all(self):
        request = (
            f"POST /chat/stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n").encode() + BODY
        for number in range(self.count):
            client = socket.create_connection(("127.0.0.1", self.port))
            client.setblocking(False)
            client.send(request)
            self.waiting[number] = client
            self.selector.register(client, selectors.EVENT_READ, number)
            if number % 100 == 0:
                self.read(0)

    def read(self, timeout):
        for key, _ in self.selector.select(timeout):
            self.take(key.data, key.fileobj)

    def take(self, number, client):
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        if b'"type":"done"' in data or not data:
            self.departures += 1
            self.departed_at = time.monotonic()
            if self.selector is not None:
                self.selector.unregister(client)
            self.waiting.pop(number).close()
        elif b'"type":"queue"' in data:
            if number in self.placed and self.departed_at is not None:
                self.updates += 1
                self.lags.append(time.monotonic() - self.departed_at)
            self.placed.add(number)

    def close(self):
        for client in self.waiting.values():
            client.close()

    def read_for(self, seconds):
        """Asks each connection, some ten times a second: what the kernel does for those who wait in epoll would be time of
        whoever writes to them, since it is all one machine."""
        if self.selector is not None:
            self.selector.close()
            self.selector = None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for number, client in list(self.waiting.items()):
                self.take(number, client)
            time.sleep(0.1)


def reference(count, rounds=5):
    """Seconds that a bare loop takes for one write of as much, to as many connections one after the other."""
    # Both ends are this process's.
    count = min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100)
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        pairs = []
        for _ in range(count):
            one = socket.create_connection(server.getsockname())
            pairs.append((one, server.accept()[0]))
    line = b"x" * 200
    taken = 0
    for _ in range(rounds):
        began = time.process_time()
        for one, _ in pairs:
            one.send(line)
        taken += time.process_time() - began
        for _, other in pairs:
            other.recv(4096)
    for pair in pairs:
        for end in pair:
            end.close()
    return taken / rounds / count


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pool = Pool(count)
    try:
        before = anonymous_bytes(pool.dispatcher)
        clients = Clients(pool.port, count)
        began = time.monotonic()
        clients.ask_all()
        while len(clients.placed) + clients.departures + 2 < count and time.monotonic() - began < 120:
            clients.read(0.1)
        asked = time.monotonic() - began
        waiting = count - clients.departures
        memory = (anonymous_bytes(pool.dispatcher) - before) / waiting
        clients.read_for(3)
        clients.lags.clear()
        clients.updates = clients.departures = 0
        start, processor = time.monotonic(), processor_seconds(pool.dispatcher)
        clients.read_for(seconds)
        taken = (processor_seconds(pool.dispatcher) - processor) / (time.monotonic() - start)
        per_second = clients.departures / seconds
        clients.close()
        bare = reference(waiting) * waiting
        lags = sorted(clients.lags)
        print(f"{count} clients asked and were told their places in {asked:.1f} s, each with a write to the store")
        print(f"memory: {memory / 1024:.2f} KiB (RssAnon) for each that waits")
        print(f"processor: {taken * 100:.1f} % of a core at {per_second:.2f} departures a second, "
              f"{clients.updates / seconds:.0f} updates a second; "
              f"{taken / (bare * per_second) if per_second else 0:.2f} of a bare loop's that writes as much")
        if lags:
            print(f"an update after the departure: median {statistics.median(lags):.3f} s, "
                  f"p99 {lags[int(len(lags) * 0.99)]:.3f} s, last {lags[-1]:.3f} s")
    finally:
        pool.close()


if __name__ == "__main__":
    main()
