"""python -m unittest: the application without a pool, whose answers are made up."""

import json
import os
import unittest
from collections.abc import Generator
from typing import Any
from unittest.mock import patch

from flask.testing import FlaskClient

os.environ["OLLAMA_POOL_SOCKET"] = "/nowhere"  # its capacity is set here
import app  # noqa: E402
import browser  # noqa: E402
from request_queue import QueueFull  # noqa: E402
from upstream import Failed, Unavailable  # noqa: E402


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


class AppTests(unittest.TestCase):
    def setUp(self) -> None:
        self.asked: list[app.Messages] = []
        self.troubles: list[Failed] = []
        app.histories.clear()
        app.queue.max_concurrent = 1
        for change in (patch.object(app, "ask", self.answer), patch.object(app, "RETRY_SECONDS", 0)):
            change.start()
            self.addCleanup(change.stop)

    def answer(self, endpoint: str, model: str, messages: app.Messages) -> Generator[str | None, None, None]:
        self.asked.append(messages)
        if self.troubles:
            raise self.troubles.pop(0)
        yield None
        yield f"answer {len(self.asked)}"

    def ask(self, client: FlaskClient, message: str) -> list[dict[str, Any]]:
        return events_of(client.post("/chat/stream", json={"message": message}).text)

    def questions(self) -> list[list[str]]:
        return [[part["content"] for part in messages] for messages in self.asked]

    def test_each_session_has_its_own_history(self) -> None:
        first, second = app.app.test_client(), app.app.test_client()
        for client, message in ((first, "one"), (second, "two"), (first, "three")):
            self.assertEqual([event["type"] for event in self.ask(client, message)], ["token", "done"])
        self.assertEqual(self.questions(), [["one"], ["two"], ["one", "answer 1", "three"]])

    def test_a_forged_cookie_begins_a_new_session(self) -> None:
        first, second = app.app.test_client(), app.app.test_client()
        self.ask(first, "one")
        cookie = first.get_cookie("session")
        assert cookie
        payload, _, signature = cookie.value.partition(".")
        second.set_cookie("session", f"{payload}.x{signature[1:]}")
        self.ask(second, "two")
        self.assertEqual(self.questions()[-1], ["two"])

    def test_a_history_is_bounded_and_so_is_their_number(self) -> None:
        with patch.object(app, "HISTORY_MESSAGES", 4), patch.object(app, "SESSIONS", 2):
            clients = [app.app.test_client() for _ in range(3)]
            for number in range(4):
                self.ask(clients[0], f"question {number}")
            self.assertEqual(len(self.asked[-1]), 5)
            self.assertEqual(self.asked[-1][0]["content"], "question 1")
            for client in clients[1:]:
                self.ask(client, "one more")
            self.ask(clients[0], "forgotten?")
            self.assertEqual(self.questions()[-1], ["forgotten?"])

    def test_what_failed_is_not_remembered(self) -> None:
        client = app.app.test_client()
        self.troubles = [Failed("broken", "answer_failed")]
        event = self.ask(client, "one")[-1]
        self.assertEqual((event["type"], event["error"], event["code"]), ("error", "broken", "answer_failed"))
        self.assertEqual(self.ask(client, "two")[-1]["type"], "done")
        self.assertEqual(self.questions()[-1], ["two"])

    def test_what_was_not_begun_is_asked_again_but_not_for_ever(self) -> None:
        client = app.app.test_client()
        self.troubles = [Unavailable("gone")] * 2
        self.assertEqual(self.ask(client, "one")[-1]["type"], "done")
        self.troubles = [Unavailable("gone")] * 3
        self.assertEqual(self.ask(client, "two")[-1]["code"], "pool_unavailable")
        self.assertEqual(app.queue.depth(), (0, None))

    def test_pages_of_other_sites_are_refused(self) -> None:
        for origin, status in (("http://localhost", 200), ("https://elsewhere.example", 403)):
            answer = app.app.test_client().post("/chat/stream", json={"message": "a"}, headers={"Origin": origin})
            self.assertEqual(answer.status_code, status, answer.text)

    def test_a_full_queue_is_told_as_json(self) -> None:
        ids = [f"other {number}" for number in range(browser.THREADS)]
        with self.assertRaises(QueueFull):
            for request_id in ids:
                app.queue.enqueue(request_id)
        answer = app.app.test_client().post("/chat/stream", json={"message": "hello"})
        for request_id in ids:
            app.queue.finish_processing(request_id)
        self.assertEqual((answer.status_code, answer.headers["Retry-After"]), (503, "30"))
        self.assertEqual(json.loads(answer.text)["code"], "service_unavailable")

    def test_who_waits_in_silence_hears_heartbeats(self) -> None:
        with patch.object(browser, "HEARTBEAT_SECONDS", 0.0):
            answer = app.app.test_client().post("/chat/stream", json={"message": "hello"})
            self.assertIn(": still there\n\n", answer.text)
        self.assertEqual(answer.headers["X-Accel-Buffering"], "no")
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertTrue(answer.content_type.startswith("text/event-stream"))

    def test_an_answer_that_nobody_reads_leaves_no_place_taken(self) -> None:
        app.queue.max_concurrent = 0
        answer = app.app.test_client().post("/chat/stream", json={"message": "hello"}, buffered=False)
        self.assertEqual(app.queue.depth()[0], 1)
        answer.close()
        self.assertEqual(app.queue.depth(), (0, None))


if __name__ == "__main__":
    unittest.main()
