"""A real headless Chromium, spoken to through a pipe by its DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def program():
    """Where Chromium is.  The test that asks is skipped where there is none."""
    for name in NAMES:
        if shutil.which(name):
            return shutil.which(name)
    pytest.skip("no Chromium here: apt-get install chromium")


class Browser:
    """One page.  events: [(method, parameters)] of all that it has told."""

    def __init__(self, folder):
        """folder: for its profile."""
        here, self.commands = os.pipe()
        self.answers, there = os.pipe()

        def connect():  # the protocol's descriptors are 3 and 4
            ends = os.dup(here), os.dup(there)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.process = subprocess.Popen(
            [program(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={folder}", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--hide-scrollbars"],
            preexec_fn=connect, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(here)
        os.close(there)
        self.rest, self.number, self.events, self.session = b"", 0, [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        found = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self.session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self):
        """Ends it."""
        self.process.kill()
        self.process.wait()
        os.close(self.commands)
        os.close(self.answers)

    def ask(self, method, **parameters):
        """What the browser answers to a command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.hear()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def hear(self):
        """The next message; an event is kept as well."""
        while b"\0" not in self.rest:
            part = os.read(self.answers, 1 << 20)
            assert part, "the browser has ended"
            self.rest += part
        text, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append((message["method"], message.get("params", {})))
        return message

    def open(self, path, drawn=True):
        """Loads a file.  drawn: waits until the page's script has drawn its pictures."""
        self.events.clear()
        self.ask("Page.navigate", url=f"file://{path}")
        while not self.told("Page.loadEventFired"):
            self.hear()
        if drawn:
            self.run("""new Promise((done) => { const look = () =>
                document.documentElement.dataset.drawn ? done(0) : setTimeout(look, 20); look(); })
            """)

    def told(self, method):
        """The parameters of all events of a kind."""
        return [parameters for name, parameters in self.events if name == method]

    def run(self, script):
        """The value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True,
                          returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, text=""):
        """A key, down and up."""
        code = {"Tab": 9, " ": 32, "Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown"
                     else "", windowsVirtualKeyCode=code)

    def complaints(self):
        """What the console was told, by the page or about it."""
        return (self.told("Runtime.consoleAPICalled") + self.told("Runtime.exceptionThrown")
                + [entry["entry"] for entry in self.told("Log.entryAdded")])

    def requests(self):
        """The addresses that the page asked for."""
        return [one["request"]["url"] for one in self.told("Network.requestWillBeSent")]

    def media(self, scheme="light", kind="screen", width=1280, height=1000):
        """Sets what the page is shown on."""
        self.ask("Emulation.setEmulatedMedia", media=kind,
                 features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=False,
                 deviceScaleFactor=1)

    def picture(self, path):
        """Writes the whole page as PNG."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
