"""What was done and how accounts stand: runs, account states, requests of people, and who holds the mirror."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.errors import TakenOverError
from syncd.store.tables import AccountRow, HolderRow, Meta, RunRow, WakeRow

account = AccountRow.__table__  # type: ignore[attr-defined]
run = RunRow.__table__  # type: ignore[attr-defined]
wake = WakeRow.__table__  # type: ignore[attr-defined]
holder = HolderRow.__table__  # type: ignore[attr-defined]
meta = Meta.__table__  # type: ignore[attr-defined]

_HOLDER = "mirror"

# Statements that every round asks for: building one costs several times what running it does.
_ACCOUNTS = sa.select(account).order_by(account.c.name)
_ACCOUNT = sa.select(account).where(account.c.name == sa.bindparam("of_name"))
_UPDATE = account.update().where(account.c.name == sa.bindparam("of_name"))
_UPDATE_UNLESS_PAUSED = _UPDATE.where(account.c.state != "paused")
_CLOSE_RUN = run.update().where(run.c.id == sa.bindparam("of_id"))


# Accounts ------------------------------------------------------------------------------------------------------------


def ensure_accounts(connection: Connection, providers: Mapping[str, str]) -> None:
    """Make a row for every configured account. One that has another provider by now is met anew."""
    known = {row.name: row for row in load_accounts(connection)}
    for name, provider in providers.items():
        if name in known and known[name].provider != provider:
            state = "paused" if known[name].state == "paused" else "new"
            update_account(connection, name, provider=provider, state=state, **_NEVER_MET)
        elif name not in known:
            connection.execute(
                account.insert().values(
                    name=name,
                    provider=provider,
                    state="new",
                    reason="",
                    hint="",
                    joined=False,
                    protected="",
                    failures=0,
                )
            )


_NEVER_MET = {
    "joined": False, "failures": 0, "last_attempt": None, "last_good_read": None, "last_report": None,
    "held_until": None,
}  # fmt: skip


def load_accounts(connection: Connection) -> list[sa.Row[Any]]:
    return list(connection.execute(_ACCOUNTS))


def load_account(connection: Connection, name: str) -> sa.Row[Any]:
    return connection.execute(_ACCOUNT, {"of_name": name}).one()


def update_account(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(_UPDATE, {"of_name": name, **values})


def note_standing(connection: Connection, name: str, **values: Any) -> None:
    """As `update_account`, but what a person paused meanwhile stays paused."""
    connection.execute(_UPDATE_UNLESS_PAUSED, {"of_name": name, **values})


_STRANGERS = "strangers"


def strangers(connection: Connection) -> set[str]:
    """The accounts whose credentials seem to be another account's: nothing is written there."""
    found = get_value(connection, _STRANGERS)
    return set() if found is None else msgspec.json.decode(found, type=set[str])


def note_stranger(connection: Connection, name: str, strange: bool) -> None:
    before = strangers(connection)
    if strange is not (name in before):
        set_value(connection, _STRANGERS, msgspec.json.encode(sorted(before ^ {name})).decode())


# Runs ----------------------------------------------------------------------------------------------------------------


def open_run(connection: Connection, run_id: str, name: str, at: datetime) -> None:
    row = {"id": run_id, "account": name, "started_at": at, "result": "running", "reason": "", "counts": {}}
    connection.execute(run.insert(), row)


def close_run(
    connection: Connection, run_id: str, at: datetime, result: str, reason: str, counts: Mapping[str, int]
) -> None:
    ended = {"ended_at": at, "result": result, "reason": reason, "counts": dict(counts)}
    connection.execute(_CLOSE_RUN, {"of_id": run_id, **ended})


def abandon_runs(connection: Connection, at: datetime) -> None:
    """At the start: runs that never ended were cut off."""
    connection.execute(
        run.update()
        .where(run.c.result == "running")
        .values(result="aborted", ended_at=at, reason="syncd stopped during the run")
    )


# Requests of people --------------------------------------------------------------------------------------------------


def ask_for_round(connection: Connection, wake_id: str, accounts: Sequence[str], full: bool, at: datetime) -> None:
    connection.execute(wake.insert().values(id=wake_id, accounts=list(accounts), full=full, asked_at=at, outcome={}))


def asked_rounds(connection: Connection) -> list[sa.Row[Any]]:
    return list(connection.execute(sa.select(wake).where(wake.c.done_at.is_(None)).order_by(wake.c.asked_at)))


def answer_round(connection: Connection, wake_id: str, outcome: Mapping[str, Any], at: datetime) -> None:
    connection.execute(wake.update().where(wake.c.id == wake_id).values(done_at=at, outcome=dict(outcome)))


def round_outcome(connection: Connection, wake_id: str) -> dict[str, Any] | None:
    row = connection.execute(sa.select(wake.c.done_at, wake.c.outcome).where(wake.c.id == wake_id)).one_or_none()
    return None if row is None or row.done_at is None else dict(row.outcome)


# The holder ----------------------------------------------------------------------------------------------------------


def take_mirror(
    connection: Connection, who: str, now: datetime, for_s: float, *, gone: Container[str] = ()
) -> int | None:
    """Become the one process that works on this mirror. The hold of who is known to be `gone` counts for nothing.

    Returns the token to show when renewing, or None while another one holds it.
    """
    row = connection.execute(sa.select(holder).where(holder.c.name == _HOLDER).with_for_update()).one_or_none()
    until = now + timedelta(seconds=for_s)
    if row is None:
        connection.execute(holder.insert().values(name=_HOLDER, token=1, beat=1, place="", who=who, until=until))
        return 1
    if row.until > now and row.who != who and row.who not in gone:
        return None
    token: int = row.token + 1
    connection.execute(
        holder.update()
        .where(holder.c.name == _HOLDER)
        .values(token=token, beat=holder.c.beat + 1, who=who, until=until)
    )
    return token


def keep_mirror(connection: Connection, token: int, now: datetime, for_s: float) -> bool:
    """Renew; False if somebody else holds the mirror by now."""
    result = connection.execute(
        holder.update()
        .where(holder.c.name == _HOLDER, holder.c.token == token)
        .values(until=now + timedelta(seconds=for_s), beat=holder.c.beat + 1)
    )
    return bool(result.rowcount)


def require_token(connection: Connection, token: int | None) -> None:
    """Raises `TakenOverError` if somebody else holds the mirror by now; nobody takes it in this transaction."""
    if connection.scalar(_TOKEN) != token:
        raise TakenOverError


_TOKEN = sa.select(holder.c.token).where(holder.c.name == _HOLDER).with_for_update(read=True)


def beat(connection: Connection) -> int:
    """How often the hold was renewed, by anybody."""
    return connection.scalar(sa.select(holder.c.beat).where(holder.c.name == _HOLDER)) or 0


def leave_mirror(connection: Connection, token: int, now: datetime) -> None:
    connection.execute(holder.update().where(holder.c.name == _HOLDER, holder.c.token == token).values(until=now))


def holding(connection: Connection, now: datetime) -> str | None:
    """Who works on the mirror right now, or None."""
    row = connection.execute(sa.select(holder).where(holder.c.name == _HOLDER)).one_or_none()
    return None if row is None or row.until <= now else str(row.who)


# Single values -------------------------------------------------------------------------------------------------------


def get_value(connection: Connection, key: str) -> str | None:
    value: str | None = connection.scalar(_VALUE, {"of_key": key})
    return value


_VALUE = sa.select(meta.c.value).where(meta.c.key == sa.bindparam("of_key"))


def set_value(connection: Connection, key: str, value: str) -> None:
    if not connection.execute(meta.update().where(meta.c.key == key).values(value=value)).rowcount:
        connection.execute(meta.insert().values(key=key, value=value))


def drop_value(connection: Connection, key: str) -> None:
    connection.execute(meta.delete().where(meta.c.key == key))


# What is broken ------------------------------------------------------------------------------------------------------

_BROKEN = "broken"


def broken(connection: Connection) -> dict[str, dict[str, Any]]:
    """The invariants that were found broken and not yet whole again, by name: `since`, `count`, `examples`."""
    found = get_value(connection, _BROKEN)
    return {} if found is None else msgspec.json.decode(found, type=dict[str, dict[str, Any]])


def note_broken(connection: Connection, found: Mapping[str, Mapping[str, Any]]) -> None:
    """What is broken is now exactly this; while it is anything, only unsubscribes that people said are sent."""
    set_value(connection, _BROKEN, msgspec.json.encode(found).decode())
