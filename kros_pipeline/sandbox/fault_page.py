"""A page on this machine with a button for each fault of the sandbox."""

from __future__ import annotations

import re
import threading
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from .faults import Fault
from .scenarios import SCENARIOS, Scenario, ScenarioRefused, merge_faults, move_away

if TYPE_CHECKING:
    from .sandbox import Sandbox

_MAX_FORM_BYTES = 1_000
_CODE = re.compile("`([^`]+)`")
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Faults of the sandbox</title>
<style>body{font:15px/1.5 sans-serif;margin:2em;max-width:80em}table{border-collapse:collapse}
td,th{border-bottom:1px solid #ccc;padding:.4em .8em;text-align:left;vertical-align:top}
.on{background:#fde2e0}button{white-space:nowrap}p.done{background:#eef;padding:.5em}</style>
<h1>Faults of the sandbox</h1>
<p>Switch a fault on, see it in Dagster's UI, find its section in the runbook, and mend it. Nothing here reaches
anything but the sandbox.</p>"""


class FaultPage:
    """Serves the page, until `stop`, and remembers which switches are on."""

    def __init__(self, sandbox: Sandbox, port: int) -> None:
        self._sandbox, self._is_on = sandbox, dict.fromkeys((scenario.name for scenario in SCENARIOS), False)
        self._lasting: dict[str, Fault] = {}
        self._movable: dict[str, str] = {}  # by scenario, the object that its button moves away
        self._changing = threading.Lock()
        self._done = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _make_handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> FaultPage:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Return the page's URL."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def toggle(self, name: str) -> None:
        """Switch a fault on or off, or do what an action does. Raises KeyError for an unknown name."""
        scenario = {scenario.name: scenario for scenario in SCENARIOS}[name]
        with self._changing:
            if scenario.act is None:
                self._is_on[name] = not self._is_on[name]
                self._done = f"{name} is {'on' if self._is_on[name] else 'off'}."
            elif name in self._movable:
                self._done = move_away(self._sandbox, self._movable.pop(name))
            else:
                try:
                    done = scenario.act(self._sandbox)
                except ScenarioRefused as error:
                    self._done = str(error)
                    return
                self._lasting |= done.faults
                self._done = done.text
                if done.key:
                    self._movable[name] = done.key
            are_on = [one.faults for one in SCENARIOS if self._is_on[one.name]]
            self._sandbox.krosai.set_faults(merge_faults([self._lasting, *are_on]))

    def render(self) -> str:
        """Return the page in HTML."""
        rows = "".join(self._render_row(scenario) for scenario in SCENARIOS)
        done = f'<p class="done">{escape(self._done)}</p>' if self._done else ""
        head = "<tr><th>fault<th>what happens<th>turns red<th>how to see it<th>how it gets green again<th></tr>"
        return f"{_HEAD}{done}<table>{head}{rows}</table></html>"

    def _render_row(self, scenario: Scenario) -> str:
        is_on = self._is_on[scenario.name] or scenario.name in self._movable
        labels = ("switch on", "switch off") if scenario.act is None else ("do it", "move it away")
        label = labels[is_on]
        texts = (scenario.name, scenario.happens, scenario.turns_red, scenario.see_it, scenario.mend_it)
        cells = "".join("<td>" + _CODE.sub(r"<code>\1</code>", escape(text)) for text in texts)
        button = f'<button name="fault" value="{escape(scenario.name)}">{label}</button>'
        return f'<tr class="{"on" if is_on else ""}">{cells}<td><form method="post" action="/">{button}</form></tr>'


def _make_handler(page: FaultPage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Show the page."""
            if self._is_ours():
                self._answer(HTTPStatus.OK, page.render())

        def do_POST(self) -> None:
            """Toggle the fault that the form names, and show the page again."""
            if not self._is_ours():
                return
            length = min(int(self.headers.get("Content-Length") or 0), _MAX_FORM_BYTES)
            [name] = parse_qs(self.rfile.read(length).decode(errors="replace")).get("fault", [""])[:1]
            try:
                page.toggle(name)
            except KeyError:
                self._answer(HTTPStatus.NOT_FOUND, "There is no such fault.")
                return
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", "/")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Log nothing: the terminal is Dagster's."""

        def _is_ours(self) -> bool:
            """Refuse what another site sends: its pages can post to this machine, too."""
            own = page.address.removesuffix("/")
            origin = self.headers.get("Origin")
            if f"http://{self.headers.get('Host')}" == own and origin in (None, own) and self.path == "/":
                return True
            self._answer(HTTPStatus.FORBIDDEN, f"Open {page.address}")
            return False

        def _answer(self, status: HTTPStatus, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
