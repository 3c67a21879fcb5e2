"""Sales.Rocks as its page describes it (docs.sales.rocks): a login, editable lists free of schema, campaign figures.

POST and JSON only. No unsubscribe, no search by address, no webhook, no total and no limit stated for a page. What the
page leaves open (which token key, which status for an expired token, which ids a data call takes) is a switch.
"""

from __future__ import annotations

import base64
import json
import string
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

import msgspec

from syncd.emulators.emulator import Emulator
from syncd.emulators.salesrocks_services import RefusalError, Services, body
from syncd.wire import Request, Response

JSON = {"content-type": "application/json"}
TOKEN_LIFETIME_S = 3600
MINUTE = timedelta(minutes=1)
WRITES = frozenset({"createList", "addToList", "deleteListData", "updateListData"})
COUNTERS = ("to_send", "sent", "total_scheduled", "opened", "clicked", "replied", "bounced", "opted_out")
CALLS = {
    "/auth/accessToken": (body("username password"), "_access_token"),
    "/search/getListNameAndIds": (body("email"), "_get_list_name_and_ids"),
    "/drip-campaign/getCampaignStatistics": (body("campaign_id"), "_get_campaign_statistics"),
    "/editable-lists/createList": (body("list_name permission"), "_create_list"),
    "/editable-lists/addToList": (body("list_id data"), "_add_to_list"),
    "/editable-lists/getLists": (body("", "page size"), "_get_lists"),
    "/editable-lists/getListData": (body("list_id", "page size"), "_get_list_data"),
    "/editable-lists/getContact": (body("_id"), "_get_contact"),
    "/editable-lists/deleteListData": (body("ids"), "_delete_list_data"),
    "/editable-lists/updateListData": (body("data"), "_update_list_data"),
}
"""Path -> what a body must hold, and which of the methods below answers."""
PERMISSIONS = {"personal": "private", "private": "private", "company": "company"}  # in at createList, out at getLists


@dataclass(slots=True)
class EditableList:
    """One list under its three names. `contacts` holds the rows by id, in the order in which they came."""

    uuid: str
    id: str
    list_id: str
    name: str
    permissions: str
    created_at: datetime
    updated_at: datetime
    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Campaign:
    id: str
    name: str
    lists: tuple[str, ...]
    status: str
    created_at: datetime
    stats: dict[str, int]


@dataclass(slots=True)
class _Past:
    """How a contact was before a change, for reads that lag."""

    at: datetime
    list_uuid: str
    oid: str
    row: dict[str, Any] | None


class SalesRocksEmulator(Emulator):
    """State is in `lists`, `campaigns` and `services`; the switches below may be turned at any time."""

    name = "salesrocks"

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        seed: int = 0,
        base_url: str = "http://127.0.0.1:8702",
        username: str = "sales@example.org",
        password: str = "sales-secret",  # noqa: S107  # of a pretend account
    ) -> None:
        super().__init__(now, seed=seed)
        self.base_url = base_url.rstrip("/")
        self.username = username
        self.password = password
        self.lists: dict[str, EditableList] = {}
        self.campaigns: dict[str, Campaign] = {}
        self.tokens: dict[str, datetime] = {}
        self.token_key: Literal["access_token", "AccessToken", "both"] = "access_token"
        self.expires_as: Literal["number", "string"] = "number"
        self.expired_status: Literal[401, 403] = 401
        self.accept_list_id = False  # data calls take the 12-character id of createList too
        self.row_list_id: Literal["uuid", "list_id"] = "uuid"  # which id a contact carries
        self.page_size_max: int | None = None  # larger sizes are cut in silence
        self.skips_asked_size = False  # a cut page is cut after skipping by the size that was asked, not before
        self.batch_max: int | None = None  # more rows in one call are refused
        self.insert_limit: int | None = None  # addToList takes so many of a batch and answers 200
        self.calls_per_minute: int | None = None  # more are answered 429, without Retry-After
        self.missing_contact: Literal["404", "200", "null"] = "404"  # how getContact says that there is none
        self.errors_in_200 = False  # the envelope of an error comes with HTTP 200
        self.finds_by_owner = False  # getListNameAndIds knows the account's own address only
        self.keeps_case = False  # a value that differs in case alone is answered as matched, and stays as it was
        self.updated_moves = True  # updated_at of a list follows its contacts
        self.zone: tzinfo = UTC  # of times that name none
        self.services = Services(now, self.rng, self._local)  # with switches of its own
        self.stale_for_s = 0.0  # reads of contacts show how things stood so long ago
        self._others = self.services.calls
        self._home: dict[str, str] = {}  # contact id -> uuid of its list
        self._pages: dict[str, list[tuple[str, dict[str, Any]]]] = {}  # rows in order, until the list changes
        self._past: deque[_Past] = deque()
        self._recent: deque[datetime] = deque()

    # -- what people and the operator do there ----------------------------------------------------------------------

    def add_list(self, name: str, uuid: str | None = None, *, permissions: str = "private") -> str:
        mixed, lower = string.ascii_letters + string.digits + "_-", string.ascii_lowercase + string.digits
        at = self.now()
        entry = EditableList(
            uuid=uuid or self._word(mixed, 20),
            id=str(26454 + 6 * len(self.lists)),
            list_id=self._word(lower, 12),
            name=name,
            permissions=permissions,
            created_at=at,
            updated_at=at,
        )
        self.lists[entry.uuid] = entry
        return entry.uuid

    def add_contact(self, list_uuid: str, email: str, name: str | None = None, **fields: Any) -> str:
        """A new contact, even if the address is there already; returns its id."""
        return self._insert(self.lists[list_uuid], ({} if name is None else {"name": name}) | {"email": email} | fields)

    def remove_contact(self, list_uuid: str, email: str) -> int:
        """Take everybody with this address off the list; returns how many there were."""
        gone = [oid for oid, row in self.lists[list_uuid].contacts.items() if _same(row.get("email"), email)]
        for oid in gone:
            self._delete(oid)
        return len(gone)

    def set_field(self, list_uuid: str, email: str, field: str, value: Any) -> int:
        """Set a member of everybody with this address on the list; returns how many there are."""
        found = [oid for oid, row in self.lists[list_uuid].contacts.items() if _same(row.get("email"), email)]
        for oid in found:
            self._merge(oid, {field: value})
        return len(found)

    def add_campaign(self, name: str, list_uuids: list[str] | tuple[str, ...], **stats: Any) -> str:
        """A campaign over these lists; returns its id. `stats`: counters, and `status`."""
        number = str(582 + len(self.campaigns))
        status = str(stats.pop("status", "active"))
        self.campaigns[number] = Campaign(number, name, tuple(list_uuids), status, self.now(), stats)
        return number

    def contacts_of(self, list_uuid: str) -> list[dict[str, Any]]:
        """The rows of a list as a read shows them, now."""
        entry = self.lists[list_uuid]
        return [self._shown(oid, row, entry) for oid, row in entry.contacts.items()]

    def revoke_tokens(self) -> None:
        self.tokens.clear()

    # -- the service ------------------------------------------------------------------------------------------------

    def is_write(self, request: Request) -> bool:
        return self._path(request).rpartition("/")[2] in WRITES

    def answer(self, request: Request) -> Response:
        try:
            found = self._dispatch(request)
        except RefusalError as refusal:
            error = {"error": {"status_code": refusal.status, "message": refusal.message}}
            return Response(200 if self.errors_in_200 else refusal.status, JSON, msgspec.json.encode(error))
        return Response(200, JSON, msgspec.json.encode(found))

    def _dispatch(self, request: Request) -> Any:
        path = self._path(request)
        if path not in CALLS and path not in self._others:
            raise RefusalError(404, "Not found")
        if request.method != "POST":
            raise RefusalError(405, "Method not allowed")
        self._count_call()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusalError(400, "Content-Type must be application/json")
        if not path.startswith("/auth/"):
            self._authorise(headers.get("authorization", ""))
        try:
            asked = json.loads(request.body)
        except ValueError:
            raise RefusalError(400, "Invalid request body") from None
        if asked == [] and path.endswith("/getLists"):
            asked = {}  # a public client (Advanced Form Integration) asks so
        if not isinstance(asked, dict):
            raise RefusalError(400, "Invalid request body")
        if path in self._others:
            members, call = self._others[path]
        else:
            members, call = CALLS[path][0], getattr(self, CALLS[path][1])
        members.check(asked)
        return call(asked)

    def _path(self, request: Request) -> str:
        path = "/" + request.url.partition("://")[2].partition("/")[2].partition("?")[0]
        prefix = self.base_url.partition("://")[2].partition("/")[2]
        return path.removeprefix(f"/{prefix}") if prefix else path

    def _count_call(self) -> None:
        if self.calls_per_minute is None:
            return
        now = self.now()
        while self._recent and now - self._recent[0] >= MINUTE:
            self._recent.popleft()
        if len(self._recent) >= self.calls_per_minute:
            raise RefusalError(429, "Too many requests")
        self._recent.append(now)

    def _authorise(self, header: str) -> None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise RefusalError(401, "No valid API key provided")
        until = self.tokens.get(token)
        if until is None or self.now() >= until:
            raise RefusalError(self.expired_status, "The token is expired or invalid")

    # -- its calls --------------------------------------------------------------------------------------------------

    def _access_token(self, asked: dict[str, Any]) -> Any:
        if not all(isinstance(asked.get(name), str) for name in ("username", "password")):
            raise RefusalError(400, "username and password are required")
        if (asked["username"], asked["password"]) != (self.username, self.password):
            raise RefusalError(401, "Wrong username or password")
        at = self.now()
        claims = {"iat": int(at.timestamp()), "exp": int(at.timestamp()) + TOKEN_LIFETIME_S}
        parts = [
            msgspec.json.encode({"alg": "HS256", "typ": "JWT"}),
            msgspec.json.encode(claims),
            self.rng.randbytes(32),
        ]
        token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
        self.tokens[token] = at + timedelta(seconds=TOKEN_LIFETIME_S)
        keys = ("access_token", "AccessToken") if self.token_key == "both" else (self.token_key,)
        lifetime = TOKEN_LIFETIME_S if self.expires_as == "number" else str(TOKEN_LIFETIME_S)
        return dict.fromkeys(keys, token) | {"token_type": "Bearer", "expires_in": lifetime}

    def _get_list_name_and_ids(self, asked: dict[str, Any]) -> Any:
        email = asked.get("email")
        if not isinstance(email, str) or "@" not in email:
            raise RefusalError(400, "email is required")
        if self.finds_by_owner:
            found = list(self.lists.values()) if _same(email, self.username) else []
        else:
            found = [entry for entry in self.lists.values() if self._holds(entry, email)]
        return [
            {
                "id": int(entry.id),
                "list_name": entry.name,
                "date_of_creation": self._local(entry.created_at),
                "campaigns": [
                    {"id": int(c.id), "name": c.name} for c in self.campaigns.values() if entry.uuid in c.lists
                ],
            }
            for entry in found
        ]

    def _get_campaign_statistics(self, asked: dict[str, Any]) -> Any:
        number = asked.get("campaign_id")
        if isinstance(number, bool) or not isinstance(number, (int, str)):
            raise RefusalError(400, "campaign_id is required")
        campaign = self.campaigns.get(str(number))
        if campaign is None:
            raise RefusalError(404, "Campaign not found")
        data = {
            "campaign_name": campaign.name,
            "campaign_status": campaign.status,
            "sender_email": self.username,
            **dict.fromkeys(COUNTERS, 0),
            **campaign.stats,
            "campaign_created_at": self._local(campaign.created_at),
        }
        return {"status_code": 200, "data": data}

    def _create_list(self, asked: dict[str, Any]) -> Any:
        name, permission = asked.get("list_name"), asked.get("permission")
        if not isinstance(name, str) or not name.strip():
            raise RefusalError(400, "list_name is required")
        if not isinstance(permission, str) or permission not in PERMISSIONS:
            raise RefusalError(400, "permission must be personal or company")
        uuid = self.add_list(name, permissions=PERMISSIONS[permission])
        return _success("List created successfully.", list_id=self.lists[uuid].list_id)

    def _add_to_list(self, asked: dict[str, Any]) -> Any:
        entry = self._list_of(asked)
        rows = self._batch(asked.get("data"), "data")
        if not all(isinstance(row, dict) and row for row in rows):
            raise RefusalError(400, "data must be a list of objects")
        ids = [self._insert(entry, row) for row in rows[: self.insert_limit]]
        return _success(f"Inserted {len(ids)} documents.", ids=[{"$oid": oid} for oid in ids])

    def _get_lists(self, asked: dict[str, Any]) -> Any:
        first, end = self._window(asked)
        data = [
            {
                "id": entry.id,
                "user_id": "634",
                "company_id": "333",
                "uuid": entry.uuid,
                "type": "editable",
                "name": entry.name,
                "permissions": entry.permissions,
                "created_at": self._local(entry.created_at),
                "updated_at": self._local(entry.updated_at),
            }
            for entry in list(self.lists.values())[first:end]
        ]
        return _success("Lists were successfully read.", data=data)

    def _get_list_data(self, asked: dict[str, Any]) -> Any:
        entry = self._list_of(asked)
        first, end = self._window(asked)
        rows = self._rows(entry)[first:end]
        return _success("List data was successfully read.", data=[self._shown(oid, row, entry) for oid, row in rows])

    def _get_contact(self, asked: dict[str, Any]) -> Any:
        oid = asked.get("_id")
        if not isinstance(oid, str) or not oid:
            raise RefusalError(400, "_id is required")
        uuid = self._home.get(oid)
        places = [self.lists[uuid]] if uuid and not self.stale_for_s else self.lists.values()
        data = next((self._shown(oid, at[oid], e) for e in places if oid in (at := self._standing(e))), None)
        if data is None and self.missing_contact != "null":
            # "200" is the envelope of an error under HTTP 200, whatever other errors come under.
            if self.missing_contact == "200":
                return {"error": {"status_code": 404, "message": "Contact not found"}}
            raise RefusalError(404, "Contact not found")
        # The message is that of getListData (docs.sales.rocks, Get Contact).
        return _success("List data was successfully read.", data=data)

    def _delete_list_data(self, asked: dict[str, Any]) -> Any:
        ids = self._batch(asked.get("ids"), "ids")
        if not all(isinstance(oid, str) for oid in ids):
            raise RefusalError(400, "ids must be a list of strings")
        deleted = sum(self._delete(oid) for oid in ids)
        return _success(f"Successfully deleted {deleted} documents.")

    def _update_list_data(self, asked: dict[str, Any]) -> Any:
        rows = self._batch(asked.get("data"), "data")
        if not all(isinstance(row, dict) and isinstance(row.get("_id"), str) for row in rows):
            raise RefusalError(400, "every object needs an _id")
        if any("list_id" in row for row in rows):
            raise RefusalError(400, "list_id cannot be changed")
        changed = [self._merge(row["_id"], row) for row in rows if row["_id"] in self._home]
        return _success(f"{len(changed)} matched and {sum(changed)} modified documents.")

    # -- what is asked for ------------------------------------------------------------------------------------------

    def _list_of(self, asked: dict[str, Any]) -> EditableList:
        wanted = asked.get("list_id")
        if not isinstance(wanted, str):
            raise RefusalError(400, "list_id is required")
        if wanted in self.lists:
            return self.lists[wanted]
        if self.accept_list_id:
            for entry in self.lists.values():
                if entry.list_id == wanted:
                    return entry
        raise RefusalError(404, "List not found")

    def _batch(self, rows: Any, name: str) -> list[Any]:
        if not isinstance(rows, list) or not rows:
            raise RefusalError(400, f"{name} must be a list that is not empty")
        if self.batch_max is not None and len(rows) > self.batch_max:
            raise RefusalError(400, f"{name} holds more than {self.batch_max} items")
        return rows

    def _window(self, asked: dict[str, Any]) -> tuple[int, int]:
        page, wanted = asked.get("page", 1), asked.get("size", 100)
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in (page, wanted)):
            raise RefusalError(400, "page and size must be positive integers")
        size = wanted if self.page_size_max is None else min(wanted, self.page_size_max)
        first = (page - 1) * (wanted if self.skips_asked_size else size)
        return first, first + size

    # -- contacts ---------------------------------------------------------------------------------------------------

    def _insert(self, entry: EditableList, row: Mapping[str, Any]) -> str:
        stamp = int(self.now().timestamp()) & 0xFFFFFFFF
        oid = f"{stamp:08x}{self.rng.getrandbits(40):010x}{len(self._home) & 0xFFFFFF:06x}"
        self._changing(entry, oid)
        entry.contacts[oid] = {member: value for member, value in row.items() if member not in {"_id", "list_id"}}
        self._home[oid] = entry.uuid
        return oid

    def _delete(self, oid: str) -> bool:
        uuid = self._home.pop(oid, None)
        if uuid is None:
            return False
        self._changing(self.lists[uuid], oid)
        del self.lists[uuid].contacts[oid]
        return True

    def _merge(self, oid: str, members: Mapping[str, Any]) -> bool:
        """Set members, leave the others; whether anything changed."""
        entry = self.lists[self._home[oid]]
        row = entry.contacts[oid]
        after = row | {
            member: value
            for member, value in members.items()
            if member != "_id" and not (self.keeps_case and _same(row.get(member), str(value)))
        }
        if after == row:
            return False
        self._changing(entry, oid)
        entry.contacts[oid] = after
        return True

    def _changing(self, entry: EditableList, oid: str) -> None:
        self._pages.pop(entry.uuid, None)
        if self.updated_moves:
            entry.updated_at = self.now()
        if self.stale_for_s:
            self._past.append(_Past(self.now(), entry.uuid, oid, entry.contacts.get(oid)))

    def _standing(self, entry: EditableList) -> dict[str, dict[str, Any]]:
        """The contacts of a list as a read sees them: as they are, or as they were `stale_for_s` ago."""
        if not self.stale_for_s:
            return entry.contacts
        horizon = self.now() - timedelta(seconds=self.stale_for_s)
        while self._past and self._past[0].at <= horizon:
            self._past.popleft()
        contacts = dict(entry.contacts)
        for past in reversed(self._past):
            if past.list_uuid == entry.uuid:
                contacts.pop(past.oid, None)
                if past.row is not None:
                    contacts[past.oid] = past.row
        return contacts

    def _rows(self, entry: EditableList) -> list[tuple[str, dict[str, Any]]]:
        """In order. Built once between two changes: a walk over 100,000 contacts must not build it for every page."""
        if self.stale_for_s:
            return list(self._standing(entry).items())
        if entry.uuid not in self._pages:
            self._pages[entry.uuid] = list(entry.contacts.items())
        return self._pages[entry.uuid]

    def _shown(self, oid: str, row: dict[str, Any], entry: EditableList) -> dict[str, Any]:
        place = entry.uuid if self.row_list_id == "uuid" else entry.list_id
        return {"_id": {"$oid": oid}, **row, "list_id": place}

    def _holds(self, entry: EditableList, email: str) -> bool:
        return any(_same(row.get("email"), email) for row in self._standing(entry).values())

    def _local(self, at: datetime) -> str:
        return at.astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S")

    def _word(self, letters: str, length: int) -> str:
        return "".join(self.rng.choices(letters, k=length))


def _success(message: str, **members: Any) -> dict[str, Any]:
    return {"status": "success", "status_code": 200, "message": message, **members}


def _same(one: Any, other: str) -> bool:
    return isinstance(one, str) and one.strip().lower() == other.strip().lower()
