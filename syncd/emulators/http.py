"""A CRM that takes subscribers by HTTP, as strict about its own shape as those that people run.

It has one call for a subscriber, the same one for tests, and one for an unsubscribe. What it asks for is set by its
switches: methods, encoding, credentials, names of parameters; anything else is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit
from xml.etree.ElementTree import Element, ParseError, fromstring

from syncd.emulators.emulator import Emulator
from syncd.wire import Request, Response

DELIVER = "/subscribers"
TEST = "/test/subscribers"
UNSUBSCRIBE = "/unsubscribes"

BODILESS = frozenset({"GET", "DELETE"})
"""Methods whose parameters are in the query."""

TYPES = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain",
    "xml": "application/xml",
}

Proof = Mapping[str, str]
"""Headers that must come with every call, names in lower case."""


def basic(username: str, password: str) -> Proof:
    return {"authorization": f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"}


class HttpEmulator(Emulator):
    """One receiver. Public attributes are its state and its switches."""

    name = "http"
    places: ClassVar[Mapping[str, str]] = {DELIVER: "{endpoint}", TEST: "{test_endpoint}", UNSUBSCRIBE: "{unsubscribe}"}
    """What the configuration of a connection calls the paths."""

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        seed: int = 0,
        base_url: str = "http://127.0.0.1:8705",
        proof: Proof | None = None,
    ) -> None:
        super().__init__(now, seed=seed)
        self.base_url = base_url.rstrip("/")
        self.proof: Proof = {"x-api-key": "http-key"} if proof is None else proof

        self.subscribers: dict[str, dict[str, str]] = {}
        """Address in lower case -> the record as it came the last time."""
        self.deliveries: list[dict[str, str]] = []
        """Every record that was taken, also where it was there already and nobody noticed."""
        self.tests: list[dict[str, str]] = []
        self.unsubscribed: dict[str, datetime] = {}
        """Told of a "no" by us."""

        self.method = "POST"
        self.unsubscribe_method = "POST"
        self.encoding: Literal["json", "form", "text", "xml"] = "json"
        self.xml_root = "lead"
        self.address = "email"
        """What it calls the address: a path with dots where parameters are nested."""
        self.known = {"email", "first_name", "last_name", "phone", "country", "list", "source", "test"}
        """The parameters that it knows; any other is refused."""
        self.required = {"email"}
        self.deduplicates = True
        self.says_by_body = False  # answers 200 to everything, and tells in the body what became of it
        self.unwanted: set[str] = set()
        """Addresses that it will not have."""

    @property
    def renames(self) -> bool:
        """Whether it calls the parameters otherwise than a connection does where nothing is configured."""
        return self.address != "email"

    def is_write(self, request: Request) -> bool:
        return urlsplit(request.url).path in {DELIVER, UNSUBSCRIBE}

    def answer(self, request: Request) -> Response:
        path = urlsplit(request.url).path
        if path not in {DELIVER, TEST, UNSUBSCRIBE}:
            return _told(404, "no such path")
        if request.method != (self.unsubscribe_method if path == UNSUBSCRIBE else self.method):
            return _told(405, "this method is not taken here")
        headers = {name.lower(): value for name, value in request.headers.items()}
        if any(headers.get(name) != value for name, value in self.proof.items()):
            return _told(401, "who are you?")
        if request.method not in BODILESS and headers.get("content-type", "").partition(";")[0] != TYPES[self.encoding]:
            return _told(415, f"send {TYPES[self.encoding]}")
        try:
            record = self._read(request)
        except (ValueError, ParseError):
            return _told(400, "the body cannot be read")
        if path == UNSUBSCRIBE:
            return self._unsubscribe(record)
        if (fault := self._fault_of(record)) is not None:
            return self._rejected(fault)
        if path == TEST:
            self.tests.append(record)
            return self._said(201, "created")
        return self._deliver(record)

    def _deliver(self, record: dict[str, str]) -> Response:
        person = record[self.address].lower()
        if person in self.subscribers and self.deduplicates:
            return self._said(409, "duplicate")
        self.subscribers[person] = record
        self.deliveries.append(record)
        return self._said(201, "created")

    def _unsubscribe(self, record: dict[str, str]) -> Response:
        person = record.get(self.address, "").lower()
        if set(record) - self.known or "@" not in person:
            return self._rejected("name one address")
        if person not in self.subscribers:
            return self._rejected("nobody of that address")
        self.unsubscribed.setdefault(person, self.now())
        return self._said(200, "unsubscribed")

    def _fault_of(self, record: Mapping[str, str]) -> str | None:
        if unknown := set(record) - self.known:
            return f"unknown: {', '.join(sorted(unknown))}"
        if missing := [name for name in sorted(self.required) if not record.get(name, "").strip()]:
            return f"missing: {', '.join(missing)}"
        if record[self.address].lower() in self.unwanted:
            return "not wanted here"
        return None

    def _said(self, status: int, word: str) -> Response:
        body = {"status": word, "id": str(len(self.deliveries))}
        return Response(200 if self.says_by_body else status, _JSON, json.dumps(body).encode())

    def _rejected(self, why: str) -> Response:
        body = {"status": "rejected", "error": why}
        return Response(200 if self.says_by_body else 422, _JSON, json.dumps(body).encode())

    # --- What came, as one map of dotted names to text ---------------------------------------------------------------

    def _read(self, request: Request) -> dict[str, str]:
        if request.method in BODILESS:
            if request.body:
                raise ValueError("a body that nobody reads")
            return _once(iter(parse_qsl(urlsplit(request.url).query, keep_blank_values=True, strict_parsing=True)))
        text = request.body.decode()
        match self.encoding:
            case "json":
                return _once(_of_json(json.loads(text, object_pairs_hook=_members)))
            case "form":
                return _once(iter(parse_qsl(text, keep_blank_values=True, strict_parsing=True)))
            case "text":
                return _once(_of_line(line) for line in text.removesuffix("\n").split("\n"))
            case "xml":
                root = fromstring(text)  # noqa: S314 - what we wrote ourselves
                if root.tag != self.xml_root:
                    raise ValueError("another document")
                return _once(_of_xml(root))


_JSON = {"content-type": "application/json"}


def _told(status: int, message: str) -> Response:
    return Response(status, _JSON, json.dumps({"error": message}).encode())


def _once(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    record: dict[str, str] = {}
    for name, value in pairs:
        if name in record:
            raise ValueError("a name occurs twice")
        record[name] = value
    return record


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _of_json(value: object, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _of_json(inner, f"{at}.{name}" if at else name)
    elif at and isinstance(value, str | int | float):
        yield at, value if isinstance(value, str) else json.dumps(value)
    else:
        raise ValueError("neither text nor a map")


def _of_line(line: str) -> tuple[str, str]:
    name, sign, value = line.partition("=")
    if not sign or not name.strip() or len(line.splitlines()) > 1:
        raise ValueError("not name=value")
    return name, value


def _of_xml(element: Element, at: str = "") -> Iterator[tuple[str, str]]:
    if element.attrib:
        raise ValueError("no attribute is known here")
    for child in element:
        name = f"{at}.{child.tag}" if at else child.tag
        if len(child):
            yield from _of_xml(child, name)
        else:
            yield name, child.text or ""
