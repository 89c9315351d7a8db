"""Holds a pool to what docs/openapi.yaml says of events, which schemathesis does not look into far enough.

    python openapi.py openapi.yaml http://127.0.0.1:11434

The pool has one slot, a default model, and answers that take a second.
"""

import json
import sys
import urllib.request

import websocket
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

DOCUMENT = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
BASE = sys.argv[2]


def conforms(value, name):
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(value)
    return value


class Socket:
    """Sends orders, and holds each answer to its schema."""

    def __init__(self, cookie=None):
        url = BASE.replace("http", "ws", 1) + "/chat/ws"
        self.socket = websocket.create_connection(url, timeout=20, cookie=cookie)
        self.cookie = self.socket.getheaders()["set-cookie"].partition(";")[0]

    def send(self, order, is_valid=True):
        text = order if isinstance(order, str) else json.dumps(conforms(order, "SocketOrder") if is_valid else order)
        self.socket.send(text)

    def until(self, *types):
        """Everything up to the first event of one of these types."""
        events = []
        while not events or events[-1]["type"] not in types:
            events.append(conforms(json.loads(self.socket.recv()), "SocketEvent"))
            assert events[-1]["type"] != "error" or "error" in types, events
        return events

    def refusal(self, order, code, tag=None):
        self.send(order, is_valid=False)
        answer = self.until("error")[-1]
        assert answer["code"] == code and answer.get("tag") == tag, (order, answer)


def stream():
    """A question by itself, and what comes of it."""
    body = json.dumps(conforms({"message": "hello"}, "Question")).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{BASE}/chat/stream", body), timeout=20) as answer:
        lines = [line for line in answer if line.startswith(b"data: ")]
    types = [conforms(json.loads(line.removeprefix(b"data: ")), "Event")["type"] for line in lines]
    assert types[0] == "token" and types[-1] == "done", types


def questions():
    """Two at once over one connection: the second waits, and is given up; somebody comes back for the first."""
    socket = Socket()
    socket.send({"type": "ask", "message": "one", "tag": "a", "resumable": True})
    accepted, *_ = socket.until("token")
    assert accepted["type"] == "accepted" and accepted["tag"] == "a", accepted
    socket.send({"type": "ask", "message": "two", "tag": "b"})
    events = socket.until("queue")
    assert events[-1]["position"] == 2, events
    socket.send({"type": "cancel", "request_id": events[-1]["request_id"]})
    done = socket.until("done")[-1]
    assert done["stopped"] and done["request_id"] == events[-1]["request_id"], done
    socket.socket.close()

    Socket().refusal({"type": "follow", "request_id": accepted["request_id"]}, "not_found")
    again = Socket(socket.cookie)
    again.send({"type": "follow", "request_id": accepted["request_id"], "last_event_id": 1, "tag": "c"})
    events = again.until("done")
    assert events[0] == {"type": "accepted", "request_id": accepted["request_id"], "tag": "c"}, events
    assert [event["id"] for event in events[1:]] == list(range(2, len(events) + 1)), events


def bad_orders():
    """Each gets its error, and the connection goes on."""
    socket = Socket()
    for order in ("", "no JSON", "[]", {}, {"type": "sing"}, {"type": "ask"}, {"type": "ask", "message": 7}):
        socket.refusal(order, "malformed_request")
    socket.refusal({"type": "ask", "message": "\t ", "tag": "x"}, "empty_message", "x")
    socket.refusal({"type": "ask", "message": "hello", "model": "nope", "tag": "y"}, "model_not_found", "y")
    socket.refusal({"type": "ask", "message": "hello", "priority": 100}, "malformed_request")
    for order in ("cancel", "follow"):
        socket.refusal({"type": order}, "not_found")
        socket.refusal({"type": order, "request_id": "nobody's", "tag": "z"}, "not_found", "z")
    socket.send({"type": "ask", "message": "hello"})
    socket.until("done")


if __name__ == "__main__":
    validate(DOCUMENT)
    stream()
    questions()
    bad_orders()
