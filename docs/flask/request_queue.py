"""A queue in this process: first come, first served, and so many at once as `max_concurrent` says."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

EXPECTED_SECONDS = 30.0  # what an answer is taken to need until one has been measured


class QueueFull(Exception):
    """There is no room for another request."""


@dataclass(frozen=True)
class Waiting:
    request_id: str
    since: float


class RequestQueue:
    """Safe to use from many threads. A request waits, is being processed, or is not known.

    `limit` bounds those that wait and those that are being processed together: each occupies a thread of the server.
    """

    def __init__(self, limit: int, max_concurrent: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._max_concurrent = max_concurrent
        self._clock = clock
        self._waiting: list[Waiting] = []  # by arrival
        self._processing: dict[str, Waiting] = {}
        self._started: dict[str, float] = {}
        self._services: deque[float] = deque(maxlen=100)  # how long the last ones took, in seconds
        self._revision = 0
        self._changed = threading.Condition()

    @property
    def max_concurrent(self) -> int:
        """How many may be processed at once. Lowering it interrupts none."""
        return self._max_concurrent

    @max_concurrent.setter
    def max_concurrent(self, count: int) -> None:
        with self._changed:
            self._max_concurrent = count
            self._tell()

    def enqueue(self, request_id: str) -> None:
        with self._changed:
            if len(self._waiting) + len(self._processing) >= self._limit:
                raise QueueFull
            self._waiting.append(Waiting(request_id, self._clock()))
            self._tell()

    def get_position(self, request_id: str) -> int | None:
        """How many must be done before it starts, plus 1; 1 too for one that is being processed. None: not known."""
        with self._changed:
            departures = self._departures(request_id)
            return None if departures is None else departures + 1

    def get_eta_seconds(self, request_id: str) -> int | None:
        """How long it still waits if those before it take as long as the last ones did."""
        with self._changed:
            departures = self._departures(request_id)
            if departures is None:
                return None
            mean = sum(self._services) / len(self._services) if self._services else EXPECTED_SECONDS
            return math.ceil(departures * mean / max(1, self._max_concurrent))

    def get_next_request(self) -> str | None:
        """The first of those that wait, if one more may be processed now."""
        with self._changed:
            if self._waiting and len(self._processing) < self._max_concurrent:
                return self._waiting[0].request_id
            return None

    def start_processing(self, request_id: str) -> bool:
        """Whether it's this one's turn; then it's being processed from now on."""
        with self._changed:
            if self.get_next_request() != request_id:
                return False
            self._processing[request_id] = self._waiting.pop(0)
            self._started[request_id] = self._clock()
            self._tell()
            return True

    def put_back(self, request_id: str) -> None:
        """It could not be processed after all: it waits again, in the place that its arrival gives it."""
        with self._changed:
            if request_id in self._processing:
                del self._started[request_id]
                self._waiting.append(self._processing.pop(request_id))
                self._waiting.sort(key=lambda waiting: waiting.since)
                self._tell()

    def finish_processing(self, request_id: str, served: bool = False) -> None:
        """It's done, or given up, also while it waited. May be said again."""
        with self._changed:
            if self._processing.pop(request_id, None):
                seconds = self._clock() - self._started.pop(request_id)
                if served:
                    self._services.append(seconds)
            else:
                self._waiting = [waiting for waiting in self._waiting if waiting.request_id != request_id]
            self._tell()

    def depth(self) -> tuple[int, float | None]:
        """How many wait, and how long the first of them has, in seconds."""
        with self._changed:
            oldest = self._clock() - self._waiting[0].since if self._waiting else None
            return len(self._waiting), oldest

    def wait_for_change(self, revision: int, seconds: float) -> int:
        """The present revision: at once if it isn't `revision`, else after the next change or so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._revision != revision, seconds)
            return self._revision

    def _departures(self, request_id: str) -> int | None:
        if request_id in self._processing:
            return 0
        for ahead, waiting in enumerate(self._waiting):
            if waiting.request_id == request_id:
                # With no capacity at all, whoever is first waits for a start and for no departure.
                return max(0, ahead + len(self._processing) - max(1, self._max_concurrent) + 1)
        return None

    def _tell(self) -> None:
        self._revision += 1
        self._changed.notify_all()
