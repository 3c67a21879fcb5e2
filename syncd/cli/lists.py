"""Lists at the providers: make one, and the addresses to which notices about them are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit, UsageError
from syncd.cli.invocation import Invocation, require_known

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.domain.records import Container
    from syncd.providers.protocol import CanPost
    from syncd.settings import Settings
    from syncd.sync.context import Lane

Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="An account of the configuration.")]


def declare(app: typer.Typer) -> None:
    lists = typer.Typer(no_args_is_help=True, help="Make a list at a provider.")
    command(lists, "create")(create)
    app.add_typer(lists, name="list")
    command(app, "webhooks")(webhooks)


# A new list ----------------------------------------------------------------------------------------------------------


def create(
    call: Invocation,
    account: Account,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the list is to be called; subscribers may see it.")],
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What else this provider wants to know; may be repeated."),
    ] = None,
) -> int:
    """Make a new, empty list at a provider. One that has this name already is named instead."""
    call.accounts([account])
    told = _pairs(given or [])
    call.log(level="WARNING", as_json=False)

    async def creating(app: App) -> int:
        lane = app.context.lanes[account]
        made = await _made(lane, name.strip(), told)
        following = f"{_link(account, made)}, then: syncd config check"
        if call.json:
            entry = {"account": account, "provider": lane.provider_name, "remote_list": made.id, "name": made.name}
            call.show(entry | {"next": following})
        else:
            call.write(f"{account}: list {made.id} ({made.name})")
            call.say(f"next: {following}")
        return Exit.DONE

    return call.work(creating)


async def _made(lane: Lane, name: str, given: Mapping[str, str]) -> Container:
    from syncd.domain.errors import ProviderError, RefusedError, SyncdError
    from syncd.providers.protocol import CanCreateList, CanList

    if not isinstance(lane.provider, CanCreateList):
        raise UsageError(f"{lane.name}: no call of {lane.provider_name} makes a list", hint="make it at the provider")
    _require_keys(lane.provider.new_list_keys, given)
    if isinstance(lane.provider, CanList):
        # Whoever repeats a command whose answer was lost must not get a second list.
        for there in await lane.carrier.carry(lane.provider.containers()):
            if there.name.strip().casefold() == name.casefold():
                raise SyncdError(
                    f"{lane.name} has a list of this name already: {there.id}",
                    hint=f"{_link(lane.name, there)}, or take another name",
                )
    try:
        return await lane.carrier.carry(lane.provider.create_list(name, given))
    except RefusedError as refused:
        raise SyncdError(refused.message, hint=refused.hint or "syncd list create --help") from None
    except ProviderError as error:
        error.hint = error.hint or "it may have been made all the same: the same command again looks first"
        raise


def _link(account: str, made: Container) -> str:
    return f'write {account} = "{made.id}" under [lists.NAME] in the configuration'


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or key in pairs:
            raise UsageError(f"--set {key}: {'given twice' if equals else 'write KEY=VALUE'}")
        pairs[key] = value
    return pairs


def _require_keys(known: Mapping[str, bool], given: Mapping[str, str]) -> None:
    """Raise `UsageError` for an unknown key, or with all that are missing."""
    for key in given:
        require_known("setting of a list", key, known)
    missing = [key for key, required in known.items() if required and not given.get(key, "").strip()]
    if missing:
        raise UsageError(f"a list there needs {', '.join(missing)}", hint=" ".join(f"--set {key}=…" for key in missing))


# Where notices go ----------------------------------------------------------------------------------------------------


def webhooks(
    call: Invocation,
    account: Annotated[str | None, typer.Argument(metavar="ACCOUNT", help="Of this account only.")] = None,
) -> int:
    """Print the addresses to enter at a provider that posts notices, each list and action. THEY HOLD A SECRET."""
    rows = _addresses(call, call.accounts([account] if account else []))
    if call.json:
        call.show(rows)
        return Exit.DONE
    widths = [max((len(row[key]) for row in rows), default=0) for key in ("account", "list", "remote_list", "action")]
    for row in rows:
        # No table: its columns would be folded, and an address has to stay in one piece.
        call.write("  ".join([*(cell.ljust(n) for cell, n in zip(row.values(), widths, strict=False)), row["url"]]))
    if not rows:
        call.say(
            "no provider of a linked list waits for addresses; those that take them by a call are told by the daemon"
        )
    return Exit.DONE


def _addresses(call: Invocation, named: Sequence[str]) -> list[dict[str, str]]:
    """A row for each list and action. Raises `ConfigurationError` where something that they are made of is missing."""
    from syncd.app import Outside
    from syncd.domain.errors import ConfigurationError, Problem
    from syncd.providers.protocol import CanPost
    from syncd.providers.registry import provider_for

    settings, problems = call.settings, []
    now = (call.outside or Outside()).now
    posting: dict[str, CanPost] = {}
    for name, options in settings.accounts.items():
        provider: Any = provider_for(options, linked=frozenset(), now=now)
        if isinstance(provider, CanPost) and (not named or name in named):
            posting[name] = provider
            if not getattr(options, "webhook_secret", ()):
                where = f"accounts.{name}.webhook_secret"
                problems.append(Problem(where, "is missing; without it every notice is turned away"))
    for name in set(named) - posting.keys():
        raise UsageError(f"{name}: no address is entered by hand at {settings.accounts[name].provider}")
    if posting and settings.receiver.public_url is None:
        problems.append(Problem("receiver.public_url", "is missing: the address that the world sees"))
    if problems:
        raise ConfigurationError(str(settings.source), problems)
    return [row for name, provider in posting.items() for row in _rows(settings, name, provider)]


def _rows(settings: Settings, account: str, provider: CanPost) -> list[dict[str, str]]:
    from syncd.domain.records import ContainerId

    public_url = settings.receiver.public_url or ""
    return [
        {"account": account, "list": ours, "remote_list": theirs, "action": action, "url": url}
        for ours, entry in settings.lists.items()
        for theirs in entry.accounts.get(account, ())
        for action, url in provider.webhook_urls(public_url, account, ContainerId(theirs)).items()
    ]
