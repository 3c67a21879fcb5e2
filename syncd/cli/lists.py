"""Lists at the providers: make one, and the addresses to which notices about them are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit, UsageError
from syncd.cli.invocation import Invocation, require_known

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.domain.records import Container
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
    named = call.accounts([account] if account else [])
    call.log(level="WARNING", as_json=False)

    def printing(app: App) -> int:
        rows = [row for lane in _posting(app, named) for row in _addresses(call, app, lane)]
        if call.json:
            call.show(rows)
            return Exit.DONE
        widths = [max((len(row[key]) for row in rows), default=0) for key in _COLUMNS]
        for row in rows:
            # No table: its columns would be folded, and an address has to stay in one piece.
            call.write(
                "  ".join([*(row[key].ljust(width) for key, width in zip(_COLUMNS, widths, strict=True)), row["url"]])
            )
        if not rows:
            call.say(
                "no linked list is at a provider that waits for addresses; the daemon tells those that take a call"
            )
        return Exit.DONE

    return call.with_app(printing)


_COLUMNS = ("account", "list", "remote_list", "action")


def _posting(app: App, named: Sequence[str]) -> list[Lane]:
    """The accounts that wait for addresses. Raises `ConfigurationError` with everything that these lack."""
    from syncd.domain.errors import ConfigurationError, Problem
    from syncd.providers.protocol import CanPost

    lanes = [lane for lane in app.context.lanes.values() if lane.name in named or not named]
    posting = [lane for lane in lanes if isinstance(lane.provider, CanPost)]
    if named and not posting:
        raise UsageError(f"{lanes[0].name}: no address is entered by hand at {lanes[0].provider_name}")
    settings = app.settings
    problems = [
        Problem(f"accounts.{lane.name}.webhook_secret", "is missing; without it every notice is turned away")
        for lane in posting
        if not getattr(settings.accounts[lane.name], "webhook_secret", ())
    ]
    if posting and settings.receiver.public_url is None:
        problems.append(Problem("receiver.public_url", "is missing: the address that the world sees"))
    if problems:
        raise ConfigurationError(str(settings.source), problems)
    return posting


def _addresses(call: Invocation, app: App, lane: Lane) -> list[dict[str, str]]:
    """A row for each linked list and action, by the list's own id, whichever of its names is configured."""
    from syncd.providers.protocol import CanPost
    from syncd.store.containers import load_containers
    from syncd.store.session import reading

    assert isinstance(lane.provider, CanPost)
    public_url = app.settings.receiver.public_url or ""
    with reading(app.engine) as connection:
        lists = app.context.topology(connection).lists.values()
        seen = {row.container for row in load_containers(connection, lane.name)}
    places = [(entry.name, theirs) for entry in lists for theirs in entry.places.get(lane.name, ())]
    for theirs in sorted({theirs for _, theirs in places} - seen):
        call.say(f"note: {lane.name} has shown no list {theirs} yet; next: syncd sync {lane.name}")
    return [
        {"account": lane.name, "list": ours, "remote_list": theirs, "action": action, "url": url}
        for ours, theirs in places
        for action, url in lane.provider.webhook_urls(public_url, lane.name, theirs).items()
    ]
