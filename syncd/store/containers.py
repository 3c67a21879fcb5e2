"""Lists at accounts: which there are, how far each was read, what each page of the latest whole listing held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.records import WHOLE_ACCOUNT, Container, ContainerId, Status
from syncd.store.bulk import fitting
from syncd.store.tables import CellRow, ContainerRow, LinkRow, PageRow

container = ContainerRow.__table__  # type: ignore[attr-defined]
page = PageRow.__table__  # type: ignore[attr-defined]
link = LinkRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]

_pack = msgspec.json.Encoder().encode
_unpack = msgspec.json.Decoder(tuple[str, ...]).decode


class PageDigest(NamedTuple):
    """What one page of a listing held."""

    digest: bytes
    keys: tuple[str, ...]
    hidden: int = 0  # of the keys: those that may stand behind a record that could not be read


def save_containers(connection: Connection, account: str, found: Sequence[Container]) -> bool:
    """Note which lists an account shows, and say whether other than before.

    One that is gone keeps its rows and is marked: nothing is inferred from it.
    """
    moved = False
    known = {row.container: row for row in load_containers(connection, account)}
    for entry in found:
        values = {"name": entry.name, "remote": dict(entry.remote), "active": fitting(entry.active)}
        values |= {"present": True, "shown": entry.shown}
        before = known.pop(entry.id, None)
        moved = moved or before is None or before.remote != values["remote"]
        if before is None:
            connection.execute(
                container.insert().values(
                    account=account,
                    container=entry.id,
                    rows=0,
                    whole_seq=0,
                    reread=False,
                    doubt="",
                    evidence={},
                    **values,
                )
            )
        elif any(getattr(before, name) != value for name, value in values.items()):
            update_container(connection, account, entry.id, **values)
    for gone, row in known.items():
        if row.present:
            update_container(
                connection,
                account,
                gone,
                present=False,
                shown=False,
                doubt="the account does not show this list any more",
            )
    return moved


def shown(connection: Connection, account: str) -> set[str]:
    """The lists that an account itself named when it was last asked; without the one that stands for all of it."""
    return {row.container for row in load_containers(connection, account) if row.shown} - {WHOLE_ACCOUNT}


def forget_shown(connection: Connection, account: str) -> None:
    connection.execute(container.update().where(container.c.account == account).values(shown=False))


def ensure_container(connection: Connection, account: str, container_id: str, name: str) -> None:
    """A container that only deliveries name (a lead campaign, everything at an account without lists)."""
    known = connection.scalar(
        sa.select(container.c.name).where(container.c.account == account, container.c.container == container_id)
    )
    if known is None:
        connection.execute(
            container.insert().values(
                account=account,
                container=container_id,
                name=name,
                remote={},
                present=True,
                shown=False,
                rows=0,
                whole_seq=0,
                reread=False,
                doubt="",
                evidence={},
            )
        )


def load_containers(connection: Connection, account: str | None = None) -> list[sa.Row[Any]]:
    if account is None:
        return list(connection.execute(_ALL))
    return list(connection.execute(_OF_ACCOUNT, {"of_account": account}))


_ALL = sa.select(container).order_by(container.c.account, container.c.container)
_OF_ACCOUNT = _ALL.where(container.c.account == sa.bindparam("of_account"))


def update_container(connection: Connection, account: str, container_id: str, **values: Any) -> None:
    connection.execute(_UPDATE, {"of_account": account, "of_container": container_id, **values})


_UPDATE = container.update().where(
    container.c.account == sa.bindparam("of_account"), container.c.container == sa.bindparam("of_container")
)


class Link(NamedTuple):
    """A list of ours at a place, for the views. `until`: the link was ended; it reaches what came until then."""

    list: str
    account: str
    container: str
    scope: str
    until: datetime | None = None


def save_links(connection: Connection, links: Iterable[Link]) -> bool:
    """Write down how our lists are linked; says whether that differs from before."""
    wanted = set(links)
    known = {Link(*row) for row in connection.execute(_LINKS)}
    if wanted == known:
        return False
    connection.execute(link.delete())
    if wanted:
        connection.execute(link.insert(), [entry._asdict() for entry in sorted(wanted, key=lambda entry: entry[:3])])
    return True


_LINKS = sa.select(*(link.c[name] for name in Link._fields))


def load_pages(connection: Connection, account: str, container_id: ContainerId) -> dict[int, PageDigest]:
    """The digests of the latest whole listing, without the keys of the pages (see `load_page_keys`)."""
    query = sa.select(page.c.number, page.c.digest).where(page.c.account == account, page.c.container == container_id)
    return {number: PageDigest(digest, ()) for number, digest in connection.execute(query)}


def load_page_keys(
    connection: Connection, account: str, container_id: ContainerId, numbers: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    if not numbers:
        return {}
    query = sa.select(page.c.number, page.c["keys"]).where(
        page.c.account == account, page.c.container == container_id, page.c.number.in_(numbers)
    )
    return {number: _unpack(bytes(keys)) for number, keys in connection.execute(query)}


def save_pages(
    connection: Connection, account: str, container_id: ContainerId, pages: Mapping[int, PageDigest], last: int
) -> None:
    """Replace the pages that differ and drop those past the end. One transaction with everything read from them."""
    place = (page.c.account == account, page.c.container == container_id)
    connection.execute(page.delete().where(*place, sa.or_(page.c.number > last, page.c.number.in_(list(pages)))))
    if pages:
        connection.execute(
            page.insert(),
            [
                {
                    "account": account,
                    "container": container_id,
                    "number": number,
                    "digest": entry.digest,
                    "count": len(entry.keys) - entry.hidden,
                    "keys": _pack(entry.keys),
                }
                for number, entry in pages.items()
            ],
        )


def sizes(connection: Connection) -> dict[tuple[str, ContainerId], int]:
    """How many contacts each container holds, as far as it was told or counted."""
    rows = connection.execute(_SIZES)
    return {(account, ContainerId(cid)): max(count, active or 0) for account, cid, count, active in rows}


_SIZES = sa.select(container.c.account, container.c.container, container.c.rows, container.c.active)


def subscribed(connection: Connection, account: str, container_id: str) -> int:
    """How many stand subscribed there, as far as we know."""
    query = sa.select(sa.func.count()).where(
        cell.c.account == account, cell.c.container == container_id, cell.c.status == Status.SUBSCRIBED.value
    )
    return connection.scalar(query) or 0
