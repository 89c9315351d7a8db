"""A chat with a queue of its own before the pool: `python app.py` serves it on port 5000. See README.md."""

import os
import secrets
import threading
import time
import uuid
from collections import OrderedDict
from contextlib import closing

from flask import Flask, Response, session
from werkzeug.exceptions import ServiceUnavailable

from browser import DEFAULT_MODEL, THREADS, Event, Events, done, event_stream, failure, prepare, read_question, serve
from pool import Pool
from request_queue import QueueFull, RequestQueue
from upstream import LOOK_SECONDS, Failed, Unavailable, ask

ATTEMPTS = 3  # to have a question answered that the pool did not begin to answer
RETRY_SECONDS = 2.0  # after an attempt; by then it's known whether the pool has gone
HISTORY_MESSAGES = 20  # of a session; the model is sent them all
SESSIONS = 1_000  # with a history; who has not asked for longest is forgotten first

Messages = list[dict[str, str]]

app = Flask(__name__)
prepare(app)
# The histories end with the process, so the cookies that lead to them may, too.
app.secret_key = secrets.token_bytes(32)
queue = RequestQueue(limit=THREADS - 10)
pool = Pool(queue, os.environ.get("FRONT_END", "flask"), os.environ.get("OLLAMA_POOL_SOCKET", "/run/ollama-pool"))
pool.start()
histories: OrderedDict[str, Messages] = OrderedDict()
histories_lock = threading.Lock()


def get_session_id() -> str:
    """The session's, from its signed cookie; a new one where there is none."""
    return str(session.setdefault("id", uuid.uuid4().hex))


def get_conversation_history(session_id: str) -> Messages:
    with histories_lock:
        return list(histories.get(session_id, []))


def remember(session_id: str, question: str, answer: str) -> None:
    with histories_lock:
        history = histories.setdefault(session_id, [])
        history += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        del history[:-HISTORY_MESSAGES]
        histories.move_to_end(session_id)
        if len(histories) > SESSIONS:
            histories.popitem(last=False)


@app.post("/chat/stream")
def chat_stream() -> Response:
    question, model = read_question(os.environ.get("CHAT_MODEL", DEFAULT_MODEL))
    session_id, request_id = get_session_id(), uuid.uuid4().hex
    try:
        queue.enqueue(request_id)
    except QueueFull:
        raise ServiceUnavailable("Too many requests wait already.", retry_after=30) from None
    response = event_stream(answer(request_id, session_id, question, model), request_id)
    # However it ends, and also if it never began: a client that left gives its place up.
    response.call_on_close(lambda: queue.finish_processing(request_id))
    return response


def answer(request_id: str, session_id: str, question: str, model: str) -> Events:
    for attempt in range(ATTEMPTS):
        yield from wait_for_turn(request_id)
        messages = [*get_conversation_history(session_id), {"role": "user", "content": question}]
        text = ""
        try:
            with closing(ask(pool.endpoint, model, messages)) as tokens:
                for token in tokens:
                    text += token or ""
                    yield {"type": "token", "token": token} if token else None
        except Failed as error:
            if isinstance(error, Unavailable) and attempt + 1 < ATTEMPTS:
                queue.put_back(request_id)
                time.sleep(RETRY_SECONDS)
                continue
            queue.finish_processing(request_id)
            yield failure(request_id, error)
        else:
            # Before the last event, so that a client that is slow to take it keeps nobody waiting.
            queue.finish_processing(request_id, served=True)
            remember(session_id, question, text)
            yield done(request_id)
        return


def wait_for_turn(request_id: str) -> Events:
    """Tells where the request stands, until it is being processed. One that starts at once is told nothing."""
    told, revision = None, 0
    while not queue.start_processing(request_id):
        place = (queue.get_position(request_id), pool.is_there)
        yield place_event(request_id, *place) if place != told else None
        told = place
        revision = queue.wait_for_change(revision, LOOK_SECONDS)
    if told and told[0] != 1:
        yield place_event(request_id, 1, True)


def place_event(request_id: str, position: int | None, pool_is_there: bool) -> Event:
    message = f"In coda: posizione {position}"
    if not pool_is_there:
        message += ". Il servizio al momento non risponde: la richiesta resta in coda."
    return {"type": "queue", "position": position, "message": message, "eta_seconds": queue.get_eta_seconds(request_id)}


if __name__ == "__main__":
    serve(app, os.environ.get("LISTEN", "127.0.0.1:5000"))
