"""The pool's control socket: it tells how much the pool takes at once, and is told how many wait here."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import varlink  # type: ignore[import-untyped]

from request_queue import RequestQueue

INTERFACE = "ollamapool.Dispatcher"
REPEAT_SECONDS = 5.0  # between two reports of an unchanged depth
RECONNECT_SECONDS = 1.0

log = logging.getLogger(__name__)


class Pool:
    """Keeps the queue's `max_concurrent` as the pool wants it, and the pool informed of the queue's depth.

    While the pool is gone the queue hands nothing over and keeps what it has.
    """

    def __init__(self, queue: RequestQueue, front_end: str, folder: str) -> None:
        self._queue = queue
        self._front_end = front_end
        self._socket = f"{folder}/dispatcher.sock"
        self.is_there = False
        self.endpoint = ""  # where the pool answers HTTP, as it last said
        self._trouble = ""  # what was logged last

    def start(self) -> None:
        for talk in (self._watch_capacity, self._report_depth):
            threading.Thread(target=self._keep_talking, args=(talk,), daemon=True).start()

    def _keep_talking(self, talk: Callable[[Any], None]) -> None:
        while True:
            try:
                with varlink.Client(f"unix:{self._socket}") as client, client.open(INTERFACE) as dispatcher:
                    talk(dispatcher)
            except (OSError, varlink.VarlinkError) as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    log.warning("The pool is not there, requests are kept: %s: %s", self._socket, error)
            time.sleep(RECONNECT_SECONDS)

    def _watch_capacity(self, dispatcher: Any) -> None:
        try:
            for capacity in dispatcher.WatchCapacity(_more=True):
                self.endpoint = next(iter(capacity["endpoints"]), "")
                self.is_there = True
                self._trouble = ""
                self._queue.max_concurrent = capacity["maxConcurrent"]
                log.info("The pool at %s takes %d requests at once.", self.endpoint, capacity["maxConcurrent"])
        finally:
            self.is_there = False
            self._queue.max_concurrent = 0

    def _report_depth(self, dispatcher: Any) -> None:
        revision = 0
        while True:
            # What was handed to the pool, the pool counts itself: only what waits here is told.
            dispatcher.ReportQueueDepth(self._front_end, *self._queue.depth())
            revision = self._queue.wait_for_change(revision, REPEAT_SECONDS)
