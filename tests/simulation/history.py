"""One seeded history, played: the whole of syncd, four providers, people, operators, faults and kills.

What is simulated is the program itself: real rounds, real carriers, real adapters, the real store. Chance is one seed:
the same seed gives the same history, down to the order in which concurrent rounds proceed, and so the same hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import itertools
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from syncd.app import App, Outside
from syncd.domain.errors import DeliveryError
from syncd.store.session import fence
from syncd.sync.cycle import Round
from tests.emulated import transport_for
from tests.simulation.oracle import ROUNDS_TO_CONVERGE, BrokenError, Oracle, as_kept
from tests.simulation.process import Daemon, KilledError, Mirror, Network, SeededLoop
from tests.simulation.script import ACCOUNTS, Happening, script
from tests.simulation.stage import Operators, Stage, hand_in
from tests.virtual import Clock

OPERATORS = frozenset({"approve", "reject", "pause", "resume", "unsubscribe", "resubscribe", "retry"})
RESTART_S = 1.0
COLLECT_EVERY = 400
CALM_S = 2 * 86_400.0
"""Look-ups and whole listings are due by then, and every pause is over."""
BETWEEN_S = 1000.0
"""Longer than anybody waits for the other address where one that may have given way reads unsubscribed."""


@dataclass(slots=True)
class Told:
    """What a history came to. A step is one thing that others may come before or after, and before or after which the
    process may be killed: an act, a request that leaves, its answer (or the loss of it), a transaction of syncd that
    changes the mirror, a delivery handed in, a wake of a round, a crash, an operator's command.
    """

    seed: int
    steps: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    lost_answers: int = 0
    adds: int = 0
    noes: int = 0
    rounds_to_converge: int = 0
    hash: str = ""


def play(seed: int, rounds: int, mirror: Mirror, happenings: Sequence[Happening] | None = None) -> Told:
    """Play a history to its end. Raises `BrokenError` where a promise is broken; the mirror must be fresh."""
    with tempfile.TemporaryDirectory(prefix="history-") as folder, _collecting_at_fixed_moments():
        history = History(seed, mirror, Path(folder))
        return history.run(script(seed, rounds) if happenings is None else happenings)


@contextlib.contextmanager
def _collecting_at_fixed_moments() -> Iterator[None]:
    """What is collected may put a callback into the loop (an iteration that was broken off is closed there), so the
    moment belongs to the history: left to the interpreter, it would depend on what the process did before.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class History:
    def __init__(self, seed: int, mirror: Mirror, folder: Path) -> None:
        random.seed(seed)  # stamina draws its jitter from here
        self.told = Told(seed)
        self.loop = SeededLoop(seed)
        self.clock = Clock(self.loop)
        self.mirror = mirror
        self.stage = Stage(seed, self.clock, mirror)
        self.operators = Operators(self.stage)
        self.oracle = Oracle(self.stage)
        self.network = Network(
            transport_for({host: self.stage.emulators[name] for host, name in self.stage.hosts.items()}),
            random.Random(f"network/{seed}"),
        )
        self.network.sending, self.network.ended = self._sending, self._ended
        mirror.commit = self._commit
        self._settings = self.stage.settings(folder)
        self._rng = random.Random(f"syncd/{seed}")
        self._ids = itertools.count(1)
        self._digest = hashlib.blake2b(digest_size=8)
        self._armed: tuple[str, int] | None = None
        self._broken: BrokenError | None = None
        self._daemon: Daemon | None = None
        self._again: list[Happening] = []

    def run(self, happenings: Sequence[Happening]) -> Told:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live(happenings))
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
            self.mirror.commit = lambda _when, _where: None
        self.told.adds, self.told.noes = self.oracle.adds, len(self.stage.noes)
        self.told.hash = self._digest.hexdigest()
        return self.told

    async def _live(self, happenings: Sequence[Happening]) -> None:
        self._died = asyncio.Event()
        self._born = asyncio.Event()
        self._died.set()
        supervisor = asyncio.get_running_loop().create_task(self._supervise())
        try:
            await self._born.wait()
            for number, happening in enumerate(happenings):
                if number % COLLECT_EVERY == 0:
                    gc.collect()
                if happening.after:
                    await asyncio.sleep(happening.after)
                self._happen(happening)
                self._check()
            await self._calm_down()
        finally:
            supervisor.cancel()
            if self._daemon is not None:
                await self._daemon.end()

    # Life and death --------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        """What systemd does: whoever died is started again."""
        while True:
            await self._died.wait()
            if self._daemon is not None:
                await self._daemon.end()
                await asyncio.sleep(RESTART_S)
            self._died.clear()
            self.mirror.dead = self.network.dead = False
            try:
                self._daemon = self._start()
            except KilledError:
                continue
            self._born.set()

    def _start(self) -> Daemon:
        outside = Outside(
            now=self.clock,
            jitter=self._rng.random,
            new_id=lambda: f"id-{next(self._ids):08d}",
            transport=self.network,
        )
        fence(self.mirror.engine, None)  # it is another process, though it has the engine of the one before
        app = App(self._settings, outside, engine=self.mirror.engine)
        assert app.take()
        # In some histories more are due at once than are planned at once, as where there are very many people.
        app.context.policy = replace(app.context.policy, plan_at_once=(2, 1, 100)[self.told.seed % 3])
        return Daemon(app, lambda what: self._break("fault", what), self._finished)

    def _die(self, point: str) -> None:
        self._armed = None
        self.told.crashes[point] += 1
        self._step("crash", point)
        self.mirror.dead = self.network.dead = True
        if self._daemon is not None:
            self._daemon.dead = True
        self._born.clear()
        self._died.set()
        raise KilledError

    def _reached(self, *points: str) -> None:
        if self._armed is None or self._armed[0] not in points or self.mirror.dead:
            return
        point, left = self._armed
        if left > 1:
            self._armed = point, left - 1
        else:
            self._die(point)

    @property
    def _alive(self) -> Daemon | None:
        return self._daemon if self._born.is_set() else None

    # What happens ----------------------------------------------------------------------------------------------------

    def _happen(self, happening: Happening) -> None:
        kind, args = happening.kind, happening.args
        daemon = self._alive
        if kind == "crash":
            self._armed = args
        elif kind == "silence":
            self.network.silent.update(host for host, name in self.stage.hosts.items() if name == args[0])
        elif kind == "deliver":
            self._deliver(args[0])
        elif kind in {"wake", "press", "sync"}:
            if daemon is not None:
                self._wake(daemon, kind, args)
        elif kind in OPERATORS:
            if daemon is None:
                self._again.append(happening)
            else:
                self._command(daemon, happening)
        elif self.stage.act(kind, args):
            self._step("act", kind, *args)

    def _wake(self, daemon: Daemon, kind: str, args: tuple[Any, ...]) -> None:
        self._step("wake", kind, *args)
        again, self._again = self._again, []
        for happening in again:
            self._command(daemon, happening)
        if kind == "wake":
            daemon.wake(args[0])
        elif kind == "press":
            daemon.press()
        else:
            daemon.sync(args[0], full=args[1])

    def _command(self, daemon: Daemon, happening: Happening) -> None:
        kind, args = happening.kind, happening.args
        try:
            done = self.operators.command(daemon.app, kind, args)
        except KilledError:
            self._again.append(happening)  # whoever gave the command saw it fail, and gives it again
            return
        if done:
            self._step("command", kind, *args)
        if kind == "unsubscribe":
            self.oracle.heard[args[0], args[1]] = daemon.app.context.sequence.take()
        elif kind == "resubscribe" and done:
            self.oracle.undone[args[0], args[1]] = daemon.app.context.sequence.take()
            self.oracle.opened[args[0], args[1]] = as_kept(self.clock())
        daemon.press()

    def _deliver(self, order: str) -> None:
        for name in ACCOUNTS:
            waiting = self.stage.emulators[name].outgoing
            found = list(waiting)
            waiting.clear()
            if order == "last first":
                found.reverse()
            for request in found * 2 if order == "twice" else found:
                daemon = self._alive
                if daemon is None:
                    waiting.append(request)  # nobody answers: it is sent again
                    continue
                try:
                    hand_in(daemon.app, request, self.clock())
                except KilledError:
                    waiting.append(request)
                    continue
                except DeliveryError as error:
                    self._break("fault", f"a delivery of {name} was refused: {error}")
                self._step("delivery", name, request.url, request.body)
                if request.label == "rokt unsubscribes":
                    said = str(json.loads(request.body)["email"]), "global"
                    self.stage.no(*said, at=self.stage.left_leads.get(said[0]))
                    self.oracle.heard[said] = daemon.app.context.sequence.take()
                daemon.press()

    # What is seen of it ----------------------------------------------------------------------------------------------

    def _sending(self, request: httpx.Request) -> None:
        self._reached("before a request leaves")
        self._step("request", request.method, str(request.url), request.content)
        try:
            self.oracle.sending(self.stage.hosts[request.url.netloc.decode()], request)
        except BrokenError as error:
            self._broken = self._broken or error

    def _ended(self, request: httpx.Request, response: httpx.Response | None) -> None:
        self.told.lost_answers += response is None
        answer = (0, b"") if response is None else (response.status_code, response.content)
        self._step("answer", request.method, str(request.url), *answer)
        self._reached("before an answer comes")

    def _commit(self, when: str, where: str) -> None:
        self._reached(f"{when} commit of {where}", f"{when} commit")
        if when == "after":
            self._step("transaction", where)

    def _step(self, kind: str, *details: Any) -> None:
        self.told.steps[kind] += 1
        self._digest.update(f"{kind} {self.loop.time():.3f} {details}".encode())

    def _finished(self, what: str, done: Round) -> None:
        self.told.rounds += 1
        self._digest.update(f"{what} {done.passes} {done.planned.put}".encode())

    def _break(self, kind: str, what: str) -> None:
        self._broken = self._broken or BrokenError(kind, what)

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken

    # The end ---------------------------------------------------------------------------------------------------------

    async def _calm_down(self) -> None:
        """Once nothing goes wrong any more, a few rounds bring everybody to agree, and another one writes nothing."""
        self._armed = None
        await self._born.wait()
        assert self._daemon is not None
        self.stage.calm()
        self.network.silent.clear()
        for name in ACCOUNTS:
            self._happen(Happening(0.0, "resume", (name,)))
        self._wake(self._daemon, "press", ())
        self._deliver("in order")
        await asyncio.sleep(CALM_S)
        self._check()
        last: Round | None = None
        needed = 0
        for needed in range(ROUNDS_TO_CONVERGE + 1):  # noqa: B007  how many it took is told
            before = self._writes()
            last = await self._daemon.everything()
            self._check()
            await asyncio.sleep(BETWEEN_S)
            if self._writes() == before and not self._open():
                break
        else:
            raise BrokenError("restless", f"after {ROUNDS_TO_CONVERGE} rounds: {self._open() or 'still writing'}")
        self.told.rounds_to_converge = needed
        self.oracle.everybody_agrees()
        failed = [] if last is None else [one for one in last.failed if one.result == "failed"]
        if failed:
            reasons = [(outcome.name, outcome.reason) for outcome in failed]
            raise BrokenError("failing", f"accounts fail although nothing is wrong: {reasons}")

    def _writes(self) -> int:
        return sum(emulator.writes for emulator in self.stage.emulators.values())

    def _open(self) -> list[Any]:
        """What is under way, and who is to be looked at again: while there is any, nothing has come to rest."""
        operations = (
            "SELECT account, container, identity, kind, state, reason FROM op"
            " WHERE state IN ('ready', 'inflight', 'unknown', 'accepted')"
        )
        return [*self.mirror.rows(operations), *self.mirror.rows("SELECT * FROM agenda")]
