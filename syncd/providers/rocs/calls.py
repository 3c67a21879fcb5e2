"""The calls to ROCS that both reading and writing need: built from the account's table, answers checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlencode

from syncd.domain.errors import MalformedError
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT, Observation
from syncd.providers.rocs.answer import decode, error_of, is_not_found, raise_for, text_of
from syncd.providers.rocs.options import RocsOptions
from syncd.providers.rocs.translate import Translator, id_of
from syncd.wire import Exchange, Request, Response

JSON = {"accept": "application/json"}


class Calls:
    """One account's calls. A call is named after its method and its row in the table, as in ``get-customers``."""

    def __init__(self, options: RocsOptions, translator: Translator, now: Callable[[], datetime]) -> None:
        self.options = options
        self.translator = translator
        self.table = translator.table
        self.now = now

    def request(
        self,
        method: str,
        row: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        repeatable: bool = False,
        ids: Mapping[str, str] | None = None,
    ) -> Request:
        url = f"{self.options.base_url}{self.table.path(row, ids or {})}"
        return Request(
            method,
            f"{url}?{urlencode(query)}" if query else url,
            JSON if body is None else {**JSON, "content-type": "application/json"},
            body or b"",
            label=f"{method.lower()}-{row}",
            repeatable=repeatable,
        )

    def get(
        self, row: str, *, query: Mapping[str, str] | None = None, ids: Mapping[str, str] | None = None
    ) -> Exchange[bytes]:
        """The body of a successful read."""
        request = self.request("GET", row, query=query, repeatable=True, ids=ids)
        response = yield request
        raise_for(response, call=request.label, now=self.now)
        return text_of(response)

    def listing(
        self, row: str, number: int, size: int, extra: Mapping[str, str], ids: Mapping[str, str] | None = None
    ) -> Exchange[bytes]:
        request = self.page(row, number, size, extra, ids)
        response = yield request
        raise_for(response, call=request.label, now=self.now)
        return text_of(response)

    def page(
        self, row: str, number: int, size: int, extra: Mapping[str, str], ids: Mapping[str, str] | None = None
    ) -> Request:
        name = self.table.names
        query = {name["query.page"]: str(number), name["query.size"]: str(size), **extra}
        return self.request("GET", row, query=query, repeatable=True, ids=ids)

    def search(self, address: str, identity: Identity) -> Exchange[list[Observation]]:
        """All customers whose address has this identity: by the spelling known there, then by its normal form."""
        for spelling in dict.fromkeys((address, identity)):
            extra = {self.table.names["query.email"]: spelling}
            body = yield from self.listing("customers", 1, self.options.page_size, extra)
            page = self.translator.page(
                WHOLE_ACCOUNT, body, number=1, size=self.options.page_size, call="get-customers"
            )
            if page.next is not None:
                # Nobody shares an address with a page full of others: the parameter was passed over, and whoever is
                # looked for may be on any page.
                raise MalformedError(
                    "get-customers: the search by address is not honoured",
                    call="get-customers",
                    hint="set names.'query.email' of this account",
                )
            seen = [self.translator.customer(record) for record in page.records]
            if found := [one for one in seen if one.identity == identity]:
                return found
        return []

    def customer(self, key: str) -> Exchange[Observation | None]:
        """One customer by id. None where the answer reads as if there were none, which a 500 cannot prove."""
        request = self.request("GET", "customer", repeatable=True, ids={"id": key})
        response = yield request
        if is_not_found(response):
            return None
        raise_for(response, call=request.label, now=self.now)
        return self.translator.customer(self.translator.record(WHOLE_ACCOUNT, self.checked(text_of(response), key)))

    def checked(self, body: bytes, key: str | None = None) -> bytes:
        """The body, if it is a customer, and the one that was asked for."""
        found = decode(body, dict[str, object], call="get-customer")
        answered = id_of(found.get(self.table.names["customer.id"]))
        if answered is None or (key is not None and answered != key):
            raise MalformedError("get-customer: not the documented shape", call="get-customer")
        return body

    def dynamic_types(self) -> Exchange[Mapping[str, str]]:
        body = yield from self.get("dynamic_fields")
        return self.translator.dynamic_types(body, call="get-dynamic_fields")

    def dynamic_values(self, key: str) -> Exchange[Mapping[str, str]]:
        """A customer's mapped dynamic fields; none where the customer has no such record."""
        request = self.request("GET", "customer_dynamic", repeatable=True, ids={"id": key})
        response = yield request
        if is_not_found(response):
            return {}
        raise_for(response, call=request.label, now=self.now)
        return self.translator.dynamic_values(text_of(response), call=request.label)

    def failed(self, response: Response, request: Request, sent: tuple[str, ...]) -> Exception:
        return error_of(response, call=request.label, now=self.now, sent=sent)
