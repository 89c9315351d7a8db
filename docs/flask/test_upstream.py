"""python -m unittest: what a server may do to whoever asks it."""

import json
import os
import threading
import unittest
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from unittest.mock import patch

from stand_in import StandIn
from upstream import Failed, Unavailable, ask

MESSAGES = [{"role": "user", "content": "hello"}]


def token(text: str, done: bool = False) -> bytes:
    return json.dumps({"message": {"role": "assistant", "content": text}, "done": done}).encode() + b"\n"


class UpstreamTests(unittest.TestCase):
    def lines(self, *lines: bytes, status: int = 200) -> StandIn:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.end_headers()
            handler.wfile.writelines(lines)

        return StandIn(self, answer)

    def tokens(self, url: str) -> list[str]:
        return [part for part in ask(url, "llama3.2", MESSAGES) if part]

    def test_tokens_come_one_by_one(self) -> None:
        pool = self.lines(token("Hel"), token(""), token("lo"), token("", done=True))
        with patch.dict(os.environ, OLLAMA_POOL_KEY="sk-pool-1"):
            self.assertEqual(self.tokens(pool.url), ["Hel", "lo"])
        self.assertEqual(json.loads(pool.body), {"model": "llama3.2", "messages": MESSAGES})
        self.assertEqual(pool.request.headers["Authorization"], "Bearer sk-pool-1")

    def test_what_was_not_begun_may_be_asked_again(self) -> None:
        busy = b'{"error": "the queue is full"}'
        answers = [self.lines(), self.lines(busy, status=503), self.lines(b"no JSON\n"), self.lines(b"7\n")]
        for url in ("http://127.0.0.1:1", *(pool.url for pool in answers)):
            with self.assertRaises(Unavailable):
                self.tokens(url)

    def test_what_was_begun_or_refused_may_not(self) -> None:
        unknown = b'{"error": "model not found"}'
        for pool, code in (
            (self.lines(token("Hel")), "answer_failed"),
            (self.lines(token("Hel"), b'{"error": "the runner died"}\n'), "answer_failed"),
            (self.lines(b'{"error": "no"}', status=401), "answer_failed"),
            (self.lines(unknown, status=404), "model_not_found"),
        ):
            with self.assertRaises(Failed) as raised:
                self.tokens(pool.url)
            self.assertNotIsInstance(raised.exception, Unavailable)
            self.assertEqual(raised.exception.code, code)

    def test_who_waits_gets_control_back_and_can_break_off(self) -> None:
        broken_off = threading.Event()

        def answer(handler: BaseHTTPRequestHandler) -> None:
            if not handler.connection.recv(1):
                broken_off.set()

        with closing(ask(StandIn(self, answer).url, "llama3.2", MESSAGES)) as tokens:
            self.assertIsNone(next(tokens))
            self.assertFalse(broken_off.is_set())
        self.assertTrue(broken_off.wait(10))


if __name__ == "__main__":
    unittest.main()
