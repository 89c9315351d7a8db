#!/usr/bin/env python3
"""What a cold start takes, in its parts, with and without reading models ahead.

usage: cold_start.py [ROUNDS [MIB]]     5 rounds and models of 1024 MiB by default

Runs the release build with instances of `reading_ollama.py`, which takes DISCOVERY seconds until it answers, and then
reads its model's files from the disk as a load does. Before each round the files are thrown out of memory. Three cases,
in turn: one instance and one model, and two instances that start at once with a model each. The reference is `cat` of
the same file. It needs a file system on a disk, some GiB of it, and as much free memory.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".build/release/ollama-pool"
OLLAMA = Path(__file__).resolve().parent / "reading_ollama.py"
DISCOVERY = 1.0


def forget(path):
    """Throws a file out of the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


class Store:
    def __init__(self, folder, models, mib):
        self.folder = folder
        self.blobs = {}
        for number, model in enumerate(models):
            digest = f"{number + 1:064x}"
            blob = folder / "blobs" / f"sha256-{digest}"
            blob.parent.mkdir(parents=True, exist_ok=True)
            with blob.open("wb") as file:
                for _ in range(mib):
                    file.write(os.urandom(1 << 20))
            manifest = folder / "manifests/registry.ollama.ai/library" / model / "latest"
            manifest.parent.mkdir(parents=True)
            manifest.write_text(json.dumps({"schemaVersion": 2, "layers": [{
                "mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": mib << 20}]}))
            self.blobs[model] = blob

    def forget(self):
        for blob in self.blobs.values():
            forget(blob)


def start(store, folder, models, reads_ahead):
    """One pool with an instance for each model: seconds until each is ready, and the parts that the first took."""
    configuration = folder / "ollama-pool.yaml"
    placements = ", ".join(
        f"{{id: {model}, gpus: [{number}], models: ['{model}:latest']}}" for number, model in enumerate(models))
    configuration.write_text(f"""
listen: [127.0.0.1:23934]
metrics_listen: off
launcher: child
ollama: {OLLAMA}
gpus: [{", ".join(f"{{uuid: GPU-{number}}}" for number in range(len(models)))}]
placements: [{placements}]
preload: [{", ".join(f"'{model}:latest'" for model in models)}]
read_ahead: {str(reads_ahead).lower()}
scaling: {{min: {len(models)}}}
instance_ports: 24600
models_path: {store.folder}
environment: {{READING_OLLAMA_DISCOVERY: "{DISCOVERY}"}}
""")
    socket = folder / "run"
    socket.mkdir(exist_ok=True)
    store.forget()
    log = (folder / "log").open("w")
    pool = subprocess.Popen(
        [str(PROGRAM), "serve", "--config", str(configuration), "--socket", str(socket),
         "--state", str(folder / "state")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            status = subprocess.run(
                [str(PROGRAM), "status", "--json", "--socket", str(socket)], capture_output=True, text=True)
            parsed = json.loads(status.stdout) if status.stdout else {}
            times = {entry["instance"]: entry for entry in parsed.get("startTimes") or []}
            if len(times) == len(models):
                return times, parsed.get("readModels") or []
            if time.monotonic() > deadline or pool.poll() is not None:
                raise RuntimeError(f"the pool does not become ready: {(folder / 'log').read_text()}")
            time.sleep(0.1)
    finally:
        pool.send_signal(signal.SIGTERM)
        pool.wait(60)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    mib = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    with tempfile.TemporaryDirectory(prefix="cold-start-", dir=ROOT / ".build") as name:
        folder = Path(name)
        store = Store(folder / "models", ["first", "second"], mib)
        figures = {}

        def note(what, value):
            figures.setdefault(what, []).append(value)

        for _ in range(rounds):
            store.forget()
            begin = time.monotonic()
            subprocess.run(["cat", store.blobs["first"]], stdout=subprocess.DEVNULL, check=True)
            note("cat of one model's file", time.monotonic() - begin)
            for reads_ahead in (False, True):
                how = "read ahead" if reads_ahead else "not read ahead"
                times, _ = start(store, folder, ["first"], reads_ahead)
                entry = times["first"]
                note(f"one instance, {how}: until ready", entry["totalSeconds"])
                note(f"  until the process runs, {how}", entry["startSeconds"])
                note(f"  from there to the first answer, {how}", entry["discoverySeconds"])
                note(f"  load, {how}", entry["loads"][0]["seconds"])
                times, _ = start(store, folder, ["first", "second"], reads_ahead)
                totals = sorted(entry["totalSeconds"] for entry in times.values())
                note(f"two instances with a model each, {how}: first ready", totals[0])
                note(f"  second ready, {how}", totals[1])
    print(f"models of {mib} MiB, {rounds} rounds, discovery {DISCOVERY} s\n")
    reference = statistics.median(figures["cat of one model's file"])
    print(f"{'':62}{'median s':>9}{'least':>8}{'most':>8}{'of cat':>8}")
    for what, values in figures.items():
        median = statistics.median(values)
        print(f"{what:62}{median:9.2f}{min(values):8.2f}{max(values):8.2f}{median / reference:8.2f}")


if __name__ == "__main__":
    main()
