"""All sentences of the protocol, each with its check."""

from __future__ import annotations

from tests.conformance import sentences_besides, sentences_of_reading, sentences_of_writing
from tests.conformance.sentences import SENTENCES, Sentence

__all__ = ["SENTENCES", "Sentence", "sentences_besides", "sentences_of_reading", "sentences_of_writing"]
