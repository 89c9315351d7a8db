#!/usr/bin/env python3
"""The relay beside nginx and haproxy: what a streamed token, a short request and a client that waits cost.

usage: comparison.py [--rounds N] [--only WORD[,WORD…]] [--raw FILE]

All targets stand before the same four upstreams, which are the pool's own instances: both daemons run as they do in
production, with queue, accounting, metrics, journal and history on. A round measures each target once, and the order
changes with the rounds, so that what the machine does meanwhile meets all alike. A figure is the median of the rounds,
a ratio the median of the rounds' ratios. README.md beside this folder says more.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM = ROOT / ".build/release/ollama-pool"
RIG = ROOT / ".build/rig"
UPSTREAMS = [11501, 11502, 11503, 11504]
GENERATE = {"model": "mock:1b", "prompt": "hi"}


def body(**shape):
    return json.dumps({**GENERATE, **shape})


def stream(connections, delay_us, seconds):
    arguments = ["stream", "--conns", connections, "--chunks", 100, "--delay-us", delay_us, "--ramp", 3777]
    return arguments, seconds


# What is measured: the load's arguments, and for how many seconds.
STREAMS_200 = stream(200, 20_000, 5)
STREAMS_1000 = stream(1_000, 50_000, 5)
SHORT = (["short", "--conns", 64, "--path", "/api/version"], 3)
HELD_STREAMS = (
    ["park", "--conns", 4_000, "--ramp", 2_500, "--path", "/api/generate", "--body",
     body(num_predict=1_000, rig_delay_us=1_000_000)], 3)
HELD_WAITING = (
    ["park", "--conns", 10_000, "--ramp", 4_000, "--path", "/api/generate", "--body",
     body(num_predict=1_000, rig_delay_us=1_000_000)], 2)


class Process:
    """One that was started here. It ends with `stop`, or with the program."""

    started = []

    def __init__(self, name, command, folder, port=None, environment=None):
        if port and socket.socket().connect_ex(("127.0.0.1", port)) == 0:
            sys.exit(f"port {port} is taken: something else would be measured in place of {name}")
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=folder, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **(environment or {})})
        self.started.append(self)
        self.name = name
        self.pid = self.process.pid
        if port:
            self.wait_for(port)

    def wait_for(self, port, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                sys.exit(f"{self.name} has ended: {self.log.read_text()[-2000:]}")
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit(f"{self.name} does not listen at port {port}: see {self.log}")

    def stop(self):
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Pool:
    """Both daemons, and the upstreams as their instances."""

    port = 12_040

    def __init__(self, folder, slots=1_024, instances=4):
        self.folder = Path(tempfile.mkdtemp(prefix="pool-", dir=folder))
        gpus = ", ".join(f"{{uuid: GPU-{number}}}" for number in range(instances))
        (self.folder / "ollama-pool.yaml").write_text(f"""
listen: [127.0.0.1:{self.port}]
metrics_listen: 127.0.0.1:{self.port + 1}
launcher: child
ollama: {RIG}/upstream
gpus: [{gpus}]
instance_ports: {UPSTREAMS[0]}
models_path: {self.folder}/models
slots: {slots}
scaling: {{min: {instances}, max: {instances}}}
queue: {{requests: 200000}}
""")
        (self.folder / "models").mkdir()
        (self.folder / "run").mkdir()
        common = ["--config", self.folder / "ollama-pool.yaml", "--socket", self.folder / "run"]
        self.dispatcher = Process(
            "dispatcher", [PROGRAM, "dispatcher", *common, "--state", self.folder / "dispatcher"], self.folder, self.port)
        self.supervisor = Process(
            "supervisor", [PROGRAM, "supervisor", *common, "--state", self.folder / "supervisor"], self.folder)
        self.pid = self.dispatcher.pid
        deadline = time.monotonic() + 30
        while f'"max_concurrent":{slots * instances}' not in get(self.port, "/queue"):
            if time.monotonic() > deadline:
                sys.exit(f"the pool's instances do not come: see {self.supervisor.log}")
            time.sleep(0.05)

    def stop(self):
        self.supervisor.stop()
        self.dispatcher.stop()
        subprocess.run(["pkill", "-9", "-f", str(self.folder)], check=False)


def get(port, path):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode().partition("\r\n\r\n")[2]


class Targets:
    """The references and the pool, up at the same time: idle ones cost nothing."""

    ports = {"direct": UPSTREAMS[0], "floor": 12_000, "nginx": 12_001, "haproxy": 12_002, "pool": Pool.port}

    def __init__(self, folder, names, slots=1_024):
        self.pool = Pool(folder, slots)
        self.processes = {"pool": self.pool}
        commands = {
            "floor": [RIG / "floor", 12_000, UPSTREAMS[0]],
            "nginx": ["nginx", "-p", folder, "-c", HERE / "references/nginx.conf"],
            "haproxy": ["haproxy", "-db", "-f", HERE / "references/haproxy.cfg"],
        }
        for name in names:
            if name in commands:
                self.processes[name] = Process(name, commands[name], folder, self.ports[name])

    def stop(self):
        for process in self.processes.values():
            process.stop()


def load(load, port, watched=None, warmup=1.0):
    """Drives a target, and gives what the load has seen; what went wrong is told and counts as nothing."""
    arguments, seconds = load
    command = [RIG / "load", *arguments, "--port", port, "--warmup", warmup, "--time", seconds, "--max-s", seconds + 40]
    if watched:
        command += ["--cpu", f"proxy={watched}"]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=seconds + 120)
    seen = json.loads(run.stdout) if run.stdout else {"error": run.stderr[:200], "broken": 1}
    if seen.get("bad_status", 0) + seen.get("broken", 0) + seen.get("disorder", 0):
        print(f"  at port {port}: {seen.get('error')}", file=sys.stderr)
        return None
    return seen


def anonymous_kib(process):
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise RuntimeError("no RssAnon")


class Rounds:
    """What a scenario has shown: by target, one entry for each round."""

    def __init__(self, raw, name):
        self.seen = {}
        raw[name] = self.seen

    def add(self, target, seen):
        self.seen.setdefault(target, []).append(seen)

    def values(self, target, value):
        return [value(seen) for seen in self.seen.get(target, []) if seen]

    def ratios(self, target, reference, value):
        pairs = zip(self.seen.get(target, []), self.seen.get(reference, []))
        return [value(one) / value(other) for one, other in pairs if one and other and value(other)]


def interleaved(targets, names, scenario, rounds, results):
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            process = targets.processes.get(name)
            results.add(name, load(scenario, Targets.ports[name], process and process.pid))
            time.sleep(0.3)


# What is looked at.


def paced(folder, raw, rounds, wanted):
    names = ["direct", "floor", "nginx", "haproxy", "pool"]
    scenarios = {"streams-200": STREAMS_200, "streams-1000": STREAMS_1000, "short": SHORT}
    chosen = {name: scenario for name, scenario in scenarios.items() if wanted(name)}
    if not chosen:
        return
    targets = Targets(folder, names)
    try:
        for name, scenario in chosen.items():
            interleaved(targets, names, scenario, rounds, Rounds(raw, name))
    finally:
        targets.stop()


def held(folder, raw, rounds, name, scenario, names, slots, ports):
    """Memory: a fresh process each time, since what was freed stays with it."""
    results = Rounds(raw, name)
    for _ in range(rounds):
        for target in names:
            targets = Targets(folder, [target], slots)
            try:
                pid = targets.processes[target].pid
                time.sleep(0.5)
                before = anonymous_kib(pid)
                arguments, seconds = scenario
                command = [RIG / "load", *arguments, "--port", ports.get(target, Targets.ports[target]), "--warmup", 1,
                           "--time", seconds, "--max-s", 60]
                with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as run:
                    peak = before
                    while run.poll() is None:
                        peak = max(peak, anonymous_kib(pid))
                        time.sleep(0.1)
                    seen = json.loads(run.stdout.read())
                seen["kib"] = (peak - before) / seen["conns"]
                if seen["open"] < seen["conns"]:
                    print(f"  {target}: {seen['conns'] - seen['open']} connections were not held", file=sys.stderr)
                results.add(target, seen)
            finally:
                targets.stop()


def ask(port, shape, receive_buffer=None):
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", port))
    text = body(**shape)
    client.sendall(
        f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}".encode())
    return client


def upstream_stats():
    return [json.loads(get(port, "/rig/stats")) for port in UPSTREAMS]


def stalled(folder, raw, names):
    """Fifty clients that read nothing of streams at full speed: what the target holds of each, at once and later."""
    results = Rounds(raw, "stalled")
    for name in names:
        targets = Targets(folder, [name])
        try:
            pid = targets.processes[name].pid
            time.sleep(0.5)
            before = anonymous_kib(pid)
            clients = [ask(Targets.ports[name], {"num_predict": 10_000_000, "rig_delay_us": 0}, 4_096) for _ in range(50)]
            time.sleep(2)
            soon = anonymous_kib(pid)
            time.sleep(8)
            late = anonymous_kib(pid)
            for client in clients:
                client.close()
            results.add(name, {"soon_kib": (soon - before) / 50, "late_kib": (late - before) / 50})
        finally:
            targets.stop()


def leaving(folder, raw, names, times):
    """From a client's close to the end of its stream at the upstream; and of one that waits, to the queue without it."""
    results = Rounds(raw, "leaving")
    shapes = {"prompt": {"num_predict": 10, "rig_prefill_us": 20_000_000}, "stream": {"num_predict": 10_000, "rig_delay_us": 20_000}}
    for name in names:
        targets = Targets(folder, [name])
        try:
            seen = {}
            for moment, shape in shapes.items():
                lags = []
                for _ in range(times):
                    before = sum(stats["aborted"] for stats in upstream_stats())
                    client = ask(Targets.ports[name], shape)
                    if moment == "stream":
                        client.recv(1)
                    time.sleep(0.1)
                    closed = time.monotonic_ns()
                    client.close()
                    while sum((after := [stats["aborted"] for stats in upstream_stats()])) == before:
                        if time.monotonic_ns() - closed > 5e9:
                            break
                        time.sleep(0.005)
                    lags.append((max(stats["aborted_at_ns"] for stats in upstream_stats()) - closed) / 1e6)
                seen[moment] = lags
            results.add(name, seen)
        finally:
            targets.stop()
    pool = Pool(folder, slots=1, instances=1)
    try:
        running = ask(Pool.port, {"num_predict": 100_000, "rig_delay_us": 100_000})
        lags = []
        for _ in range(times):
            client = ask(Pool.port, {"num_predict": 1})
            while '"waiting":1' not in get(Pool.port, "/queue"):
                time.sleep(0.005)
            closed = time.monotonic_ns()
            client.close()
            while '"waiting":1' in get(Pool.port, "/queue"):
                pass
            lags.append((time.monotonic_ns() - closed) / 1e6)
        results.add("pool, waiting", {"waiting": lags})
        running.close()
    finally:
        pool.stop()


def handing_over(folder, raw, rounds):
    """With more clients than slots: from the end of a stream to the next one's request, both as the upstream sees them."""
    results = Rounds(raw, "handover")
    pool = Pool(folder, slots=4)
    try:
        for _ in range(rounds):
            upstream_stats()
            load((["stream", "--conns", 64, "--chunks", 20, "--delay-us", 5_000, "--ramp", 3_777], 4), Pool.port)
            results.add("pool", {"upstreams": upstream_stats()})
    finally:
        pool.stop()


def starting(folder, raw, rounds):
    """From exec to the first connection that is accepted, and the memory of a process that has nothing to do."""
    results = Rounds(raw, "start")
    for number in range(rounds):
        place = Path(tempfile.mkdtemp(dir=folder))
        (place / "ollama-pool.yaml").write_text(f"listen: [127.0.0.1:{Pool.port}]\nmetrics_listen: off\n")
        began = time.monotonic()
        process = subprocess.Popen(
            [PROGRAM, "dispatcher", "--config", place / "ollama-pool.yaml", "--socket", place, "--state", place / "state"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while socket.socket().connect_ex(("127.0.0.1", Pool.port)):
            time.sleep(0.0002)
        accepted = time.monotonic() - began
        time.sleep(2)
        results.add("pool", {"ms": accepted * 1e3, "kib": anonymous_kib(process.pid)})
        process.terminate()
        process.wait()


# The table.


def spread(values, digits=2):
    if not values:
        return "not measured"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def per_unit(seen):
    return seen["cpu"]["proxy"]["us_per_unit"]


def added(raw, target, reference, quantile):
    rounds = zip(raw[target], raw[reference], raw["direct"])
    return [
        (one["lat_us"][quantile] - direct["lat_us"]["p50"]) / (other["lat_us"][quantile] - direct["lat_us"]["p50"])
        for one, other, direct in rounds
        if one and other and direct and other["lat_us"][quantile] > direct["lat_us"]["p50"]]


def rows(raw):
    def rounds(name):
        found = Rounds({}, name)
        found.seen = raw.get(name, {})
        return found

    for name, words in [("streams-200", "200 streams × 50/s"), ("streams-1000", "1,000 streams × 20/s")]:
        if found := raw.get(name):
            seen = rounds(name)
            yield (f"CPU per streamed line, {words}", f"{spread(seen.values('pool', per_unit), 1)} µs",
                   f"{spread(seen.ratios('pool', 'nginx', per_unit))} × nginx", "1.1")
            for other in ("haproxy", "floor"):
                yield (f"… {other}", f"{spread(seen.values(other, per_unit), 1)} µs",
                       f"{spread(seen.ratios(other, 'nginx', per_unit))} × nginx", "")
    if raw.get("short"):
        seen = rounds("short")
        for name in ("pool", "haproxy", "floor"):
            yield (f"requests/s, `/api/version` passed on: {name}",
                   spread(seen.values(name, lambda one: one["responses_per_s"]), 0),
                   f"{spread(seen.ratios(name, 'nginx', lambda one: one['responses_per_s']))} × nginx",
                   "0.9" if name == "pool" else "")
    if found := raw.get("streams-200"):
        for quantile, goal in [("p50", "1.1"), ("p99", "1.4")]:
            yield (f"added latency, {quantile}",
                   f"{spread([one['lat_us'][quantile] - direct['lat_us']['p50'] for one, direct in zip(found['pool'], found['direct']) if one and direct], 0)} µs",
                   f"{spread(added(found, 'pool', 'haproxy', quantile))} × haproxy", goal)
    for name, words, goal in [("waiting", "a waiting client, 10,000 of them", "6.5"), ("open", "an open stream, 4,000 of them", "13")]:
        if raw.get(name):
            seen = rounds(name)
            for target in seen.seen:
                yield (f"{words}: {target}", f"{spread(seen.values(target, lambda one: one['kib']), 1)} KiB", "",
                       goal if target == "pool" else "")
    for target, found in raw.get("stalled", {}).items():
        yield (f"a reader that stalls, after 2 and 10 s: {target}",
               f"{found[0]['soon_kib']:.0f}, {found[0]['late_kib']:.0f} KiB", "", "64" if target == "pool" else "")
    for target, found in raw.get("leaving", {}).items():
        for moment, lags in found[0].items():
            yield (f"a client leaves ({moment}): {target}", f"{spread(lags, 1)} ms", "", "20" if "pool" in target else "")
    if found := raw.get("handover"):
        stats = [one for seen in found["pool"] for one in seen["upstreams"]]
        for quantile in ("p50", "p99"):
            yield (f"a slot is free → the next request is at the upstream, {quantile}",
                   f"{spread([one['handover_us'][quantile] / 1e3 for one in stats], 2)} ms", "", "1" if quantile == "p99" else "")
    if raw.get("start"):
        seen = rounds("start")
        yield ("start to first accept", f"{spread(seen.values('pool', lambda one: one['ms']), 0)} ms", "", "50")
        yield ("idle, RssAnon", f"{spread(seen.values('pool', lambda one: one['kib'] / 1024), 1)} MiB", "", "25")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="streams-200, streams-1000, short, waiting, open, stalled, leaving, handover, start")
    parser.add_argument("--raw", type=Path, help="where what was measured goes, as JSON")
    options = parser.parse_args()
    only = [word for word in options.only.split(",") if word]
    for program in (PROGRAM, RIG / "load"):
        if not program.exists():
            sys.exit(f"{program} is not there: make bench builds it")
    for reference in ("nginx", "haproxy"):
        if not shutil.which(reference):
            sys.exit(f"{reference} is not installed: apt-get install nginx-light haproxy")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

    def wanted(name):
        return not only or name in only

    raw = {}
    folder = Path(tempfile.mkdtemp(prefix="relay-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        paced(folder, raw, options.rounds, wanted)
        if wanted("open"):
            held(folder, raw, 3, "open", HELD_STREAMS, ["pool", "nginx", "haproxy"], 1_024, {})
        if wanted("waiting"):
            held(folder, raw, 3, "waiting", HELD_WAITING, ["pool", "haproxy"], 1, {"haproxy": 12_003})
        if wanted("stalled"):
            stalled(folder, raw, ["pool", "nginx", "haproxy"])
        if wanted("leaving"):
            leaving(folder, raw, ["pool", "nginx", "haproxy"], 10)
        if wanted("handover"):
            handing_over(folder, raw, options.rounds)
        if wanted("start"):
            starting(folder, raw, options.rounds)
    finally:
        for process in reversed(Process.started):
            process.stop()
        if options.raw:
            options.raw.write_text(json.dumps(raw, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
    print("| figure | measured | ratio | to reach |\n|---|---|---|---|")
    for row in rows(raw):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
