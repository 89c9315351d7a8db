"""The chat page as users have it: headless Chromium, driven through the PyPI package `selenium`.

    browser.py SCENARIO BASE-URL SCREENSHOTS [KEY…]

BASE-URL is a pool's, without /chat. SCREENSHOTS is a folder for PNG files. Each scenario says what pool it needs.
`restart` prints the lines `stop` and `start` in turn, and after each waits for a line that says that it was done. Ends
with a traceback at the first surprise.
"""

import functools
import http.server
import json
import re
import sys
import threading
import urllib.request

from selenium.webdriver.common.keys import Keys

from browser_page import Page, wait_until
from browser_rendering import SCRIPT, rendering
from losing_proxy import LosingProxy

CONNECTION_ERRORS = ("net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_INCOMPLETE_CHUNKED_ENCODING",
                     "net::ERR_EMPTY_RESPONSE", "net::ERR_HTTP2_PROTOCOL_ERROR", "net::ERR_INTERNET_DISCONNECTED",
                     "net::ERR_SOCKET_NOT_CONNECTED", "net::ERR_CONNECTION_CLOSED")
UNREACHABLE = "Il server non è raggiungibile. Controlla la connessione e riprova."


def answers(page):
    """This user's answers as the server kept them."""
    return [message["content"] for message in page.fetch("chat/history")["messages"] if message["role"] == "assistant"]


def questions(page):
    """What the server has of this user's questions."""
    return [message["content"] for message in page.fetch("chat/history")["messages"] if message["role"] == "user"]


def expect_whole(page, number, answer):
    """The answer is shown as the server kept it: no token is lost, none is there twice."""
    shown = page.script("return arguments[0].textContent", page.find(f".turn:nth-child({number}) .text"))
    assert shown == page.driver.execute_async_script(TEXT_OF, answer), (shown, answer)


# The text that Markdown is shown as.
TEXT_OF = """
const [text, done] = arguments;
import("/chat/markdown.js").then(({ MarkdownView }) => {
  const element = document.createElement("div");
  const view = new MarkdownView(element);
  view.append(text);
  view.render(false);
  done(element.textContent);
});
"""


def two_users(base, folder):
    """One instance with one slot, whose answers take four seconds or more; anonymous users may ask."""
    with Page(base) as first, Page(base) as second:
        first.ask("Come sostituisco la guarnizione della TK3+ 130bar?")
        wait_until("the first is answered at once", lambda: first.answer() != "")
        assert not first.shown(".place"), "whoever starts at once hears of no queue"

        second.resize(1100, 640)
        second.ask("Quanto dura la batteria di riserva?")
        wait_until("the second waits", lambda: second.turn(1, ".place"))
        place = second.turn(1, ".place").splitlines()
        assert place[:2] == ["⏳ In coda: posizione 2", "Ci sono altri utenti in attesa."], place
        assert re.match(r"Tempo stimato: (~\d|in calcolo|pochi secondi)", place[2]), place
        assert ("progressbar", "Attesa in coda") in second.controls()
        assert "⏳ 2" in second.driver.title
        assert len(second.said()) == 1 and second.said()[0].startswith("In coda: posizione 2. Tempo stimato: ")
        second.expect_accessible()

        length = len(first.answer())
        wait_until("the answer grows", lambda: len(first.answer()) > length)
        assert first.said() == [], "a screen reader hears no single tokens"

        wait_until("time goes on", lambda: int(second.find(".progress").get_attribute("aria-valuenow") or 0) > 2)
        second.screenshot(folder, "queue")
        second.click("#stop")
        wait_until("who waits can stop", lambda: second.turn(1, ".outcome-text") == "Risposta interrotta.", 3)
        second.click(".retry")
        wait_until("and ask again", lambda: "posizione 2" in second.turn(1, ".place"))

        first.find("#question").send_keys(Keys.ESCAPE)
        wait_until("Escape stops an answer", lambda: first.turn(1, ".outcome-text") == "Risposta interrotta.", 3)
        wait_until("the next one starts", lambda: second.answer() != "", 10)
        assert not second.shown(".place")
        wait_until("and is answered", lambda: second.is_done(), 60)
        assert second.driver.title == "Chat"
        stop, again, turn, answer = [said.split(".")[0] for said in second.said()[1:]]
        assert (stop, turn, answer) == (
            "Risposta interrotta", "È il tuo turno: sto preparando la risposta…", "Risposta completata"), second.said()
        assert again == "In coda: posizione 2", "the same is said again"

        first.ask("E poi?")
        first.ask("E infine?")
        wait_until("one's second question waits for the first", lambda: first.turn(3, ".outcome"))
        assert first.turn(3, ".outcome-text") == "In attesa della risposta precedente"
        wait_until("both are answered in turn", lambda: first.is_done(3), 90)
        expect_whole(first, 3, answers(first)[-1])

        first.reload()
        wait_until("the history is there", lambda: first.is_done(3) and first.answer(2))
        second.reload()
        wait_until("each has his own", lambda: second.last(".meta"))
        assert "Come sostituisco" not in second.text("#turns") and "Quanto dura" not in first.text("#turns")

        second.ask(SCRIPT)
        wait_until("what users write is text", lambda: second.last(".question-text") == SCRIPT)
        wait_until("and is answered", lambda: second.last(".meta"), 60)
        second.reload()
        wait_until("what comes from the server too", lambda: second.last(".question-text") == SCRIPT)
        assert second.driver.title == "Chat"

        first.click("#delete")
        first.expect_accessible()
        first.click("#deletion .danger")
        wait_until("the history is deleted", lambda: first.shown("#welcome"))
        first.reload()
        assert first.shown("#welcome") and not first.shown(".turn") and answers(first) == []
        for page in (first, second):
            page.expect_no_faults()


def restart(base, folder):
    """As `two-users`; the answers take six seconds or more."""
    with Page(base) as first, Page(base) as second:
        first.ask("La prima?")
        wait_until("the first is answered", lambda: first.answer() != "")
        second.ask("La seconda?")
        wait_until("the second waits", lambda: "posizione 2" in second.turn(1, ".place"))
        let("stop")
        wait_until("the connection is seen to be lost", lambda: first.text("#connection") != "", 30)
        assert first.text("#connection") == "Connessione persa. Nuovo tentativo in corso…"
        first.screenshot(folder, "reconnecting")
        let("start")
        wait_until("it is answered anew", lambda: first.is_done(), 90)
        assert first.shown(".restarted") and first.text("#connection") == ""
        wait_until("so is who waited", lambda: second.is_done(), 90)
        for page in (first, second):
            assert not page.shown(".outcome.is-error")
            assert len(answers(page)) == 1
            expect_whole(page, 1, answers(page)[0])
        let("stop")
        first.ask("E adesso?")
        wait_until("a question waits for the server", lambda: first.text("#connection") != "")
        let("start")
        wait_until("and is answered", lambda: first.is_done(2), 90)
        assert questions(first) == ["La prima?", "E adesso?"], questions(first)
        for page in (first, second):
            page.expect_no_faults(CONNECTION_ERRORS)


def let(what):
    print(what, flush=True)
    assert sys.stdin.readline()


def reattach(base, folder):
    """Answers take four seconds or more. A page that is closed and opened again goes on with its open question."""
    with Page(base) as page:
        page.ask("Che ore sono?")
        wait_until("it is answered", lambda: page.answer() != "")
        page.reload()
        wait_until("it goes on", lambda: page.answer() != "" and not page.is_done())
        wait_until("to its end", lambda: page.is_done(), 60)
        expect_whole(page, 1, answers(page)[0])
        page.expect_no_faults()


def look(base, folder):
    """Anonymous users may ask; an answer is done within a minute."""
    with Page(base, language="en-GB,en") as page:
        assert page.script("return document.documentElement.lang") == "en"
        wait_until("it welcomes in English", lambda: page.text("#welcome h2") == "How can I help you?")
        assert ("textbox", "Your question") in page.controls() and ("button", "Send") in page.controls()
        page.expect_accessible()
        page.expect_no_faults()
    with Page(base, language="it-IT,it") as page:
        assert page.script("return document.documentElement.lang") == "it"
        page.expect_accessible()
        page.resize(1100, 920)
        page.find("#question").send_keys("Come sostituisco la guarnizione della TK3+ 130bar?", Keys.SHIFT, Keys.ENTER)
        page.find("#question").send_keys("E con quale coppia la stringo?", Keys.ENTER)
        wait_until("it is answered", lambda: page.is_done(), 90)
        assert len(page.turn(1, ".question-text").splitlines()) == 2
        page.click(".copy")
        wait_until("an answer is copied", lambda: page.text(".copy") == "Copiato" and page.said()[-1] == "Copiato")
        show_sample(page)
        page.expect_accessible()
        page.screenshot(folder, "light")
        focused = page.expect_visible_focus()
        for wanted in ("theme", "delete", "question", "code-copy"):
            assert any(name.startswith(wanted) for name in focused), (wanted, focused)

        page.prefer("color-scheme", "dark")
        wait_until("it follows the system", lambda: brightness(page) < 60)
        page.expect_accessible()
        page.screenshot(folder, "dark")
        page.click("#theme")
        assert brightness(page) > 200, "the reader's choice wins"
        page.reload()
        assert brightness(page) > 200, "and is kept"

        page.prefer("reduced-motion", "reduce")
        page.ask("Puoi ripetere?")
        wait_until("it begins", lambda: page.shown("#stop"))
        assert page.script("return document.getAnimations().length") == 0
        wait_until("it is answered", lambda: page.is_done(2), 90)

        page.resize(320, 640, telephone=True)
        show_sample(page)
        page.expect_accessible()
        page.screenshot(folder, "telephone")
        page.script("scroller.scrollTop = 0; scroller.dispatchEvent(new Event('scroll'))")
        wait_until("there is a way back to the end", lambda: page.shown("#to-end"))
        page.expect_accessible()
        page.click("#to-end")
        wait_until("and it works", lambda: page.script(
            "return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 2"))
        page.expect_no_faults()


def brightness(page):
    colour = page.script("return getComputedStyle(document.documentElement).backgroundColor")
    return max(int(part) for part in re.findall(r"\d+", colour)[:3])


SAMPLE = """\
Per sostituire la guarnizione della **TK3+ 130bar** servono circa *dieci minuti*:

1. Spegni la macchina e **scarica la pressione** con la leva.
2. Svita i quattro dadi della testata (chiave da `13 mm`):
   - pulisci la sede con un panno asciutto;
   - controlla che non ci siano graffi.

### Coppie di serraggio

| Vite | Coppia | Chiave | Codice del ricambio |
|:-----|-------:|:------:|---------------------|
| M8   | 24 Nm  | 13 mm  | 4711-0815-M8-ZINC   |
| M10  | 48 Nm  | 17 mm  | 4711-0815-M10-ZINC  |

```python
def pressure_holds(readings, limit=130):
    return all(bar >= limit for bar in readings)  # in every reading that came from the bench
```

> Non superare mai i 130 bar durante la prova.

Altri dettagli nel [manuale](https://example.org/manuale)."""

# Shows Markdown through the page's own renderer as the last answer, as if it had come from a model.
SHOW = """
const [text, done] = arguments;
import("/chat/markdown.js").then(({ MarkdownView }) => {
  const element = [...document.querySelectorAll(".answer .text")].at(-1);
  element.replaceChildren();
  const view = new MarkdownView(element);
  for (const character of text) { view.append(character); view.render(true); }
  view.render(false);
  scroller.scrollTop = scroller.scrollHeight;
}).then(() => done(""), (error) => done(String(error)));
"""


def show_sample(page):
    assert page.driver.execute_async_script(SHOW, SAMPLE) == ""


def lost(base, folder):
    """Answers take a second or more. Their beginnings are lost on the way, and no question is asked twice."""
    with LosingProxy(base) as proxy, Page(proxy.base) as page:
        for number, question in enumerate(["La prima di tutte?", "La seconda?"], 1):
            proxy.loses_next = True
            page.ask(question)
            wait_until("the line is lost before the answer begins", lambda: page.text("#connection") != "", 60)
            wait_until("the pool answers all the same", lambda: requests(base) == [], 60)
            proxy.is_down = False
            wait_until("so does the page", lambda: page.is_done(number), 60)
            expect_whole(page, number, answers(page)[number - 1])
        assert questions(page) == ["La prima di tutte?", "La seconda?"]

        proxy.loses_next = True
        page.ask("La terza?")
        wait_until("the line is lost again", lambda: page.text("#connection") != "", 60)
        page.leave()
        wait_until("the pool answers what it has", lambda: requests(base) == [], 60)
        proxy.is_down = False
        page.open()
        wait_until("the page has it", lambda: page.shown(".turn:nth-child(3)") and page.is_done(3))

        proxy.is_down = True
        page.ask("La terza?")
        wait_until("the line is still lost", lambda: page.text("#connection") != "", 60)
        page.leave()
        proxy.is_down = False
        page.open()
        wait_until("what the pool has not is asked", lambda: page.shown(".turn:nth-child(4)") and page.is_done(4), 60)
        assert questions(page) == ["La prima di tutte?", "La seconda?", "La terza?", "La terza?"]

        proxy.loses_next = True
        page.ask("Da interrompere")
        wait_until("nobody knows whether the pool has it", lambda: page.text("#connection") != "", 60)
        proxy.is_down = False
        page.click("#stop")
        wait_until("it can be stopped", lambda: page.turn(5, ".outcome-text") == "Risposta interrotta.", 5)
        wait_until("also in the pool", lambda: requests(base) == [], 5)
        page.expect_no_faults(CONNECTION_ERRORS)


def away(base, folder):
    """As `lost`. The server is away for a minute and more, as the page takes it, and at first."""
    with LosingProxy(base) as proxy, Page(proxy.base) as page:
        page.script(HURRY)
        proxy.loses_next = True
        page.ask("La prima?")
        wait_until("it is given up", lambda: page.turn(1, ".outcome-text") == UNREACHABLE, 30)
        proxy.is_down = False
        page.click(".retry")
        wait_until("it is answered", lambda: page.is_done(), 60)
        assert questions(page) == ["La prima?"], "to try again is no other question, as long as the pool says nothing"
        proxy.is_down = True
        page.ask("La seconda?")
        wait_until("it is given up", lambda: page.turn(2, ".outcome-text") == UNREACHABLE, 30)
        page.leave()
        proxy.is_down = False
        page.open()
        wait_until("it is not lost", lambda: page.shown(".turn:nth-child(2)") and page.is_done(2), 60)
        assert questions(page) == ["La prima?", "La seconda?"]

        proxy.is_down = True
        page.click("#delete")
        page.click("#deletion .danger")
        wait_until("what can't be done is said", lambda: page.text("#connection") == UNREACHABLE)
        assert UNREACHABLE in page.said() and page.answer(2)
        proxy.is_down = False

        page.cdp("Network.enable")
        page.cdp("Network.setBlockedURLs", urls=["*/chat/history"])
        page.driver.refresh()
        wait_until("there is no conversation yet", lambda: page.text("#connection") != "")
        page.ask("La terza?")
        page.ask("La quarta?")
        page.find("#question").send_keys("Una bozza")
        page.driver.refresh()
        wait_until("nor now", lambda: page.text("#connection") != "")
        assert not page.shown(".turn") and page.composed() == "", "whose they were is not known yet"
        page.cdp("Network.setBlockedURLs", urls=[])
        wait_until("all is answered in its order", lambda: page.shown(".turn:nth-child(4)") and page.is_done(4), 90)
        assert questions(page)[2:] == ["La terza?", "La quarta?"]
        assert page.turn(4, ".question-text") == "La quarta?" and not page.shown(".turn:nth-child(5)")
        assert page.composed() == "Una bozza"
        page.expect_no_faults((*CONNECTION_ERRORS, "net::ERR_BLOCKED_BY_CLIENT"))


# The page's clock goes thirty times as fast.
HURRY = """
const { setTimeout } = window;
window.setTimeout = (run, after, ...more) => setTimeout(run, after / 30, ...more);
"""


def requests(base):
    with urllib.request.urlopen(base + "/queue") as answer:
        return json.load(answer)["requests"]


def sign_in(base, folder, key, other):
    """Anonymous users may ask; KEY and OTHER are keys of two users; answers take some seconds."""
    with Page(base, width=320, height=640, telephone=True, dark=True) as page:
        page.find("#question").send_keys("Senza nome")
        page.expect_accessible()
        page.click("#send")
        wait_until("an anonymous user is answered", lambda: page.is_done(), 90)
        page.click("#account")
        page.find("#key").send_keys("wrong", Keys.ENTER)
        wait_until("a wrong key is refused", lambda: page.text("#sign-in-error") == "Questa chiave non è valida.")
        page.expect_accessible()
        enter(page, key)
        assert page.text("#account") == "Esci" and not page.shown(".turn"), "a key has a conversation of its own"
        page.expect_accessible()

        first = page.driver.current_window_handle
        page.driver.switch_to.new_window("tab")
        page.open()
        page.find("#question").send_keys("Un'altra bozza di Ann")
        page.ask(" che va")
        wait_until("another tab asks", lambda: page.answer() != "")
        page.find("#question").send_keys("Un'altra bozza di Ann")
        second = page.driver.current_window_handle
        page.driver.switch_to.window(first)

        page.disconnect(True)
        page.click("#account")
        wait_until("nobody signs out offline, and that is said", lambda: page.text("#connection") == UNREACHABLE)
        page.disconnect(False)
        page.ask("La prima di Ann")
        page.ask("La seconda di Ann")
        page.find("#question").send_keys("Una bozza di Ann")
        wait_until("one waits for the other", lambda: page.turn(2, ".outcome-text") != "")
        page.click("#account")
        expect_nothing(page)

        page.click("#account")
        enter(page, other)
        expect_nothing(page)
        page.find("#question").send_keys("Una bozza di Bob")
        page.reload()
        wait_until("a draft stays its user's", lambda: page.composed() == "Una bozza di Bob")
        page.driver.delete_all_cookies()
        page.driver.refresh()
        expect_nothing(page)

        page.driver.switch_to.window(second)
        wait_until("another tab has nothing of Ann's", lambda: page.composed() == "" and not page.shown(".turn"))
        page.driver.switch_to.window(first)
        page.expect_no_faults(("401", *CONNECTION_ERRORS))


def expect_nothing(page):
    """Whoever sits here is nobody, and sees nothing of the user before."""
    wait_until("somebody else is here", lambda: not page.shown("main[aria-busy]") and not page.shown(".turn"))
    assert page.composed() == "" and questions(page) == []


def closed(base, folder, key, other):
    """Nobody anonymous may ask; KEY and OTHER are keys of two users."""
    with Page(base) as page:
        wait_until("the page asks for a key", lambda: page.shown("#sign-in"))
        page.expect_accessible()
        page.screenshot(folder, "sign-in")
        page.press(Keys.ESCAPE)
        page.press(Keys.ESCAPE)
        wait_until("there is nothing behind it", lambda: page.shown("#sign-in"))
        enter(page, key)
        page.ask("Con un nome")
        wait_until("the user is answered", lambda: page.is_done(), 90)
        page.reload()
        wait_until("and knows it later", lambda: page.is_done())
        page.driver.delete_all_cookies()
        page.ask("Senza sessione")
        wait_until("a session that has ended begins again", lambda: page.shown("#sign-in"))
        enter(page, key)
        assert page.composed() == "Senza sessione", "with what was not asked"
        page.driver.delete_all_cookies()
        page.press(Keys.ENTER)
        wait_until("once more", lambda: page.shown("#sign-in"))
        enter(page, other)
        assert page.composed() == "" and questions(page) == [], "another user gets nothing of it"
        page.ask("Con un altro nome")
        wait_until("and is answered", lambda: page.is_done(), 90)
        page.click("#account")
        wait_until("nobody sees it then", lambda: page.shown("#sign-in") and not page.shown(".turn"))
        page.expect_no_faults(("401",))


def enter(page, key):
    page.find("#key").clear()
    page.find("#key").send_keys(key, Keys.ENTER)
    wait_until("the right key is taken", lambda: not page.shown("#sign-in") and page.text("#account") == "Esci")


def sources(base, folder):
    """The pool has documents, and finds some for any question."""
    with Page(base) as page:
        page.ask("Quale guarnizione ha la TK3+ 130bar?")
        wait_until("the sources are there", lambda: page.turn(1, ".sources"))
        said = page.turn(1, ".sources").replace("\n", " ")
        assert re.match(r"📚 Fonti: .+ \(\d{1,3}%\)", said), said
        page.click(".sources button")
        assert page.text(".excerpt") and page.find(".sources button").get_attribute("aria-expanded") == "true"
        wait_until("it is answered", lambda: page.is_done(), 60)
        page.expect_accessible()
        page.screenshot(folder, "sources")
        page.reload()
        wait_until("they are kept", lambda: page.turn(1, ".sources"))
        page.expect_no_faults()


# A question of another page's: answers with the names of the callbacks and the last event, once it is stopped or done.
ASK_ELSEWHERE = """
const [base, key, stops, done] = arguments;
import(`${base}/chat/client.js`).then(({ PoolChat }) => {
  const chat = new PoolChat({ headers: key ? { Authorization: `Bearer ${key}` } : {} });
  const stop = new AbortController();
  const heard = new Set();
  const names = ["onAccepted", "onQueue", "onSources", "onToken", "onRestart", "onReconnect", "onDone", "onError"];
  const callbacks = Object.fromEntries(names.map((name) => [name, () => {
    heard.add(name);
    if (stops && name === "onToken") stop.abort();
  }]));
  return chat.ask("Da un'altra pagina", { ...callbacks, signal: stop.signal }).then((end) => [[...heard], end]);
}).then(done, (error) => done(String(error)));
"""


def elsewhere(base, folder, key, other):
    """Anonymous users may ask; KEY and OTHER are keys of two users; one instance with one slot, whose answers take a
    second or more."""
    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Another page</title><link rel=icon href=data:,>")

        def log_message(self, *_):
            pass

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server, LosingProxy(base) as proxy,
        Page(proxy.base) as page,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.driver.get(f"http://127.0.0.1:{server.server_port}/")
        page.driver.set_script_timeout(90)
        proxy.goes_down = False
        ask = functools.partial(page.driver.execute_async_script, ASK_ELSEWHERE, proxy.base)
        for shown in (None, key):
            # Only with a key does the pool know that it is the same page.
            proxy.loses_next = shown is not None
            heard, end = ask(shown, False)
            assert end["type"] == "done" and "onError" not in heard, (heard, end)
            assert [name for name in heard if name != "onReconnect"] == ["onAccepted", "onToken", "onDone"], heard
            assert not proxy.loses_next, "the head of the answer was lost, and the question was asked once"
        heard, end = ask(key, True)
        assert end["type"] == "done" and end["stopped"] and "timestamp" in end, (heard, end)
        # Nor may anybody else stop it: the page leaves it at once.
        heard, end = ask(None, True)
        assert end["type"] == "done" and end["stopped"] and "timestamp" not in end, (heard, end)
        server.shutdown()


def refused(base, folder):
    """A user has one question an hour."""
    with Page(base) as page:
        # More than the browser keeps of what is not sent.
        page.script("question.value = 'a '.repeat(3e6); question.dispatchEvent(new Event('input'))")
        page.click("#send")
        wait_until("what is too long is said", lambda: page.turn(1, ".outcome-text") == "La domanda è troppo lunga.", 60)
        page.reload()
        page.ask("La prima?")
        wait_until("what is not is answered", lambda: page.is_done(), 60)
        page.ask("La seconda?")
        wait_until("the limit is told", lambda: page.turn(2, ".outcome.is-error"))
        said, button = page.turn(2, ".outcome-text"), page.find(".turn:nth-child(2) .retry")
        assert re.fullmatch(r"Hai già fatto .* in un'ora\. Potrai riprovare tra \d+ minuti\.", said), said
        assert re.fullmatch(r"Riprova tra (1 h|\d+ min).*", button.text) and not button.is_enabled(), button.text
        page.expect_accessible()
        page.screenshot(folder, "limit")
        page.expect_no_faults(("413", "429"))


def asleep(base, folder):
    """No instance runs, and none has: several models can chat. The page is there, and the first question starts one."""
    with Page(base) as page:
        assert not page.shown("#model"), "nobody knows yet"
        page.ask("Ciao")
        wait_until("it has to name a model", lambda: page.turn(1, ".outcome.is-error"), 60)
        assert "La domanda deve indicare il suo 'model'. Ci sono: " in page.turn(1, ".outcome-text")
        wait_until("there is a choice now", lambda: page.shown("#model"))
        page.click(".turn:nth-child(1) .retry")
        wait_until("it is answered", lambda: page.is_done(), 60)
        page.expect_no_faults(expected=("the server responded with a status of 400",))


SCENARIOS = {
    "two-users": two_users, "restart": restart, "reattach": reattach, "look": look, "sign-in": sign_in,
    "closed": closed, "sources": sources, "rendering": rendering, "elsewhere": elsewhere,
    "asleep": asleep, "lost": lost, "away": away, "refused": refused,
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](*sys.argv[2:])
