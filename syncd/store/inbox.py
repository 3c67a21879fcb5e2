"""Deliveries as they came, each once. What was answered with 2xx is here, whatever happens next."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.records import Delivery
from syncd.store.tables import InboxRow

inbox = InboxRow.__table__  # type: ignore[attr-defined]

KEPT_HEADERS = frozenset({"content-type", "user-agent"})
"""Headers worth keeping: none that authenticates."""


def put_delivery(
    connection: Connection,
    account: str,
    delivery_id: str,
    delivery: Delivery,
    *,
    id: str,
    seq: int,
    read_again: bool = False,
) -> tuple[str, bool]:
    """Keep a delivery. Returns its id and whether it is new; a repetition gets the id of the first.

    `read_again`: a repetition takes the place of the first, with its own moment and number, and is read once more.
    """
    known = connection.scalar(_SAME, {"of_account": account, "of_delivery": delivery_id})
    if known is not None:
        if read_again:
            connection.execute(
                inbox.update()
                .where(inbox.c.id == known)
                .values(state="new", reason="", seq=seq, received_at=delivery.received_at)
            )
        return str(known), False
    row = {
        "id": id,
        "account": account,
        "delivery_id": delivery_id,
        "route": list(delivery.route),
        "method": delivery.method,
        "headers": {name: value for name, value in delivery.headers.items() if name in KEPT_HEADERS},
        "query": [list(pair) for pair in delivery.query],
        "body": delivery.body,
        "received_at": delivery.received_at,
        "seq": seq,
        "state": "new",
        "reason": "",
    }
    connection.execute(inbox.insert(), row)
    return id, True


_SAME = sa.select(inbox.c.id).where(
    inbox.c.account == sa.bindparam("of_account"), inbox.c.delivery_id == sa.bindparam("of_delivery")
)


def new_deliveries(connection: Connection, limit: int) -> list[tuple[Any, Delivery]]:
    """Deliveries nobody has read yet, in the order of their arrival."""
    return [(row, delivery_of(row)) for row in connection.execute(_NEW, {"most": limit}).all()]


def delivery_of(row: Any) -> Delivery:
    """A delivery as it arrived."""
    return Delivery(
        route=tuple(row.route),
        method=row.method,
        headers=row.headers,
        query=tuple((name, value) for name, value in row.query),
        body=bytes(row.body),
        received_at=row.received_at,
    )


def empty_delivery(connection: Connection, id: str, reason: str) -> None:
    """Keep of a delivery only that it came and was read: a repetition is still known as one."""
    gone = {"body": b"", "query": [], "headers": {}, "state": "done", "reason": reason}
    connection.execute(inbox.update().where(inbox.c.id == id).values(**gone))


_NEW = sa.select(inbox).where(inbox.c.state == "new").order_by(inbox.c.seq).limit(sa.bindparam("most"))


def settle_delivery(connection: Connection, id: str, state: str, reason: str = "") -> None:
    connection.execute(_SETTLE, {"of_id": id, "state": state, "reason": reason})


_SETTLE = inbox.update().where(inbox.c.id == sa.bindparam("of_id"))
