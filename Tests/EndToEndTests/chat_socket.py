"""`/chat/ws` as the PyPI package `websockets` has it.

    chat_socket.py PORT

The pool has one instance with one slot, whose answers take about two seconds. Ends with a traceback at the first
surprise.
"""

import json
import sys

from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

URL = f"ws://127.0.0.1:{sys.argv[1]}/chat/ws"


class Socket:
    def __init__(self, **options):
        self.socket = connect(URL, **options)
        self.events = []

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def next(self, matches=lambda event: True, timeout=30):
        while True:
            event = json.loads(self.socket.recv(timeout=timeout))
            self.events.append(event)
            if matches(event):
                return event

    def ask(self, tag, **more):
        self.send(type="ask", message=f"question {tag}", model="llama3.2", tag=tag, **more)
        return self.next(lambda event: event["type"] in ("accepted", "error") and event.get("tag") == tag)

    def of(self, request, kind):
        return [event for event in self.events if event.get("request_id") == request and event["type"] == kind]

    def cookie(self):
        return self.socket.response.headers["Set-Cookie"].split(";")[0]


def is_end(request):
    return lambda event: event["type"] in ("done", "error") and event.get("request_id") == request


def many_questions():
    """Three over one connection: each has its place, one is cancelled, and the others go on."""
    socket = Socket()
    first, second, third = (socket.ask(tag)["request_id"] for tag in ("a", "b", "c"))
    place = socket.next(lambda event: event["type"] == "queue" and event["request_id"] == third)
    assert place["position"] == 3, place
    socket.send(type="cancel", request_id=second)
    stopped = socket.next(is_end(second))
    assert stopped["type"] == "done" and stopped["stopped"], stopped
    moved = socket.next(lambda event: event["type"] == "queue" and event["request_id"] == third)
    assert moved["position"] == 2, moved
    socket.next(is_end(first))
    socket.next(is_end(third))
    for request in (first, third):
        assert len(socket.of(request, "token")) == 20, socket.events
        numbers = [event["id"] for event in socket.events if event.get("request_id") == request and "id" in event]
        assert numbers == sorted(numbers) and len(set(numbers)) == len(numbers), numbers
    assert not socket.of(first, "queue"), "whoever starts at once hears of no queue"
    socket.socket.close()


def coming_back():
    """A connection that ends, and another one that follows what was asked: nothing is missed."""
    socket = Socket()
    request = socket.ask("a", resumable=True)["request_id"]
    for _ in range(3):
        last = socket.next(lambda event: event["type"] == "token")["id"]
    seen = [event["token"] for event in socket.of(request, "token")]
    cookie = socket.cookie()
    socket.socket.close()
    again = Socket(additional_headers={"Cookie": cookie})
    again.send(type="follow", request_id=request, last_event_id=last)
    again.next(is_end(request))
    rest = [event["token"] for event in again.of(request, "token")]
    assert len(seen) + len(rest) == 20 and again.events[-1]["type"] == "done", (seen, rest)
    stranger = Socket()
    stranger.send(type="follow", request_id=request, tag="x")
    answer = stranger.next()
    # Whoever has another cookie is somebody else.
    assert answer["type"] == "error" and answer["code"] == "not_found" and answer["tag"] == "x", answer
    again.socket.close()
    stranger.socket.close()


def bad_messages():
    """Each gets an error that helps, and the connection goes on."""
    socket = Socket()
    for message, code in [
        ("garbage", "malformed_request"), ("[]", "malformed_request"), ('{"type":"dance"}', "malformed_request"),
        ('{"type":"ask"}', "malformed_request"), ('{"type":"ask","message":"  "}', "empty_message"),
        ('{"type":"ask","message":"a","model":"nope"}', "model_not_found"),
        ('{"type":"cancel","request_id":"nope"}', "not_found"), ('{"type":"follow"}', "not_found"),
    ]:
        socket.socket.send(message)
        event = socket.next()
        assert event["type"] == "error" and event["code"] == code, (message, event)
    socket.socket.send(["{\"type\":\"ask\",\"mess", "age\":\"in ", "parts\",\"model\":\"llama3.2\",\"tag\":\"p\"}"])
    request = socket.next(lambda event: event["type"] == "accepted")["request_id"]
    assert socket.next(is_end(request))["type"] == "done"
    socket.socket.ping().wait(10)
    socket.socket.close()


def too_much():
    """What breaks the rules closes the connection, with the code that RFC 6455 has for it."""
    for message, code in [(b"binary", 1003), ("x" * (1 << 20) + "x", 1009)]:
        socket = connect(URL, max_size=None)
        socket.send(message)
        try:
            while True:
                socket.recv(timeout=10)
        except (ConnectionClosedError, ConnectionClosedOK) as closed:
            assert closed.rcvd and closed.rcvd.code == code, closed


def too_many():
    """One connection has so many open questions and no more."""
    socket = Socket()
    for number in range(105):
        socket.send(type="ask", message="again", model="llama3.2", tag=str(number))
    refused = [socket.next(lambda event: event.get("code") == "too_many_open")["tag"] for _ in range(5)]
    assert refused == [str(number) for number in range(100, 105)], refused
    socket.socket.close()


def no_socket():
    """A foreign page may not open one."""
    try:
        connect(URL, origin="https://evil.example")
    except InvalidStatus as error:
        assert error.response.status_code == 403, error
    else:
        raise AssertionError("a foreign origin was let in")


for test in (many_questions, coming_back, bad_messages, too_much, too_many, no_socket):
    test()
    print(test.__name__)
