"""The chat page in a real browser, headless Chromium: what tests do on it, see of it, and hold it to."""

import json
import shutil
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

# In the page before anything of it: what the content security policy refuses, the errors that nobody caught, and what a
# screen reader says by itself.
WATCH = """
window.faults = [];
addEventListener("securitypolicyviolation", (event) => faults.push(`${event.violatedDirective} ${event.blockedURI}`));
addEventListener("error", (event) => faults.push(event.message));
addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
window.said = [];
const listen = (changes) => {
  for (const { target, addedNodes } of changes) {
    const place = target.nodeType === Node.ELEMENT_NODE && target.closest("[aria-live], [role=status], [role=alert]");
    if (place) said.push(...[...addedNodes].map((node) => node.textContent));
  }
};
new MutationObserver(listen).observe(document, { childList: true, subtree: true });
"""


def wait_until(expectation, condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {expectation}"
        time.sleep(0.02)
    return value


class Page:
    """One user: a browser with a profile of its own."""

    def __init__(self, base, language="it", width=1100, height=820, dark=False, telephone=False):
        self.base = base.rstrip("/")
        self.profile = tempfile.TemporaryDirectory(prefix="ollama-pool-browser-", ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in (
            # As root, as in containers, Chromium wants no sandbox; the only pages it sees here are the pool's.
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
            "--force-color-profile=srgb", "--disable-background-networking", "--disable-component-update",
            f"--user-data-dir={self.profile.name}",
        ):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        self.resize(width, height, telephone)
        if dark:
            self.prefer("color-scheme", "dark")
        self.open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()
        self.profile.cleanup()

    def cdp(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    # What a user does

    def open(self):
        self.driver.get(self.base + "/chat")
        self.await_page()

    def leave(self):
        self.driver.get("about:blank")

    def reload(self):
        self.driver.refresh()
        self.await_page()

    def await_page(self):
        wait_until("the page is there", lambda: self.shown("main:not([aria-busy]), #sign-in"))

    def resize(self, width, height, telephone=False):
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=telephone)

    def prefer(self, feature, value):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": f"prefers-{feature}", "value": value}])

    def disconnect(self, offline):
        self.cdp(
            "Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def ask(self, question):
        self.find("#question").send_keys(question, Keys.ENTER)

    def press(self, key):
        self.driver.switch_to.active_element.send_keys(key)

    def click(self, selector):
        self.find(selector).click()

    def screenshot(self, folder, name):
        self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    # What a user sees

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self, selector):
        return self.script(SHOWN + "return shown.length > 0", selector)

    def text(self, selector):
        """As it is shown, without empty lines; empty where nothing is."""
        shown = self.script(SHOWN + "return shown[0]?.innerText ?? ''", selector)
        return "\n".join(line for line in shown.splitlines() if line.strip())

    def turn(self, number, part):
        """The text of a part of the question with this number, from 1."""
        return self.text(f".turn:nth-child({number}) {part}")

    def last(self, part):
        return self.text(f".turn:last-child {part}")

    def answer(self, number=1):
        return self.turn(number, ".text")

    def said(self):
        """What a screen reader has said by itself since the page was loaded, but that an answer is being prepared."""
        return [text for text in self.script("return window.said") if text != "Sto preparando la risposta…"]

    def composed(self):
        """What is written and not sent."""
        return self.find("#question").get_attribute("value")

    def is_done(self, number=1):
        error = self.turn(number, ".outcome.is-error")
        assert not error, error
        return self.turn(number, ".meta") != ""

    def fetch(self, path):
        """What the server has for this user, as JSON."""
        return self.driver.execute_async_script(
            "fetch(arguments[0]).then((r) => r.json()).then(arguments[1], (e) => arguments[1](String(e)))", path)

    # What it is held to

    def expect_no_faults(self, expected=()):
        """No error on the console but those with one of these parts, nothing against the policy, no outside request."""
        faults = self.script("return window.faults")
        assert not faults, faults
        entries = self.driver.get_log("browser")
        errors = [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]
        unexpected = [error for error in errors if not any(part in error for part in expected)]
        assert not unexpected, unexpected
        here = urlsplit(self.base).netloc
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] != "Network.requestWillBeSent":
                continue
            address = message["params"]["request"]["url"]
            # Before the page, Chromium shows one of its own.
            is_inside = urlsplit(address).scheme in ("data", "chrome") or urlsplit(address).netloc == here
            assert is_inside, f"outside request: {address}"

    def expect_accessible(self):
        """What axe would look for: names, roles, headings, contrast, sizes, and that nothing is wider than the page."""
        problems = self.script(ACCESSIBILITY)
        problems += [f"{role} without a name" for role, name in self.controls() if not name]
        assert not problems, problems

    def controls(self):
        """Role and name of each control, as a screen reader has them."""
        roles = {"button", "textbox", "combobox", "link", "progressbar", "dialog", "main", "region"}
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        shown = [node for node in nodes if not node.get("ignored") and node["role"]["value"] in roles]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in shown]

    def expect_visible_focus(self):
        """By Tab alone, controls are reached, and each shows that it has the focus. Returns their names."""
        seen = []
        while True:
            webdriver.ActionChains(self.driver).send_keys(Keys.TAB).perform()
            name = self.script(FOCUSED)
            assert not name.startswith("invisible "), name
            if name in seen:
                return seen
            seen.append(name)


SHOWN = "const shown = [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility());"

FOCUSED = """
const element = document.activeElement;
if (element === document.body) return "body";
const name = element.id || element.className || element.localName;
const ring = (e) => getComputedStyle(e).outlineStyle !== "none" && parseFloat(getComputedStyle(e).outlineWidth) > 0;
const index = [...document.querySelectorAll("*")].indexOf(element);
return (ring(element) || ring(element.closest("form") ?? element) ? "" : "invisible ") + name + " " + index;
"""

ACCESSIBILITY = """
const problems = [];
const describe = (e) => `${e.localName}.${e.className || e.id} "${e.textContent.trim().slice(0, 40)}"`;
const isShown = (e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest(".visually-hidden");

const channels = (colour) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, bottom) => [0, 1, 2].map((i) => top[i] * top[3] + bottom[i] * (1 - top[3])).concat(1);
const ground = (e) => {
  if (!e) return [255, 255, 255, 1];
  const colour = channels(getComputedStyle(e).backgroundColor);
  return colour[3] === 1 ? colour : over(colour, ground(e.parentElement));
};
const luminance = (colour) => {
  const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const dialog = document.querySelector("dialog[open]");
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !isShown(element) || element.closest(":disabled")) continue;
  if (dialog && !dialog.contains(element)) continue;
  const style = getComputedStyle(element);
  const [size, bold] = [parseFloat(style.fontSize), parseInt(style.fontWeight) >= 700];
  const needed = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
  const behind = ground(element);
  const ratio = contrast(over(channels(style.color), behind), behind);
  if (ratio < needed) problems.push(`contrast ${ratio.toFixed(2)} of ${describe(element)}`);
}
// What tells a control from the page needs 3 to 1: its border or its ground.
for (const control of document.querySelectorAll(".composer, select, dialog input, dialog button, .retry, .send")) {
  if (!isShown(control) || control.disabled) continue;
  const around = ground(control.parentElement);
  const border = over(channels(getComputedStyle(control).borderTopColor), ground(control));
  const ratio = Math.max(contrast(border, around), contrast(ground(control), around));
  if (ratio < 3) problems.push(`contrast ${ratio.toFixed(2)} of the outline of ${describe(control)}`);
}
for (const control of document.querySelectorAll("button, select, textarea, input, [tabindex='0']")) {
  const { width, height } = control.getBoundingClientRect();
  if (isShown(control) && (width < 24 || height < 24)) problems.push(`${width}x${height}: ${describe(control)}`);
}
const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) problems.push(`id ${id} twice`);
for (const attribute of ["aria-labelledby", "aria-describedby", "for"]) {
  for (const element of document.querySelectorAll(`[${attribute}]`)) {
    const named = document.getElementById(element.getAttribute(attribute));
    if (!named) problems.push(`${attribute} of ${describe(element)}`);
  }
}
if (!document.documentElement.lang) problems.push("no language");
if (!document.title) problems.push("no title");
if (document.querySelectorAll("main").length !== 1) problems.push("not one main");
if (document.querySelectorAll("h1").length !== 1) problems.push("not one h1");
let level = 1;
for (const heading of document.querySelectorAll("h1, main h2, main h3, main h4, main h5, main h6")) {
  // Within an answer the order is the model's.
  if (!heading.checkVisibility() || heading.closest(".text")) continue;
  const next = Number(heading.localName[1]);
  if (next > level + 1) problems.push(`h${next} after h${level}: ${describe(heading)}`);
  level = next;
}
for (const bar of document.querySelectorAll("[role=progressbar]")) {
  if (!isShown(bar)) continue;
  const now = bar.getAttribute("aria-valuenow");
  if (now !== null && !(now >= 0 && now <= 100)) problems.push(`progress bar at ${now}`);
  if (!bar.getAttribute("aria-valuetext")) problems.push("progress bar without text");
}
const live = [...document.querySelectorAll("[aria-live]")];
if (live.some((e) => e.querySelector(".text") || e.getAttribute("aria-live") !== "polite")) problems.push("loud");
const { scrollWidth, clientWidth } = document.documentElement;
const scroller = document.getElementById("scroller");
if (scrollWidth > clientWidth) problems.push(`${scrollWidth} wide in ${clientWidth}`);
if (scroller.scrollWidth > scroller.clientWidth) problems.push(`conversation ${scroller.scrollWidth} wide`);
for (const element of document.querySelectorAll("body *")) {
  if (!isShown(element) || element.closest(".table, pre, svg, .progress")) continue;
  const { left, right } = element.getBoundingClientRect();
  if (left < -0.5 || right > clientWidth + 0.5) problems.push(`beyond the edge: ${describe(element)}`);
}
return problems;
"""
