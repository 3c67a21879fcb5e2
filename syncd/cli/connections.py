"""Outbound connections: try one out, link lists to it and unlink them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.accounts import Name
from syncd.cli.command import command
from syncd.cli.exits import Exit, UsageError
from syncd.cli.invocation import Invocation, require_known
from syncd.cli.links import ListName, change

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.providers.protocol import Trial, Tried
    from syncd.sync.connections import Link


def declare(app: typer.Typer) -> None:
    connection = typer.Typer(no_args_is_help=True, help="Deliver new subscribers to other systems by HTTP.")
    command(connection, "test")(try_out)
    command(connection, "link")(link)
    command(connection, "unlink")(unlink)
    command(connection, "list")(list_all)
    app.add_typer(connection, name="connection")


def try_out(
    call: Invocation,
    name: Name,
    email: Annotated[str | None, typer.Option(metavar="EMAIL", help="With this address; else with nobody's.")] = None,
    live: Annotated[bool, typer.Option("--live", help="To the real endpoint, where the record will be kept.")] = False,
) -> int:
    """Send one marked test record, and show what the answer means. Nothing of it is kept or spread."""
    call.log(level="WARNING", as_json=False)

    async def trying(app: App) -> int:
        from syncd.domain.identity import Identity
        from syncd.providers.contact_points import read_address
        from syncd.sync.connections import trial

        _require(app, name)
        identity: Identity | None = None
        if email is not None and (identity := read_address(email)) is None:
            raise UsageError("this is not an e-mail address", hint="--email EMAIL")
        record = trial(app.context, app.context.lanes[name], identity, live=live)
        if record is None:
            raise UsageError(f"{name} has no test_endpoint", hint=f"syncd connection test {name} --live")
        if not call.json:
            _show_request(call, record)
        tried = await app.context.lanes[name].carrier.carry(record.exchange)
        code = _code(tried)
        if call.json:
            call.show(_as_json(name, record, tried, live=live))
        else:
            call.write(f"answered {tried.status}: {tried.rule or 'no rule says what that means'}")
            if tried.body:
                call.write(tried.body)
            call.write(tried.verdict or "no verdict")
            call.say(f"next: {_next(name, tried)}")
        return code

    return call.work(trying)


def _code(tried: Tried) -> int:
    match tried.verdict:
        case "delivered" | "duplicate":
            return Exit.DONE
        case "retry" | "stop":
            return Exit.UNREACHABLE
        case _:
            return Exit.FAILED


def _next(name: str, tried: Tried) -> str:
    match tried.verdict:
        case "delivered" | "duplicate":
            return f"syncd connection link {name} LIST"
        case "retry":
            return f"syncd connection test {name}, later"
        case "stop":
            return f"compare endpoint and auth of [accounts.{name}] with the receiver's documentation"
        case "rejected":
            return f"compare fields and constants of [accounts.{name}] with the receiver's documentation"
        case _:
            return f"write a rule for this answer into [[accounts.{name}.rules]]"


def _as_json(name: str, record: Trial, tried: Tried, *, live: bool) -> dict[str, Any]:
    return {
        "account": name,
        "live": live,
        "request": {
            "method": record.method,
            "url": record.url,
            "headers": dict(record.headers),
            "body": record.body,
        },
        "status": tried.status,
        "answer": tried.body,
        "rule": tried.rule,
        "verdict": tried.verdict,
        "next": _next(name, tried),
    }


def _show_request(call: Invocation, record: Trial) -> None:
    call.write(f"{record.method} {record.url}")
    for header, value in record.headers.items():
        call.write(f"{header}: {value}")
    if record.body:
        call.write(record.body)


def link(
    call: Invocation,
    name: Name,
    list_name: ListName,
    container: Annotated[
        str, typer.Option("--as", metavar="ID", help="What the list is called there; else it is not told apart.")
    ] = "*",
) -> int:
    """Deliver whoever joins a list from now on. Those who are on it already wait for `syncd approve`."""
    return _change(call, name, list_name, "linked", container.strip() or "*", "syncd sync, then syncd plan")


def unlink(call: Invocation, name: Name, list_name: ListName) -> int:
    """Deliver nobody of a list any more. Who was delivered is still told of there when they say no."""
    return _change(call, name, list_name, "unlinked", None, "syncd sync")


def _change(call: Invocation, name: str, list_name: str, state: str, container: str | None, following: str) -> int:
    def account_of(app: App) -> str:
        _require(app, name)
        return name

    words = ("id", "people")
    return change(call, list_name, state, account_of=account_of, container=container, words=words, following=following)


def list_all(call: Invocation) -> int:
    """Every outbound connection with the lists that are linked to it."""

    def listing(app: App) -> int:
        from syncd.store.inspect import shown_time
        from syncd.sync.connections import listed

        found: list[dict[str, Any]] = [
            {
                "account": entry.account,
                "takes_noes": entry.takes_noes,
                "links": [_shown(one) for one in entry.links],
                "ended": [_shown(one) | {"until": shown_time(one.until)} for one in entry.ended],
            }
            for entry in listed(app.context)
        ]
        if call.json:
            call.show({"connections": found})
            return Exit.DONE
        rows = [
            [entry["account"], entry["takes_noes"], *(one.get(column) for column in _LINK)]
            for entry in found
            for one in [*entry["links"], *entry["ended"]] or [{}]
        ]
        call.table(("account", "takes a no", "list", "as", "linked by", "since", "unlinked"), rows)
        return Exit.DONE

    return call.with_app(listing)


_LINK = ("list", "id", "source", "since", "until")


def _shown(one: Link) -> dict[str, Any]:
    from syncd.store.inspect import shown_time

    return {"list": one.list, "id": one.container, "source": one.source, "since": shown_time(one.since)}


def _require(app: App, name: str) -> None:
    from syncd.sync.connections import names_of

    require_known("outbound connection", name, names_of(app.context))
