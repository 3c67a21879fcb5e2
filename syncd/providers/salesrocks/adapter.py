"""Sales.Rocks: editable lists, read whole page by page and written in batches; drip campaigns, found through contacts.

Every call is a POST with a JSON body (docs.sales.rocks, Requests). There is no unsubscribe call: a no is written by
taking the contact off the list or by setting a member of it, as the configuration says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from syncd.domain.changes import Ack, Change, ChangeKind, Outcome, Target
from syncd.domain.errors import MalformedError, RefusedError, UnauthorisedError
from syncd.domain.facts import Facts
from syncd.domain.hygiene import Verification
from syncd.domain.records import CampaignStats, Container, ContainerId, Observation, Page, Record, Status
from syncd.domain.stars import starred
from syncd.providers.protocol import Token
from syncd.providers.salesrocks import search, translate
from syncd.providers.salesrocks.answers import (
    ForbiddenError,
    NotFoundError,
    read_answer,
    read_listing,
    read_rows,
    read_token,
)
from syncd.providers.salesrocks.calls import JSON, Calls
from syncd.providers.salesrocks.options import SalesRocksOptions
from syncd.providers.salesrocks.translate import ContactTable, ListRow
from syncd.providers.salesrocks.verify import kind_of, verify_email, verify_phones
from syncd.wire import Exchange, Request

NAMES = frozenset({"first_name", "last_name"})


class SalesRocksAdapter:
    """One account. Pure; `now` only serves to read a Retry-After that is a date."""

    # The page words 401 as "not authorized" and 403 as "not authenticated", the reverse of common use.
    login_again_on: frozenset[int] = frozenset({401, 403})
    accepts: frozenset[ChangeKind] = frozenset(ChangeKind)

    def __init__(self, options: SalesRocksOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> None:
        self._options = options
        self._linked = linked
        self._now = now
        self.calls = Calls(options.base_url, now)
        self._table = ContactTable.of(options)
        self.removes_on_unsubscribe: bool = options.on_unsubscribe == "remove"
        self.absence_is_unsubscribe: bool = options.on_absence == "unsubscribe"
        self.facts = Facts(
            batch=dict.fromkeys(ChangeKind, options.batch_size),
            fields=frozenset(options.member_of),
            keeps_duplicates=True,
            one_name_field=options.one_name_field,
            unsubscribe_removes=self.removes_on_unsubscribe,
            absence_is_unsubscribe=self.absence_is_unsubscribe,
        )

    def check(self) -> Exchange[None]:
        answer = yield from self.calls.post("editable-lists/getLists", {"page": 1, "size": 1})
        read_rows(answer.data, "getLists")

    # -- login ------------------------------------------------------------------------------------------------------

    def login(self) -> Exchange[Token]:
        call, password = "accessToken", self._options.password.get_secret_value()
        body = msgspec.json.encode({"username": self._options.username, "password": password})
        response = yield Request(
            "POST", f"{self._options.base_url}/auth/{call}", JSON, body, label=call, repeatable=True, token=False
        )
        try:
            read_answer(response, call, self._now(), (self._options.username, password))
        except NotFoundError:
            raise
        except RefusedError as error:
            # The credentials are all that a login says, so they are what is refused, by whatever status.
            raise UnauthorisedError(
                starred(error.message, [password]), call=call, hint="check username and password"
            ) from None
        return read_token(response.body, call)

    def authorise(self, request: Request, token: Token) -> Request:
        return replace(request, headers={**request.headers, "authorization": f"Bearer {token.value}"})

    # -- reading ----------------------------------------------------------------------------------------------------

    def containers(self) -> Exchange[Sequence[Container]]:
        rows = yield from self._lists()
        found = [Container(ContainerId(row.uuid), row.name, remote=row.remote) for row in rows]
        # createList hands out ids that getLists never shows and data calls take (docs.sales.rocks, Create List).
        named = {name for row in rows for name in (row.uuid, row.id, row.name)}
        return [*found, *(Container(ContainerId(text), text, shown=False) for text in sorted(self._linked - named))]

    def snapshot(self, container: ContainerId, at: str | None) -> Exchange[Page]:
        """`at` is ``page:size:key``, `key` being the first of the page before."""
        page, size, before = _place(at, self._options.page_size)
        body = {"list_id": container, "page": page, "size": size}
        call = "getListData"
        response = yield self.calls.request(f"editable-lists/{call}", body)
        rows = read_listing(response, call, self._now())
        if not rows:
            return Page(response.body, 0, tuple, None)
        first = translate.records_of(rows[:1])[0].key
        _moved_on(first, before, call)
        following = _next_size(page, size, len(rows))
        return Page(
            response.body,
            len(rows),
            lambda: translate.records_of(rows),
            f"{page + 1}:{following}:{first}" if following else None,
        )

    def read(self, container: ContainerId, record: Record) -> Observation:
        return self._table.read(container, record)

    def lookup(self, target: Target) -> Exchange[Sequence[Observation] | None]:
        """By the ids of the records: there is no search for a contact by address."""
        keys = _usable(target.keys)
        if not keys:
            return None
        found = []
        for key in keys:
            record = yield from self._contact(key)
            if record is None or not self._is_in(target.container, record):
                continue
            seen = self._table.read(target.container, record)
            if seen.identity == target.identity:
                found.append(seen)
        return found

    def _contact(self, key: str) -> Exchange[Record | None]:
        call = "getContact"
        try:
            answer = yield from self.calls.post(f"editable-lists/{call}", {"_id": key})
        except NotFoundError:
            return None
        return translate.read_contact(answer.data, key, call)

    def _is_in(self, container: ContainerId, record: Record) -> bool:
        # A contact names its list by one of three ids (docs.sales.rocks, samples); another form proves nothing.
        place = self._table.place(record.raw)
        return place == container or len(place) != len(container)

    def _lists(self) -> Exchange[Sequence[ListRow]]:
        """All lists, in their order, each once although pages may shift while they are read."""
        call = "getLists"
        lists: dict[str, ListRow] = {}
        seen: set[bytes] = set()
        page, size, before = 1, self._options.lists_page_size, ""
        while size:
            answer = yield from self.calls.post(f"editable-lists/{call}", {"page": page, "size": size})
            rows = read_rows(answer.data, call)
            if not rows:
                break
            if seen.issuperset(map(bytes, rows)):
                raise MalformedError(f"{call}: a page holds nothing but what earlier pages held", call=call)
            seen.update(map(bytes, rows))
            read = [row for raw in rows if (row := translate.read_list(raw))]
            first = read[0].uuid if read else ""
            _moved_on(first, before, call)
            lists |= {row.uuid: row for row in read if row.uuid not in lists}
            page, size, before = page + 1, _next_size(page, size, len(rows)), first
        return list(lists.values())

    # -- campaigns --------------------------------------------------------------------------------------------------

    def campaigns(self, known_addresses: Sequence[str], since: datetime | None) -> Exchange[Sequence[CampaignStats]]:
        """Campaigns hang on lists and lists on an address, whose is not said (docs.sales.rocks, Get List name and IDs).

        So the given contacts are asked about, who cover all lists, and the account's own address if nothing came.
        """
        del since  # whole figures every time
        campaigns: dict[str, str] = {}
        covers: dict[str, set[str]] = {}
        found, answered, refusal = False, False, None
        own = self._options.username
        for address in dict.fromkeys([*known_addresses, own]):
            if address == own and (found or "@" not in own):
                continue
            try:
                lists = yield from search.lists_of(self.calls, address)
            except RefusedError as error:
                refusal, answered = error, answered or isinstance(error, NotFoundError)
                continue
            found, answered = found or bool(lists), True
            campaigns |= {number: name for row in lists for number, name in row.campaigns.items()}
            for row in lists:
                for number in row.campaigns:
                    covers.setdefault(number, set()).add(row.id)
        if refusal is not None and not answered:
            raise refusal
        stats = []
        for number, name in campaigns.items():
            if (read := (yield from self._statistics(number, name))) is not None:
                stats.append(replace(read, lists=tuple(sorted(covers[number]))))
        return stats

    def _statistics(self, number: str, name: str) -> Exchange[CampaignStats | None]:
        """None if the campaign is gone, or is a colleague's: the token has just been taken for the lists."""
        call = "getCampaignStatistics"
        body = {"campaign_id": translate.campaign_id_to_send(number)}
        try:
            answer = yield from self.calls.post(f"drip-campaign/{call}", body)
        except (NotFoundError, ForbiddenError):
            return None
        return translate.read_statistics(answer.data, number, name, self._options.zone, call)

    # -- vetting ----------------------------------------------------------------------------------------------------

    def vet(self, address: str, phone: str) -> Exchange[Verification]:
        """Both, also of an address that receives nothing: what was said is kept, and looked at by rules that change.

        Numbers go without the plus, as the sample has them.
        """
        mail = yield from verify_email(self.calls, address)
        score, word = mail.confidence_score, (mail.status or "").lower()
        if not phone:
            return Verification(score, word)
        (number,) = yield from verify_phones(self.calls, [phone.removeprefix("+")])
        refused = number.status == "VALID" and kind_of(number) in self._options.hygiene_refused_numbers
        why = "" if number.status == "VALID" else "not valid"
        why = kind_of(number).replace("_", " ") if refused else why
        return Verification(score, word, phone, phone_sound=not why, phone_word=why)

    # -- writing ----------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        """Refused: the `Ack` of a single change says so; a batch raises, so that the caller can split it."""
        if not changes:
            return []
        try:
            match changes[0].kind:
                case ChangeKind.SUBSCRIBE:
                    return (yield from self._subscribe(changes))
                case ChangeKind.UNSUBSCRIBE if self.removes_on_unsubscribe:
                    return (yield from self._remove(changes))
                case ChangeKind.UNSUBSCRIBE:
                    return (yield from self._mark(changes))
                case ChangeKind.UPDATE:
                    return (yield from self._update(changes))
        except RefusedError as error:
            if len(changes) > 1:
                raise
            if isinstance(error, NotFoundError) and changes[0].kind is ChangeKind.UNSUBSCRIBE:
                # Gone, all of it or one record of several. Somebody's no is not parked for that: look.
                return [Ack(Outcome.UNCERTAIN, keys=changes[0].keys, reason=error.message)]
            return [Ack(Outcome.REFUSED, keys=changes[0].keys, reason=error.message)]

    def _remove(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        keys = _usable(key for change in changes for key in change.keys)
        outcome, reason = Outcome.ACCEPTED, ""
        if keys:
            answer = yield from self.calls.post(
                "editable-lists/deleteListData", {"ids": keys}, private=_values(changes)
            )
            deleted = translate.counted(translate.DELETED, answer.message)
            # Fewer than asked is well: the others were gone already.
            if deleted is None or deleted > len(keys):
                outcome, reason = Outcome.UNCERTAIN, "deleteListData does not say how many it deleted"
        return [Ack(outcome, reason=reason) if _usable(change.keys) else _stale() for change in changes]

    def _mark(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        value = self._options.unsubscribe_value
        rows = [self._table.row_to_unsubscribe(key, value) for change in changes for key in _usable(change.keys)]
        doubt = yield from self._write_rows(rows, changes)
        return [_ack(doubt, change) if _usable(change.keys) else _stale() for change in changes]

    def _update(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        rows: list[dict[str, Any]] = []
        acks: list[Ack | None] = []
        for change in changes:
            keys = _usable(change.keys)
            updates = {row["_id"]: row for row in self._table.rows_to_update(change, keys)}
            names = {half: value for half, value in change.fields.items() if half in NAMES}
            if keys and names and self.facts.one_name_field:
                # Which members make up the name differs from record to record, so the record is read first.
                seen = yield from self._there(change)
                if any(self._table.hides_name(one) for one in seen):
                    reason = "the name there cannot be read"
                    acks.append(Ack(Outcome.STALE, keys=keys, seen=tuple(seen), reason=reason))
                    continue
                updates = {one.key: updates.get(one.key, {"_id": one.key}) for one in seen}
                for one in seen:
                    updates[one.key] = updates[one.key] | self._table.name_to_update(names, one)
                keys = tuple(updates)
            rows += updates.values()
            acks.append(None if keys else _stale())
        doubt = yield from self._write_rows(rows, changes)
        return [ack or _ack(doubt, change) for ack, change in zip(acks, changes, strict=True)]

    def _write_rows(self, rows: Sequence[Mapping[str, Any]], changes: Sequence[Change]) -> Exchange[str]:
        """Partial rows into records that are there; returns why it is in doubt whether all of them were."""
        # Two changes may name one record; the later row wins there as here, and is counted once.
        merged: dict[str, dict[str, Any]] = {}
        for row in rows:
            merged[row["_id"]] = {**merged.get(row["_id"], {}), **row}
        if not merged:
            return ""
        body = {"data": list(merged.values())}
        answer = yield from self.calls.post("editable-lists/updateListData", body, private=_values(changes))
        matched = translate.counted(translate.MATCHED, answer.message)
        if matched is None:
            return "updateListData does not say how many it matched"
        return "" if matched == len(merged) else f"updateListData matched {matched} of {len(merged)}"

    def _subscribe(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        """Add those who are not there. Whoever has a record already gets no second one: addToList keeps duplicates."""
        acks: dict[int, Ack] = {}
        back: dict[int, Change] = {}
        rows: list[dict[str, Any]] = []
        for place, change in enumerate(changes):
            seen = yield from self._there(change)
            if not seen:
                continue
            keys = tuple(one.key for one in seen)
            noes = [one for one in seen if one.status is not Status.SUBSCRIBED]
            if not noes:
                acks[place] = Ack(Outcome.ACCEPTED, keys=keys, seen=tuple(seen))
            elif self.removes_on_unsubscribe:
                # We never write that no in this mode, so somebody at the provider did, and takes it back there.
                acks[place] = Ack(Outcome.REFUSED, keys=keys, reason="marked as unsubscribed there", seen=tuple(seen))
            else:
                rows += [self._table.row_to_subscribe(one) for one in noes]
                back[place] = replace(change, keys=keys)
        # Before the additions: if those fail, this is repeated and changes nothing more.
        doubt = yield from self._write_rows(rows, changes)
        acks |= {place: _ack(doubt, change) for place, change in back.items()}
        added = [place for place in range(len(changes)) if place not in acks]
        answers = yield from self._add([changes[place] for place in added])
        acks |= dict(zip(added, answers, strict=True))
        return [acks[place] for place in range(len(changes))]

    def _add(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        if not changes:
            return []
        body = {"list_id": changes[0].container, "data": [self._table.row_to_add(change) for change in changes]}
        # A repetition adds everybody again.
        answer = yield from self.calls.post(
            "editable-lists/addToList", body, repeatable=False, private=_values(changes)
        )
        keys = translate.read_ids(answer.ids)
        inserted = translate.counted(translate.INSERTED, answer.message)
        if len(keys) != len(changes) or inserted not in {None, len(changes)}:
            reason = f"addToList was given {len(changes)}, says {inserted} and names {len(keys)}"
            return [Ack(Outcome.UNCERTAIN, reason=reason) for _ in changes]
        return [Ack(Outcome.ACCEPTED, keys=(key,)) for key in keys]

    def _there(self, change: Change) -> Exchange[Sequence[Observation]]:
        """The person's records that are there now, of those we know."""
        target = Target(change.container, change.identity, change.address, change.keys)
        return (yield from self.lookup(target)) or ()


def _place(at: str | None, size: int) -> tuple[int, int, str]:
    if at is None:
        return 1, size, ""
    page, asked, before = at.split(":", 2)
    return int(page), int(asked), before


def _next_size(page: int, asked: int, got: int) -> int:
    """The size to ask the next page with, 0 if this one (not empty) was the last.

    No total, no marker and no limit of `size` are documented, so a short first page may be all there is or a page cut
    short in silence. What came is then taken for the real size: pages of it line up with what was read, whether the
    provider skips by the size that was asked or by its own, and an empty next page tells that this was all.
    """
    if page == 1:
        return min(asked, got)
    return asked if got >= asked else 0


def _moved_on(first: str, before: str, call: str) -> None:
    if first and first == before and not first.startswith(translate.ROW_DIGEST):
        raise MalformedError(f"{call}: a page begins like the page before it", call=call)


def _usable(keys: Iterable[str]) -> tuple[str, ...]:
    """Ids that a call takes, each once."""
    return tuple(dict.fromkeys(key for key in keys if not key.startswith(translate.ROW_DIGEST)))


def _values(changes: Sequence[Change]) -> list[str]:
    """What we send of persons, to be kept out of messages."""
    return [value for change in changes for value in (change.address, *change.fields.values())]


def _ack(doubt: str, change: Change) -> Ack:
    return Ack(Outcome.UNCERTAIN if doubt else Outcome.ACCEPTED, keys=change.keys, reason=doubt)


def _stale() -> Ack:
    return Ack(Outcome.STALE, reason="no record is known that stands for the person")
