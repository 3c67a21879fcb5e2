"""The emulator of Postbox, the invented provider of the reference adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from syncd.emulators.emulator import Emulator
from syncd.wire import Request, Response


class PostboxEmulator(Emulator):
    """`lists`: people by lower-cased address by list. `page_size`: people on a page."""

    name = "postbox"

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0, hook: str = "") -> None:
        super().__init__(now, seed=seed)
        self.lists: dict[str, dict[str, dict[str, Any]]] = {}
        self.page_size = 2
        self.hook = hook
        self.told = 0

    def add_person(self, list_id: str, email: str, first: str = "", last: str = "", status: str = "on") -> None:
        place = self.lists.setdefault(list_id, {})
        person = {"id": f"{list_id}-{len(place) + 1}", "email": email, "first": first, "last": last, "status": status}
        place[email.lower()] = person
        self._tell(list_id, email)

    def leave(self, list_id: str, email: str) -> None:
        self.lists[list_id][email.lower()]["status"] = "off"
        self._tell(list_id, email)

    def is_write(self, request: Request) -> bool:
        return request.method == "PUT"

    def answer(self, request: Request) -> Response:
        url = urlsplit(request.url)
        asked, words = dict(parse_qsl(url.query)), [unquote(word) for word in url.path.split("/")[1:]]
        if request.headers.get("x-api-key") != "postbox-key":
            return _json(401, {"message": "no such key"})
        match request.method, words:
            case "GET", ["lists"]:
                return _json(200, {"lists": [{"id": name, "name": name.title()} for name in self.lists]})
            case "GET", ["lists", name, "people"] if name in self.lists:
                people = list(self.lists[name].values())
                if "email" in asked:
                    return _json(
                        200, {"people": [one for one in people if one["email"].lower() == asked["email"].lower()]}
                    )
                first = (int(asked["page"]) - 1) * self.page_size
                more = int(asked["page"]) + 1 if first + self.page_size < len(people) else None
                return _json(200, {"people": people[first : first + self.page_size], "next": more})
            case "PUT", ["lists", name, "people", email] if name in self.lists:
                body = json.loads(request.body)
                if email.lower() not in self.lists[name]:
                    if body.get("status") != "on":
                        return _json(404, {"message": f"{email} is not on the list"})
                    self.add_person(name, email)
                self.lists[name][email.lower()] |= body
                return _json(200, self.lists[name][email.lower()])
        return _json(404, {"message": "no such resource"})

    def _tell(self, list_id: str, email: str) -> None:
        if self.hook:
            self.told += 1
            body = json.dumps({"notice": str(self.told), "list": list_id, "email": email}).encode()
            self.outgoing.append(Request("POST", self.hook, {"x-postbox-secret": "postbox-hook"}, body))


def _json(status: int, value: object) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(value).encode())
