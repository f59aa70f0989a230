"""A headless Chromium, driven over the WebDriver protocol (W3C) by Debian's chromedriver.

    with Browser(directory) as browser:
        browser.open(url)
        browser.wait("document.querySelector('h1')", "there is a title")
        browser.click("button")
"""

import base64

import requests
from daemons import Daemon, free_port, wait_until

ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--no-first-run", "--no-default-browser-check",
    "--window-size=1280,1000", "--proxy-server=direct://", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


class Browser:
    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.port = free_port()
        self.daemon = Daemon("chromedriver", directory / "chromedriver")
        self.session = None
        self.http = requests.Session()
        self.http.trust_env = False

    def __enter__(self):
        self.daemon.launch(["chromedriver", f"--port={self.port}"], cwd=self.directory)
        self.daemon.wait_ready(self._is_ready, "is ready")
        arguments = [*ARGUMENTS, f"--user-data-dir={self.directory / 'profile'}"]
        options = {"goog:chromeOptions": {"args": arguments, "binary": "/usr/bin/chromium"}}
        options["goog:loggingPrefs"] = {"browser": "ALL"}
        body = {"capabilities": {"alwaysMatch": options}}
        self.session = self._call("POST", "/session", body)["sessionId"]
        return self

    def __exit__(self, *failure):
        try:
            self._call("DELETE", f"/session/{self.session}")
        finally:
            self.daemon.end()

    def _is_ready(self):
        try:
            url = f"http://127.0.0.1:{self.port}/status"
            return self.http.get(url, timeout=5).json()["value"]["ready"]
        except requests.ConnectionError:
            return False

    def _call(self, method, path, body=None):
        url = f"http://127.0.0.1:{self.port}{path}"
        answer = self.http.request(method, url, json=body, timeout=60)
        value = answer.json()["value"]
        assert answer.ok, f"{method} {path}: {value}\n{self.daemon.output()}"
        return value

    def _in_session(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self._in_session("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """The value of a JavaScript expression; arguments[0] and so on are given."""
        body = {"script": f"return ({script})", "args": list(arguments)}
        return self._in_session("POST", "/execute/sync", body)

    def wait(self, script, what, *arguments):
        return wait_until(lambda: self.run(script, *arguments), what, seconds=30)

    def _find(self, selector):
        body = {"using": "css selector", "value": selector}
        return next(iter(self._in_session("POST", "/element", body).values()))

    def click(self, selector):
        """As a person does: fails when it cannot be seen or something covers it."""
        self._in_session("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector, text):
        element = self._find(selector)
        self._in_session("POST", f"/element/{element}/clear", {})
        self._in_session("POST", f"/element/{element}/value", {"text": text})

    def complaints(self):
        """What the console has said since it was last asked."""
        log = self._in_session("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._in_session("GET", "/screenshot")))
