"""How a command is declared: its own parameters, and the options that all commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from syncd.cli.invocation import Invocation

Body = Callable[..., int]

_SHARED = {
    "config": (
        Annotated[
            Path | None,
            typer.Option("--config", metavar="FILE", help="The configuration; else $SYNCD_CONFIG or the usual places."),
        ],
        None,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="Print JSON.")], False),
    "verbose": (Annotated[int, typer.Option("--verbose", "-v", count=True, help="More logs on stderr.")], 0),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but data and errors.")], False),
}  # fmt: skip


def command(group: typer.Typer, name: str | None = None) -> Callable[[Body], Body]:
    """Declare a command. The body's first parameter is the `Invocation`; it returns the exit code."""

    def declare(body: Body) -> Body:
        own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
        shared = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in _SHARED.items()
        ]
        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        parameters = [context, *(entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in own), *shared]

        def run(*, ctx: typer.Context, **given: Any) -> int:
            invocation: Invocation = ctx.obj
            for key in _SHARED:
                setattr(invocation, key, given.pop(key))
            return int(body(invocation, **given))

        # Typer reads parameters from the signature and their types from the annotations.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {entry.name: entry.annotation for entry in parameters}
        run.__doc__ = body.__doc__
        run.__name__ = body.__name__
        group.command(name)(run)
        return body

    return declare
