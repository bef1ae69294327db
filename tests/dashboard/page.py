"""A page in headless Chromium, driven by the DevTools protocol over two pipes."""

import base64
import json
import os
import subprocess


class Page:
    def __init__(self, chromium, profile, width, height):
        read, self._to = os.pipe()
        self._from, write = os.pipe()
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--hide-scrollbars", f"--user-data-dir={profile}", f"--window-size={width},{height}",
            "--remote-debugging-pipe",
        ]
        # Chromium reads orders from descriptor 3 and writes answers to 4.
        place = f'exec "$@" 3<&{read} 4>&{write}'
        log = open(os.path.join(profile, "chromium.log"), "wb")
        self._process = subprocess.Popen(
            ["bash", "-c", place, "bash", chromium, *options], pass_fds=(read, write), stdout=log, stderr=log
        )
        os.close(read)
        os.close(write)
        self._buffer = b""
        self._last = 0
        self._session = None
        self.errors = []
        target = self.order("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.order(f"{domain}.enable")
        self.resize(width, height)

    def resize(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.order("Emulation.setDeviceMetricsOverride", **size)

    def order(self, method, **params):
        """Gives an order and waits for its answer. What goes wrong in the page meanwhile is kept in `errors`."""
        self._last += 1
        order = {"id": self._last, "method": method, "params": params}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._to, json.dumps(order).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _receive(self):
        while b"\0" not in self._buffer:
            piece = os.read(self._from, 1 << 16)
            if not piece:
                raise RuntimeError("Chromium has ended, see chromium.log in its profile")
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(f"console: {params['args']}")
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def evaluate(self, expression):
        """The value of an expression in the page; that of a promise once it is there."""
        answer = self.order("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, what, condition, seconds, shown="null"):
        """Waits until a condition holds in the page, and fails after so many seconds with what `shown` is then."""
        problem = self.evaluate(f"""new Promise((resolve) => {{
            const end = performance.now() + {seconds * 1000};
            const look = () => {{
                if ({condition}) resolve(null);
                else if (performance.now() > end) resolve(JSON.stringify({shown}) ?? "nothing");
                else setTimeout(look, 20);
            }};
            look();
        }})""")
        if problem is not None:
            raise AssertionError(f"{what}: not within {seconds} s; there is {problem}")

    def screenshot(self, path):
        """A picture of the whole page, however high it is."""
        width, height = self.evaluate("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        answer = self.order("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))

    def close(self):
        self._process.kill()
        self._process.wait()
