"""python -m unittest: what passes between a client and the pool."""

import os
import unittest
from http.server import BaseHTTPRequestHandler
from unittest.mock import patch

from stand_in import StandIn
from without_queue import app


def later(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(429)
    handler.send_header("Retry-After", "7")
    handler.send_header("Set-Cookie", "pool_session=new; Secure")
    handler.end_headers()
    handler.wfile.write(b'{"error": "later"}')


class RelayTests(unittest.TestCase):
    def test_the_pool_hears_who_asks_and_from_where(self) -> None:
        said = {
            "Content-Type": "application/json",
            "Cookie": "pool_session=old",
            "Accept-Language": "it",
            "X-Forwarded-For": "198.51.100.9, 192.0.2.7",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-User": "ann",
        }
        pool, client = StandIn(self, later), app.test_client(use_cookies=False)
        with patch.dict(os.environ, OLLAMA_POOL_URL=pool.url):
            answer = client.post("/chat/stream?a=b", data=b"{}", headers={**said, "X-Other": "1"})
        self.assertEqual((pool.request.path, pool.body), ("/chat/stream?a=b", b"{}"))
        self.assertEqual({name: pool.request.headers[name] for name in said}, said)
        self.assertIsNone(pool.request.headers["X-Other"])
        self.assertEqual((answer.status_code, answer.data), (429, b'{"error": "later"}'))
        self.assertEqual(answer.headers["Retry-After"], "7")
        self.assertEqual(answer.headers["Set-Cookie"], "pool_session=new; Secure")


if __name__ == "__main__":
    unittest.main()
