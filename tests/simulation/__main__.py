"""Many histories, one after another: ``python -m tests.simulation --seeds 200 --rounds 500 --jobs 2``.

A failure prints its seed, the command that repeats it, and the smallest history that still fails. Exit 1 if any did.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.history import Told, play
from tests.simulation.oracle import BrokenError
from tests.simulation.process import MemoryMirror, template
from tests.simulation.script import Happening, script
from tests.simulation.shrink import shrink
from tests.world import quiet

_mirror: MemoryMirror | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    seed: int
    kind: str
    what: str
    smallest: tuple[str, ...]


def fresh() -> MemoryMirror:
    """One mirror for each process, as nobody had worked on it: its compiled statements are what takes long to make."""
    global _mirror  # noqa: PLW0603
    if _mirror is None:
        quiet()
        with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
            _mirror = MemoryMirror(template(Path(folder)))
        gc.collect()
        gc.freeze()  # what is there by now stays: a collection need not look at it
    _mirror.renew()
    return _mirror


def one(seed: int, rounds: int, shrink_s: float) -> Told | Broken:
    try:
        return play(seed, rounds, fresh())
    except BrokenError as error:
        happenings: list[Happening] = []
        if shrink_s:
            whole = script(seed, rounds)
            happenings = shrink(whole, error.kind, lambda fewer: play(seed, rounds, fresh(), fewer), shrink_s)
        return Broken(seed, error.kind, str(error), tuple(f"+{h.after:g} s {h.kind} {h.args}" for h in happenings))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many histories")
    parser.add_argument("--rounds", type=int, default=250, help="wakes of a round in each")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--shrink", type=float, default=60.0, metavar="SECONDS", help="for each failure; 0: not at all")
    chosen = parser.parse_args()
    started = time.monotonic()
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    found = list(_played(seeds, chosen.rounds, chosen.shrink, chosen.jobs))
    _table([one for one in found if isinstance(one, Told)], found, time.monotonic() - started, chosen.rounds)
    return int(any(isinstance(one, Broken) for one in found))


def _played(seeds: Iterable[int], rounds: int, shrink_s: float, jobs: int) -> Iterator[Told | Broken]:
    if jobs == 1:
        results: Iterable[Told | Broken] = (one(seed, rounds, shrink_s) for seed in seeds)
        yield from _shown(results, rounds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        seeds = list(seeds)
        results = pool.map(one, seeds, [rounds] * len(seeds), [shrink_s] * len(seeds))
        yield from _shown(results, rounds)


def _shown(results: Iterable[Told | Broken], rounds: int) -> Iterator[Told | Broken]:
    for number, result in enumerate(results, 1):
        if isinstance(result, Broken):
            say(f"seed {result.seed}: {result.what}")
            say(f"  again: python -m tests.simulation --seed {result.seed} --seeds 1 --rounds {rounds} --jobs 1")
            if result.smallest:
                say(f"  the smallest history found, of {len(result.smallest)} happenings:")
            for happening in result.smallest:
                say(f"    {happening}")
        elif number % 20 == 0:
            say(f"  {number} histories")
        yield result


def _table(told: list[Told], found: list[Told | Broken], seconds: float, rounds: int) -> None:
    steps: Counter[str] = sum((one.steps for one in told), Counter())
    crashes: Counter[str] = sum((one.crashes for one in told), Counter())
    broken = Counter(one.kind for one in found if isinstance(one, Broken))
    lines = {
        "steps": f"{steps.total():,} ({', '.join(f'{n:,} {kind}' for kind, n in sorted(steps.items()))})",
        "seeds": f"{len(found)}, {len(found) - len(told)} failed",
        "wakes of a round": f"{rounds * len(told):,} ({sum(one.rounds for one in told):,} rounds run to their end)",
        "seconds": f"{seconds:.0f} ({steps.total() / seconds:,.0f} steps a second)",
        "additions by us": f"{sum(one.adds for one in told):,}",
        "wrongful": f"{broken['wrongful'] + broken['unjournalled']}",
        "people and lists with a no": f"{sum(one.noes for one in told):,}",
        "lost": f"{broken['lost']}",
        "doubled": f"{broken['doubled']}",
        "worst rounds to convergence": f"{max((one.rounds_to_converge for one in told), default=0)}",
        "never came to rest": f"{broken['restless']}",
        "other failures": f"{broken['fault'] + broken['failing']}",
        "crashes": f"{crashes.total():,} at {len(crashes)} failpoints",
        "lost answers": f"{sum(one.lost_answers for one in told):,}",
        "histories distinct": f"{len({one.hash for one in told})} of {len(told)}",
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        say(f"{name:<{width}}  {value}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
