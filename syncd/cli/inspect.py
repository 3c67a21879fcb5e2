"""What stands in the mirror, table by table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import Body, command
from syncd.cli.exits import Exit
from syncd.cli.invocation import Invocation, require_known
from syncd.cli.rounds import held_plan

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.domain.identity import Identity

Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="At most so many rows.")]
Account = Annotated[str | None, typer.Option("--account", metavar="NAME", help="Of this account only.")]

TABLES = {
    "contacts": ("Everybody known, with the merged fields.", ("email", "accounts", "records", "fields", "observed_at")),
    "lists": (
        "Lists at the accounts, and which of ours they belong to.",
        ("list", "account", "remote_list", "name", "scope", "listed", "active", "whole_at", "doubt", "rests_on"),
    ),
    "campaigns": (
        "Campaigns with their latest numbers.",
        ("account", "campaign_id", "name", "sent", "opened", "clicked", "bounced", "unsubscribed", "observed_at"),
    ),
    "runs": ("Rounds, the latest first.", ("account", "started_at", "ended_at", "result", "reason", "counts")),
    "outbox": (
        "Changes on their way out.",
        ("id", "account", "remote_list", "email", "kind", "state", "why", "attempts", "not_before", "reason"),
    ),
    "parked": (
        "What was refused or cannot be read, and waits for a person.",
        ("id", "what", "account", "remote_list", "email", "kind", "reason", "at"),
    ),
    "drift": (
        "Where a provider shows other than what a person said.",
        ("kind", "email", "account", "remote_list", "detail", "since"),
    ),
    "consent": (
        'Every "no", and every "yes" that was given to us.',
        ("email", "scope", "level", "since", "source", "route", "evidence"),
    ),
}


def declare(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Show what stands in the mirror.")
    for name, (help_text, columns) in TABLES.items():
        command(group, name)(_table_command(name, help_text, columns))
    command(group, "contact")(contact)
    command(group, "propagation")(propagation)
    command(group, "plan")(held_plan)
    app.add_typer(group, name="inspect")


def _table_command(name: str, help_text: str, columns: tuple[str, ...]) -> Body:
    def inspect(call: Invocation, limit: Limit = 100, account: Account = None) -> int:
        if account is not None:
            require_known("account", account, call.settings.accounts)
        call.log(level="WARNING", as_json=False)

        def looking(app: App) -> int:
            from syncd.store.inspect import rows_of
            from syncd.store.session import reading

            with reading(app.engine) as connection:
                rows = rows_of(connection, name, limit=limit, account=account)
            if call.json:
                call.show(rows)
            else:
                call.table(columns, [[row[column] for column in columns] for row in rows])
                if len(rows) == limit:
                    call.say(f"the first {limit}; more with --limit")
            return Exit.DONE

        return call.with_app(looking)

    inspect.__doc__ = help_text
    return inspect


Email = Annotated[str, typer.Argument(metavar="EMAIL")]


def contact(call: Invocation, email: Email) -> int:
    """Show where one person stands at every provider, and what they agreed to."""
    identity = address(email)
    call.log(level="WARNING", as_json=False)

    def looking(app: App) -> int:
        from syncd.domain.identity import suppression_key
        from syncd.store.inspect import contact as find
        from syncd.store.session import reading

        if shown_erased(call, app, identity):
            return Exit.DONE
        with reading(app.engine) as connection:
            found = find(connection, identity, suppression_key(identity))
        if found is None:
            return unknown(call, identity)
        if call.json:
            call.show(found)
        else:
            _show(call, found)
        return Exit.DONE

    return call.with_app(looking)


PROPAGATION = (
    "email", "scope", "source", "learnt_at", "account", "remote_list", "state", "accepted_at", "receipt",
    "read_back_at", "time_left_s",
)  # fmt: skip
"""Of all that is known, what fits into a table; the rest is for `--json`."""


def propagation(
    call: Invocation,
    email: Annotated[str | None, typer.Argument(metavar="[EMAIL]", help="Of this person; else of everybody.")] = None,
    limit: Limit = 100,
    account: Account = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what was not accepted in time.")] = False,
) -> int:
    """Every "no" at every place that has to learn of it: who, where, when it arrived, and the provider's receipt."""
    identity = None if email is None else address(email)
    if account is not None:
        require_known("account", account, call.settings.accounts)
    call.log(level="WARNING", as_json=False)

    def looking(app: App) -> int:
        from syncd.domain.identity import suppression_key
        from syncd.store.ledger import rows_of
        from syncd.store.session import reading

        key = None if identity is None else suppression_key(identity)
        with reading(app.engine) as connection:
            rows = rows_of(connection, app.outside.now(), limit=limit, key=key, account=account, overdue=overdue)
        if call.json:
            call.show(rows)
        else:
            call.table(PROPAGATION, [[row[column] for column in PROPAGATION] for row in rows])
            if len(rows) == limit:
                call.say(f"the first {limit}; more with --limit")
        return Exit.DONE

    return call.with_app(looking)


def address(text: str) -> Identity:
    """The identity behind an address as a person typed it."""
    from syncd.cli.exits import UsageError
    from syncd.providers.contact_points import read_address

    identity = read_address(text)
    if identity is None:
        raise UsageError("that is not an e-mail address", hint="syncd inspect contacts")
    return identity


def shown_erased(call: Invocation, app: App, identity: Identity) -> bool:
    """Say of somebody who was erased that they were, and what became of it; False of anybody else."""
    from syncd.sync.explain import erased

    found = erased(app.context, identity)
    if found is None:
        return False
    if call.json:
        call.show(found)
        return True
    call.write(f"{found['email']} was erased at {found['erased_at']}: a keyed hash is all that is kept")
    for account, what in sorted(found["asked"].items()):
        call.write(f"  {account}: asked to {what}")
    places = ("account", "remote_list", "status", "grade", "observed_at")
    call.table(places, [[row[column] for column in places] for row in found["memberships"]])
    if found["waiting"]:
        call.write(f"{found['waiting']} calls wait for a provider")
    call.say(f"next: syncd erase {found['email']} --verify")
    return True


def unknown(call: Invocation, identity: Identity) -> int:
    """Nobody knows this address: an answer, and not the one that was hoped for."""
    if call.json:
        call.show({"email": str(identity), "known": False, "memberships": [], "consent": []})
    else:
        call.write(f"{identity} is unknown to all: no provider has shown it, and nobody has said anything for it")
    return Exit.FAILED


def _show(call: Invocation, found: dict[str, Any]) -> None:
    call.write(found["email"] + (f" (also {', '.join(found['also_known_as'])})" if found["also_known_as"] else ""))
    if found["fields"]:
        call.write(", ".join(f"{name}: {value}" for name, value in found["fields"].items()))
    places = ("list", "account", "remote_list", "remote_id", "status", "grade", "observed_at")
    call.table(places, [[row[column] for column in places] for row in found["memberships"]])
    said = ("scope", "level", "since", "source")
    call.table(said, [[row[column] for column in said] for row in found["consent"]])
    call.say(f"next: syncd explain {found['email']}")
