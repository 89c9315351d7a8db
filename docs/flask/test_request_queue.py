"""python -m unittest"""

import random
import threading
import unittest

from request_queue import EXPECTED_SECONDS, QueueFull, RequestQueue


class RequestQueueTests(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.queue = RequestQueue(limit=100, max_concurrent=1, clock=lambda: self.now)

    def enqueue(self, *request_ids: str) -> None:
        for request_id in request_ids:
            self.now += 1
            self.queue.enqueue(request_id)

    def positions(self, *request_ids: str) -> list[int | None]:
        return [self.queue.get_position(request_id) for request_id in request_ids]

    def test_first_come_first_served(self) -> None:
        self.enqueue("a", "b", "c")
        self.assertFalse(self.queue.start_processing("b"))
        self.assertEqual(self.queue.get_next_request(), "a")
        self.assertTrue(self.queue.start_processing("a"))
        self.assertIsNone(self.queue.get_next_request())
        self.assertFalse(self.queue.start_processing("b"))
        self.queue.finish_processing("a")
        self.assertFalse(self.queue.start_processing("c"))
        self.assertTrue(self.queue.start_processing("b"))

    def test_positions_are_departures_still_needed_plus_one(self) -> None:
        self.enqueue("a", "b", "c")
        self.queue.start_processing("a")
        self.assertEqual(self.positions("a", "b", "c", "nobody"), [1, 2, 3, None])
        self.queue.finish_processing("a")
        self.assertEqual(self.positions("a", "b", "c"), [None, 1, 2])
        self.queue.start_processing("b")
        self.assertEqual(self.positions("b", "c"), [1, 2])

    def test_a_second_slot_starts_the_next_and_moves_the_others_up(self) -> None:
        self.enqueue("a", "b", "c", "d")
        self.queue.start_processing("a")
        self.queue.max_concurrent = 2
        self.assertTrue(self.queue.start_processing("b"))
        self.assertEqual(self.positions("b", "c", "d"), [1, 2, 3])

    def test_fewer_slots_interrupt_none_and_start_none(self) -> None:
        self.queue.max_concurrent = 2
        self.enqueue("a", "b", "c")
        self.queue.start_processing("a")
        self.queue.start_processing("b")
        self.queue.max_concurrent = 1
        self.assertEqual(self.positions("a", "b", "c"), [1, 1, 3])
        self.queue.finish_processing("a")
        self.assertFalse(self.queue.start_processing("c"))
        self.queue.finish_processing("b")
        self.assertTrue(self.queue.start_processing("c"))

    def test_without_capacity_the_first_waits_at_position_one(self) -> None:
        self.queue.max_concurrent = 0
        self.enqueue("a", "b")
        self.assertIsNone(self.queue.get_next_request())
        self.assertEqual(self.positions("a", "b"), [1, 2])

    def test_who_leaves_gives_the_place_up_once(self) -> None:
        self.enqueue("a", "b", "c")
        self.queue.start_processing("a")
        for _ in range(2):
            self.queue.finish_processing("b")
        self.assertEqual(self.positions("b", "c"), [None, 2])
        self.queue.finish_processing("a")
        self.assertTrue(self.queue.start_processing("c"))

    def test_what_is_put_back_waits_in_the_order_of_arrival(self) -> None:
        self.queue.max_concurrent = 2
        self.enqueue("a", "b", "c")
        self.queue.start_processing("a")
        self.queue.start_processing("b")
        self.queue.max_concurrent = 1
        for request_id in ("a", "b", "unknown"):
            self.queue.put_back(request_id)
        self.assertEqual(self.positions("a", "b", "c", "unknown"), [1, 2, 3, None])
        self.assertEqual(self.queue.depth(), (3, 2.0))

    def test_the_depth_is_what_waits_and_not_what_is_processed(self) -> None:
        self.assertEqual(self.queue.depth(), (0, None))
        self.enqueue("a", "b", "c")
        self.queue.start_processing("a")
        self.now = 10
        self.assertEqual(self.queue.depth(), (2, 8.0))

    def test_a_full_queue_refuses_and_keeps_what_it_has(self) -> None:
        queue = RequestQueue(limit=2, max_concurrent=1)
        queue.enqueue("a")
        queue.enqueue("b")
        queue.start_processing("a")
        with self.assertRaises(QueueFull):
            queue.enqueue("c")
        queue.finish_processing("a")
        queue.enqueue("c")
        self.assertEqual(queue.get_position("c"), 2)

    def test_the_estimate_follows_what_was_served(self) -> None:
        self.enqueue("a", "b", "c")
        self.queue.start_processing("a")
        self.assertEqual(self.queue.get_eta_seconds("b"), EXPECTED_SECONDS)
        self.now += 10
        self.queue.finish_processing("a", served=True)
        self.queue.start_processing("b")
        self.assertEqual(self.queue.get_eta_seconds("c"), 10)
        self.now += 99
        self.queue.finish_processing("b")  # it failed: that says nothing
        self.enqueue("d")
        self.assertEqual([self.queue.get_eta_seconds(request) for request in "cd"], [0, 10])
        self.assertIsNone(self.queue.get_eta_seconds("nobody"))

    def test_a_change_wakes_whoever_waits_for_one(self) -> None:
        revision = self.queue.wait_for_change(0, 0)
        seen: list[int] = []
        waiter = threading.Thread(target=lambda: seen.append(self.queue.wait_for_change(revision, 60)))
        waiter.start()
        self.enqueue("a")
        waiter.join(10)
        self.assertEqual(seen, [revision + 1])

    def test_many_threads_never_exceed_the_slots_and_keep_the_order(self) -> None:
        queue = RequestQueue(limit=100, max_concurrent=3)
        started: list[int] = []
        processing, most = 0, 0
        lock = threading.Lock()

        def serve(number: int) -> None:
            nonlocal processing, most
            revision = 0
            while True:
                with lock:
                    if queue.start_processing(str(number)):
                        started.append(number)
                        processing += 1
                        most = max(most, processing)
                        break
                revision = queue.wait_for_change(revision, 60)
            with lock:
                processing -= 1
            queue.finish_processing(str(number))

        for number in range(60):
            queue.enqueue(str(number))
        threads = [threading.Thread(target=serve, args=(number,)) for number in range(60)]
        random.Random(1).shuffle(threads)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual(started, list(range(60)))
        self.assertLessEqual(most, 3)
        self.assertEqual(queue.depth(), (0, None))


if __name__ == "__main__":
    unittest.main()
