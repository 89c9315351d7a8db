"""The control sockets as a client sees them that this project did not write: the PyPI package `varlink`.

    control_socket.py introspect SOCKET             print the interfaces with their members, all definitions parsed
    control_socket.py call SOCKET METHOD [JSON]     print the answer, or the error's name and parameters
    control_socket.py watch SOCKET METHOD           print each answer on a line, until standard input ends
    control_socket.py report SOCKET NAME            report each number from standard input as an outside queue's depth
    control_socket.py malformed SOCKET INTERFACE    send what is no message beside a connection that goes on

METHOD is qualified: ollamapool.Dispatcher.GetStatus. With AS_USER in the environment it becomes that user first.
"""

import json
import os
import socket
import sys
import threading

import varlink


def say(value):
    print(json.dumps(value, sort_keys=True), flush=True)


def client_of(path):
    """Connects later, as AS_USER; until here the package has read its own files, which may be closed to that user."""
    client = varlink.Client(address=f"unix:{path}")
    if user := os.environ.get("AS_USER"):
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    return client


def opened(client, method):
    """The object with the interface's methods, and the method's own name."""
    interface, _, name = method.rpartition(".")
    return client.open(interface), name


def introspect(path):
    with client_of(path) as client:
        client.get_interfaces()
        print(client.info["product"], client.info["version"])
        for name in client.info["interfaces"]:
            print(name, *sorted(client.get_interface(name).members), flush=True)


def call(path, method, parameters="{}"):
    with client_of(path) as client:
        interface, name = opened(client, method)
        with interface:
            try:
                say(getattr(interface, name)(**json.loads(parameters)))
            except varlink.VarlinkError as error:
                print(error.error(), json.dumps(error.parameters(), sort_keys=True))


def watch(path, method):
    def follow():
        with client_of(path) as client:
            interface, name = opened(client, method)
            for answer in getattr(interface, name)(_more=True):
                say(answer)

    threading.Thread(target=follow, daemon=True).start()
    sys.stdin.read()
    # Nothing is to be tidied up: the kernel closes the socket.
    os._exit(0)


def report(path, front_end):
    with client_of(path) as client, client.open("ollamapool.Dispatcher") as dispatcher:
        for line in sys.stdin:
            dispatcher.ReportQueueDepth(front_end, int(line), None)
            print("reported", line.strip(), flush=True)


def malformed(path, interface):
    def process():
        answer = bystander.GetStatus()
        return answer.get("status", answer)["processID"]

    with client_of(path) as client, client.open(interface) as bystander:
        before = process()
        for message in (
            b"no JSON\0", b"\0", b"[]\0", b'{"method":1}\0', b"{}\0", b'{"method":"a.b.C","parameters":[]}\0', b"\xff\0",
            b'{"method":' + b"[" * 100_000 + b"\0", b"x" * (65 << 20),
        ):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(20)
                peer.connect(path)
                try:
                    peer.sendall(message)
                    answer = peer.recv(1 << 20)
                except (BrokenPipeError, ConnectionResetError):
                    answer = b""
                print(message[:40].decode(errors="replace").rstrip("\0"), "->", answer.decode(errors="replace"))
                assert not answer, answer
        assert process() == before


if __name__ == "__main__":
    commands = {"introspect": introspect, "call": call, "watch": watch, "report": report, "malformed": malformed}
    commands[sys.argv[1]](*sys.argv[2:])
