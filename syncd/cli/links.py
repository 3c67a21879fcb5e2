"""Link and unlink: the same for campaigns that bring leads and for outbound connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli.exits import Exit
from syncd.cli.invocation import Invocation, require_known

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.sync.links import Linked

ListName = Annotated[str, typer.Argument(metavar="LIST", help="A list of the configuration.")]


def change(
    call: Invocation,
    list_name: str,
    state: str,
    *,
    account_of: Callable[[App], str],
    container: str | None,
    words: tuple[str, str],
    following: str,
) -> int:
    """Make a list `linked` or `unlinked`, and show what came of it. `words`: what the place, and who is known from
    there, are called in the JSON. Without a container, every link of the list to that account is ended.
    """
    require_known("list", list_name, call.settings.lists)
    call.log(level="WARNING", as_json=False)

    def changing(app: App) -> int:
        from syncd.sync import links

        account = account_of(app)
        if state == "linked":
            assert container is not None
            done = links.link(app.context, account, list_name, container)
        else:
            done = links.unlink(app.context, account, list_name, container)
        if call.json:
            shown = {"account": account, words[0]: container, "list": list_name, "state": state}
            call.show(shown | {"changed": done.changed, "by": done.by, words[1]: done.people, "next": following})
        else:
            _say(call, account if container is None else f"{container} at {account}", list_name, state, done, following)
        return Exit.DONE

    return call.with_app(changing)


def _say(call: Invocation, place: str, list_name: str, state: str, done: Linked, following: str) -> None:
    if not done.changed:
        call.write(f"{list_name} is linked to {place} already, by {done.by}")
        return
    call.write(f"{list_name} {state} {'to' if state == 'linked' else 'from'} {place}; known from there: {done.people}")
    call.say(f"next: {following}, unless the daemon runs")
