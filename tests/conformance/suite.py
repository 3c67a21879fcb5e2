"""The whole suite: every sentence of the protocol with its check, and adapters that break one each.

Both note themselves as their modules are imported.
"""

from __future__ import annotations

from importlib import import_module

from tests.conformance.faulty.breaks import FAULTY, Faulty
from tests.conformance.sentences.sentence import SENTENCES, Sentence

__all__ = ["FAULTY", "SENTENCES", "Faulty", "Sentence"]

for _part in ("exchanges", "reading", "writing", "notices", "services"):
    import_module(f"tests.conformance.sentences.{_part}")
    import_module(f"tests.conformance.faulty.{_part}")
