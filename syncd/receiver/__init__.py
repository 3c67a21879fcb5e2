"""The door: leads, unsubscribes and notices come in here, people say "no" here, and here one sees how syncd stands.

No body, address, secret or path is ever logged or repeated in an answer.
"""

from syncd.receiver.application import receiver
from syncd.receiver.describe import document_path
from syncd.receiver.people import ONE_CLICK

__all__ = ["ONE_CLICK", "document_path", "receiver"]
