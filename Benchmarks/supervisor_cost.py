#!/usr/bin/python3
"""Measures the cost of the pool's own work, on the installed units of a release build. Runs in Tests/with-systemd.

Prints a table, and the machine that it is from. README.md says what is measured, and against what.
"""

import argparse
import json
import os
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENDPOINT = "127.0.0.1:11434"
OLLAMA = "/usr/local/lib/ollama-pool-benchmark/ollama"
CONFIGURATION = Path("/etc/ollama-pool/ollama-pool.yaml")
DAEMONS = ["ollama-pool-dispatcher.service", "ollama-pool-supervisor.service"]
# The references, which run beside what they are compared with.
PLAIN_SERVER = "127.0.0.1:11999"
SHELL_LOOP = "benchmark-shell-loop.service"
# With the library that shows them, where programs look for NVIDIA's.
SIMULATED_GPUS = "/opt/simulated-gpus"


def command(*arguments, check=True):
    return subprocess.run(arguments, check=check, stdout=subprocess.PIPE, text=True).stdout


def wait_until(expectation, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            print(command("journalctl", "--no-pager", "-o", "short-precise", "-n", "60", check=False), file=sys.stderr)
            sys.exit(f"not within {seconds} s: {expectation}")
        time.sleep(0.02)


def status():
    text = command("ollama-pool", "status", "--json", check=False)
    return json.loads(text) if text else {}


def install(gpus, minimum):
    shutil.copy(ROOT / "Benchmarks/timed_ollama.py", OLLAMA)
    os.chmod(OLLAMA, 0o755)
    CONFIGURATION.write_text(
        f"gpus: {gpus}\nollama: {OLLAMA}\nscaling: {{min: {minimum}, window: 1s, shrink: 100%, idle_hold: 0s}}\n")
    os.chmod(CONFIGURATION, 0o644)
    subprocess.run(["systemctl", "restart", "ollama-pool.target"], check=True)
    for unit in DAEMONS:
        wait_until(f"{unit} runs", lambda: command("systemctl", "is-active", unit, check=False) == "active\n")


class BusMonitor:
    """Notes when StartTransientUnit was called, in seconds since 1970, as the bus saw it."""

    def __init__(self):
        self.calls = []
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", "dbus-monitor", "--system", "type='method_call',member='StartTransientUnit'"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.first_line = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()
        if not self.first_line.wait(10):
            sys.exit("dbus-monitor shows nothing")

    def read(self):
        for line in self.process.stdout:
            self.first_line.set()
            if match := re.match(r"method call time=([0-9.]+) .*member=StartTransientUnit", line):
                self.calls.append(float(match[1]))

    def first_call_after(self, instant):
        wait_until("StartTransientUnit is seen on the bus", lambda: self.calls and self.calls[-1] >= instant)
        return next(call for call in self.calls if call >= instant)


def sent_and_answered(address):
    """Sends one request for a generation: when that was, and the times that the server tells in its answer."""
    body = json.dumps({"model": "benchmark", "prompt": "", "stream": False}).encode()
    request = urllib.request.Request(f"http://{address}/api/generate", body, {"Content-Type": "application/json"})
    sent, sent_monotonic = time.time(), time.monotonic_ns()
    with urllib.request.urlopen(request, timeout=60) as answer:
        return sent, sent_monotonic, json.load(answer)["times"]


def socket_accepts(address):
    host, port = address.split(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def plain_start(monitor):
    """The reference of a start: from the start of busctl until its StartTransientUnit is seen on the bus."""
    before = time.time()
    command("busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))",
            f"benchmark-{time.monotonic_ns()}.service", "fail",
            "1", "ExecStart", "a(sasb)", "1", "/bin/true", "1", "/bin/true", "false", "0")
    return (monitor.first_call_after(before) - before) * 1000


def plain_request():
    """The reference of a lease: a request straight to a server of the same kind, until it arrives there."""
    _, sent, times = sent_and_answered(PLAIN_SERVER)
    return (times["last_request"] - sent) / 1e6


def is_empty():
    state = status()
    instances = state.get("instances", [])
    return state.get("maxConcurrent") == 0 and all(instance["state"] == "absent" for instance in instances)


def measure_starts(rounds):
    """Each round: a request to a pool without an instance, until it is answered, until the instance has gone."""
    install("cpu", minimum=0)
    monitor = BusMonitor()
    server = subprocess.Popen(["/usr/bin/python3", OLLAMA], env={"OLLAMA_HOST": PLAIN_SERVER})
    wait_until("the reference's server listens", lambda: socket_accepts(PLAIN_SERVER))
    measured = {name: [] for name in ["start", "plain start", "lease", "plain request", "from listening"]}
    for _ in range(rounds + 1):
        wait_until("the pool is empty", is_empty)
        measured["plain start"].append(plain_start(monitor))
        measured["plain request"].append(plain_request())
        # Within 100 ms of another change the depth is told when its turn comes; the pool has been empty for longer.
        time.sleep(random.uniform(0.2, 0.7))
        sent, _, times = sent_and_answered(ENDPOINT)
        measured["start"].append((monitor.first_call_after(sent) - sent) * 1000)
        measured["lease"].append((times["first_request"] - times["first_200"]) / 1e6)
        measured["from listening"].append((times["first_request"] - times["listening"]) / 1e6)
    monitor.process.terminate()
    server.terminate()
    # The first round pages the programs in.
    return {name: values[1:] for name, values in measured.items()}


def main_process(unit):
    return int(command("systemctl", "show", "--value", "-p", "MainPID", unit))


def processor_microseconds(unit):
    """Of all that ran in the unit so far, threads that have ended included."""
    group = command("systemctl", "show", "--value", "-p", "ControlGroup", unit).strip()
    return int(re.search(r"usage_usec (\d+)", Path(f"/sys/fs/cgroup{group}/cpu.stat").read_text())[1])


def anonymous_mebibytes(process):
    text = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", text)[1]) / 1024


def measure_idling(seconds):
    """Each second: both daemons beside four instances without work, and a shell that sleeps a second at a time."""
    subprocess.run(["ollama-simulator", "gpus", "make", SIMULATED_GPUS, "--count", "4"], check=True,
                   stdout=subprocess.DEVNULL)
    Path("/etc/ld.so.conf.d/simulated-gpus.conf").write_text(SIMULATED_GPUS + "\n")
    subprocess.run(["ldconfig"], check=True)
    install("auto", minimum=4)
    wait_until("all instances are ready", lambda: status().get("maxConcurrent") == 4)
    subprocess.run(["systemd-run", "--quiet", "--collect", f"--unit={SHELL_LOOP}",
                    "/bin/sh", "-c", "while :; do sleep 1; done"], check=True)
    time.sleep(5)
    processes = [main_process(unit) for unit in DAEMONS]
    measured = {"daemons": [], "shell loop": [], "memory": []}

    def used():
        return [sum(map(processor_microseconds, DAEMONS)), processor_microseconds(SHELL_LOOP), time.monotonic() * 1e6]

    before = used()
    for _ in range(seconds):
        time.sleep(1)
        now = used()
        daemons, loop, passed = (later - earlier for later, earlier in zip(now, before))
        measured["daemons"].append(100 * daemons / passed)
        measured["shell loop"].append(100 * loop / passed)
        measured["memory"].append(sum(map(anonymous_mebibytes, processes)))
        before = now
    subprocess.run(["systemctl", "stop", SHELL_LOOP], check=True)
    return measured


def row(what, values, unit, goal="", reference=None):
    ordered = sorted(values)
    figures = [ordered[0], statistics.median(ordered), ordered[max(0, -(-95 * len(ordered) // 100) - 1)], ordered[-1]]
    ratio = f"{statistics.median(values) / statistics.median(reference):.2f}" if reference else ""
    return [what, *(f"{figure:.2f}" for figure in figures), unit, str(len(values)), goal, ratio]


def table(rows):
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    for index, line in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    gibibytes = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 1048576
    systemd = command("systemctl", "--version").split()[1]
    distribution = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())[1]
    return (f"{os.cpu_count()} × {model[1] if model else platform.machine()}, {gibibytes:.0f} GiB, {distribution}, "
            f"kernel {platform.release()}, systemd {systemd}; load {os.getloadavg()[0]:.1f} at the beginning")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=60, help="starts from an empty pool (60)")
    arguments.add_argument("--seconds", type=int, default=60, help="time of idling (60)")
    options = arguments.parse_args()
    if Path("/proc/1/comm").read_text() != "systemd\n" or b"container=with-systemd" not in Path(
            "/proc/1/environ").read_bytes():
        sys.exit("This installs the pool, and so runs in a private systemd only: make bench")

    where = machine()
    Path(OLLAMA).parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["scripts/install.sh"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    starts = measure_starts(options.rounds)
    idling = measure_idling(options.seconds)
    print(command("ollama-pool", "--version").strip() + " on " + where)
    table([
        ["what", "min", "median", "p95", "max", "unit", "samples", "goal", "ratio"],
        row("a request meets an empty pool → StartTransientUnit is called", starts["start"], "ms", "p95 ≤ 20",
            starts["plain start"]),
        row("reference: busctl starts → StartTransientUnit is called", starts["plain start"], "ms"),
        row("the instance's first 200 → its first lease", starts["lease"], "ms", "p95 ≤ 150", starts["plain request"]),
        row("reference: a request is sent → it arrives, without a pool", starts["plain request"], "ms"),
        row("the instance listens → its first lease", starts["from listening"], "ms"),
        row("both daemons, idle: processor", idling["daemons"], "% of a core", "< 0.5", idling["shell loop"]),
        row("reference: a shell runs `sleep 1` over and over", idling["shell loop"], "% of a core"),
        row("both daemons, idle: RssAnon", idling["memory"], "MiB", "< 60 MB"),
    ])
    print(f"Processor time over all {options.seconds} s of idling: "
          f"{statistics.mean(idling['daemons']):.3f} % of a core.")


main()
