"""Links for mails: the one click that ends everything, and a person's own page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit, UsageError
from syncd.cli.inspect import Email, address
from syncd.cli.invocation import Invocation
from syncd.cli.people import scope_of

if TYPE_CHECKING:
    from syncd.app import App

Expires = Annotated[
    str | None, typer.Option("--expires", metavar="DURATION", help="Good for so long, such as 90d; else for ever.")
]


def declare(app: typer.Typer) -> None:
    command(app, "unsubscribe-link")(unsubscribe_link)
    command(app, "preferences-link")(preferences_link)


def unsubscribe_link(
    call: Invocation,
    email: Email,
    list_name: Annotated[
        str | None, typer.Option("--list", metavar="NAME", help="Ends this list; else everything.")
    ] = None,
    expires: Expires = None,
) -> int:
    """Print the link that unsubscribes a person by one click, and the two headers of a mail for it (RFC 8058)."""
    identity, scope = address(email), scope_of(call.settings, list_name)
    public_url = _public_url(call)
    call.log(level="WARNING", as_json=False)

    def making(app: App) -> int:
        from syncd.sync import one_click

        until = _until(app, expires)
        token = one_click.make_token(one_click.signing_key(app.engine), identity, scope, until)
        url = one_click.link(public_url, token)
        headers = one_click.headers(url)
        if call.json:
            shown = {"email": str(identity), "scope": str(scope), "list": list_name, "url": url, "headers": headers}
            call.show(shown | {"expires_at": _shown(until)})
            return Exit.DONE
        call.write(url)
        for name, value in headers.items():
            call.write(f"{name}: {value}")
        call.say("whoever has this link can unsubscribe them, and read their address in it; it is for their mail alone")
        return Exit.DONE

    return call.with_app(making)


def preferences_link(call: Invocation, email: Email, expires: Expires = None) -> int:
    """Print the link to the page on which a person sees what they get, and turns it off and on."""
    identity = address(email)
    public_url = _public_url(call)
    call.log(level="WARNING", as_json=False)

    def making(app: App) -> int:
        from syncd.sync import preferences, signed

        until = _until(app, expires)
        token = preferences.make_token(signed.signing_key(app.engine), identity, until)
        url = preferences.link(public_url, token)
        if call.json:
            call.show({"email": str(identity), "url": url, "expires_at": _shown(until)})
            return Exit.DONE
        call.write(url)
        call.say("whoever has this link can see and end what they get; it is for their mail alone")
        return Exit.DONE

    return call.with_app(making)


def _public_url(call: Invocation) -> str:
    from syncd.domain.errors import ConfigurationError, Problem

    public_url = call.settings.receiver.public_url
    if public_url is None:
        missing = Problem("receiver.public_url", "is missing: the address that the world sees, to which links lead")
        raise ConfigurationError(str(call.settings.source), [missing])
    return public_url


def _until(app: App, expires: str | None) -> datetime | None:
    from syncd.providers.options import seconds

    if expires is None:
        return None
    try:
        return app.outside.now() + timedelta(seconds=seconds(expires))
    except (ValueError, OverflowError):
        hint = "write a number and one of s, m, h, d, such as 90d"
        raise UsageError("--expires is not a duration", hint=hint) from None


def _shown(until: datetime | None) -> str | None:
    from syncd.store.inspect import shown_time

    return None if until is None else shown_time(until)
