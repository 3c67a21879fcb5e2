"""Before the first round, and around upgrades: init, config, db."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.accounts import checked, show_checked
from syncd.cli.command import command
from syncd.cli.exits import Exit
from syncd.cli.invocation import Invocation
from syncd.domain.errors import MirrorError, SyncdError

if TYPE_CHECKING:
    from syncd.app import App

FOR_ALL = Path("/etc/syncd/syncd.toml")
STATES = {"current": Exit.DONE, "empty": Exit.PENDING, "behind": Exit.PENDING, "newer": Exit.CONFIGURATION}


def declare(app: typer.Typer) -> None:
    command(app, "init")(init)
    config = typer.Typer(no_args_is_help=True, help="Check or show the configuration.")
    command(config, "check")(check)
    command(config, "show")(show)
    app.add_typer(config, name="config")
    db = typer.Typer(no_args_is_help=True, help="Set up, look at, save and restore the mirror.")
    command(db, "upgrade")(upgrade)
    command(db, "status")(db_status)
    command(db, "backup")(backup)
    command(db, "restore")(restore)
    app.add_typer(db, name="db")


# A first configuration -----------------------------------------------------------------------------------------------


def init(call: Invocation) -> int:
    """Write a configuration to begin with. Overwrites nothing."""
    from syncd.cli.skeleton import skeleton

    path = call.config or _usual_place()
    text = skeleton(*_asked()) if sys.stdin.isatty() and sys.stdout.isatty() and not call.json else skeleton()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Secrets may come to stand in it.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise SyncdError(
            f"{path} exists already; nothing was written", hint=f"syncd config check --config {path}"
        ) from None
    except OSError as error:
        raise SyncdError(f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {path.parent}") from error
    following = f"fill in the accounts, then syncd config check --online --config {path}"
    if call.json:
        call.show({"path": str(path), "next": following})
    else:
        call.write(f"wrote {path}")
        call.say(f"next: {following}")
    return Exit.DONE


def _usual_place() -> Path:
    if named := os.environ.get("SYNCD_CONFIG"):
        return Path(named)
    if os.geteuid() == 0:
        return FOR_ALL
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "syncd" / "syncd.toml"


def _asked() -> tuple[list[str], str]:
    from syncd.cli.skeleton import PROVIDERS

    chosen = [name for name in PROVIDERS if typer.confirm(f"an account at {name}?", default=True, err=True)]
    place = typer.prompt("the mirror", default="sqlite:////var/lib/syncd/mirror.db", err=True)
    return chosen or list(PROVIDERS), place


# The configuration ---------------------------------------------------------------------------------------------------


def check(
    call: Invocation,
    online: Annotated[bool, typer.Option("--online", help="Open the mirror and call every account, too.")] = False,
) -> int:
    """Read the configuration and say everything that is wrong with it."""
    call.log(level="ERROR", as_json=False)
    settings = call.settings
    found = _online(call) if online else None
    shown = {
        "ok": found is None or (found["mirror"]["ok"] and all(entry["ok"] for entry in found["accounts"])),
        "source": str(settings.source) if settings.source else None,
        "accounts": list(settings.accounts),
        "lists": list(settings.lists),
        "warnings": list(settings.warnings),
        "online": found,
    }
    if call.json:
        call.show(shown)
    else:
        call.write(
            f"{settings.source or 'environment'}: {len(settings.accounts)} accounts, {len(settings.lists)} lists"
        )
        if found is not None:
            hint = f" ({found['mirror']['hint']})" if found["mirror"]["hint"] else ""
            call.write(f"mirror: {found['mirror']['message'] + hint if not found['mirror']['ok'] else 'ok'}")
            show_checked(call, found["accounts"])
        call.say("next: syncd sync" if online else "next: syncd config check --online")
    return _code_of_check(found)


def _code_of_check(found: dict[str, Any] | None) -> Exit:
    if found is None:
        return Exit.DONE
    if not found["mirror"]["ok"]:
        return Exit.CONFIGURATION
    answers = [entry["ok"] for entry in found["accounts"]]
    if all(answers):
        return Exit.DONE
    return Exit.PENDING if any(answers) else Exit.UNREACHABLE


def _online(call: Invocation) -> dict[str, Any]:
    """Mirror and accounts; a mirror that cannot be used keeps nobody from hearing about the accounts."""
    entries: list[dict[str, Any]] = []

    async def asking(app: App) -> int:
        for name in app.context.lanes:
            entries.append(await checked(app, name))  # noqa: PERF401  one after the other, in the order of the file
        return Exit.DONE

    mirror = {"ok": True, "message": "", "hint": ""}
    try:
        call.work(asking)
    except MirrorError as error:
        mirror = {"ok": False, "message": error.message, "hint": error.hint}
        with TemporaryDirectory() as folder:
            _on_a_spare_mirror(call, Path(folder)).work(asking)
    return {"mirror": mirror, "accounts": entries}


def _on_a_spare_mirror(call: Invocation, folder: Path) -> Invocation:
    from syncd.settings import MirrorSettings

    other = Invocation(outside=call.outside, quiet=True)
    spare = MirrorSettings(url=f"sqlite:///{folder / 'mirror.db'}")
    other.__dict__["settings"] = call.settings.model_copy(update={"mirror": spare})
    return other


def show(
    call: Invocation,
    origin: Annotated[bool, typer.Option("--origin", help="Say of every value where it came from.")] = False,
) -> int:
    """Show the configuration as it counts, secrets starred, and the links that commands added to it in the mirror."""
    from syncd.config import masked
    from syncd.config import origin as origins_of

    settings = call.settings
    values = masked(settings)
    came_from = origins_of(settings)
    if call.json:
        shown = {"settings": values, "origin": came_from if origin else None, "source": str(settings.source or "")}
        call.show(shown | {"by_command": _by_command(call)})
        return Exit.DONE
    for key, layer in came_from.items():
        value: Any = values
        for step in key.split("."):
            value = value[step]
        call.write(f"{key} = {_toml(value)}" + (f"  # {layer}" if origin else ""))
    for one in _by_command(call) or []:
        call.write(f"# lists.{one['list']}.{one['account']}: also {_toml(one['id'])}, by command since {one['since']}")
    return Exit.DONE


def _by_command(call: Invocation) -> list[dict[str, Any]] | None:
    """The links by command that stand, between what is configured. None without a mirror to read them from."""
    from syncd.store.inspect import shown_time
    from syncd.store.links import peek

    settings = call.settings
    found = peek(settings.mirror.url, {name: options.provider for name, options in settings.accounts.items()})
    if found is None:
        return None
    return [
        {"list": one.list, "account": one.account, "id": one.container, "since": shown_time(one.linked_at)}
        for one in found
        if one.list in settings.lists and one.unlinked_at is None
    ]


def _toml(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


# The mirror ----------------------------------------------------------------------------------------------------------


def upgrade(call: Invocation) -> int:
    """Bring the mirror to what this program needs. Repeating changes nothing."""
    from syncd.store.inspect import schema
    from syncd.store.session import upgrade as bring_up

    call.log(level="WARNING", as_json=False)
    url = call.settings.mirror.url
    before = schema(url)["revision"]
    bring_up(url)
    after = schema(url)
    if call.json:
        call.show(after | {"before": before})
    else:
        at = after["revision"]
        call.write(
            f"{after['mirror']}: at {at} already"
            if before == at
            else f"{after['mirror']}: from {before or 'nothing'} to {at}"
        )
    return Exit.DONE


def db_status(call: Invocation) -> int:
    """Say at which revision the mirror is, and who works on it."""
    from datetime import datetime

    from syncd.app import Outside
    from syncd.store.inspect import schema

    now: datetime = (call.outside or Outside()).now()
    found = schema(call.settings.mirror.url, now)
    if call.json:
        call.show(found)
    else:
        call.write(
            f"{found['mirror']}: {found['state']}, at {found['revision'] or 'nothing'}, needed {found['needed']}"
        )
        call.write(f"held by {found['holder'] or 'nobody'}")
        if found["state"] in {"empty", "behind"}:
            call.say("next: syncd db upgrade")
    return STATES[found["state"]]


def backup(call: Invocation, file: Annotated[Path, typer.Argument(metavar="FILE")]) -> int:
    """Write the whole mirror to one file, while others go on working."""
    from syncd.store.backup import save

    save(call.settings.mirror.url, file)
    size = file.stat().st_size
    if call.json:
        call.show({"file": str(file), "bytes": size})
    else:
        call.write(f"wrote {file}, {size} bytes")
    return Exit.DONE


def restore(call: Invocation, file: Annotated[Path, typer.Argument(metavar="FILE")]) -> int:
    """Put a backup in the place of the mirror. An SQLite mirror that was there is kept beside it."""
    from syncd.app import Outside
    from syncd.store.backup import restore as put_back

    done = put_back(call.settings.mirror.url, file, (call.outside or Outside()).now())
    kept = str(done.kept) if done.kept else None
    if call.json:
        call.show({"file": str(file), "kept": kept, "merged": done.merged, "next": "syncd sync"})
    else:
        call.write(f"restored {file}" + (f"; what was there is {kept}" if kept else ""))
        if done.merged is None:
            call.write('what was there could not be read: a "no" that only it knew is lost')
        else:
            call.write(f"{done.merged} things that people said since were taken over from what was there")
        call.say("every account is protected until somebody has looked; next: syncd sync, then syncd plan")
    return Exit.DONE
