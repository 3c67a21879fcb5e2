"""The keys of a RocketResponder account in the configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from syncd.domain.records import PRESENT, Status
from syncd.providers.options import AccountOptions, Duration, Secret, Text, Url


def _one_or_many(value: Any) -> Any:
    """One secret, a list, or a file with one on each line: the old one stays valid while URLs are changed."""
    if value is None:
        return ()
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty")
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


def _folded(words: dict[str, Status]) -> dict[str, Status]:
    folded = {word.strip().casefold(): status for word, status in words.items()}
    for word, status in folded.items():
        if status not in PRESENT:
            raise ValueError(f"status_words: {word!r}: {status.value!r} is not a standing of somebody who is there")
    # The one word that is documented (RocketResponder devzone, SUBSCRIBER OBJECT); another meaning would undo opt-outs.
    if folded.get("unsubscribed", Status.UNSUBSCRIBED) is not Status.UNSUBSCRIBED:
        raise ValueError("status_words: 'unsubscribed' always means unsubscribed")
    return folded


class RocketResponderOptions(AccountOptions):
    """One API key pair.

    `signing_url` is what the service believes its own address to be; it differs from `base_url` behind a proxy.
    `max_age` and `lookups_per_round` bound how stale a known subscriber may become and how many are asked about in one
    round, since nobody can be listed. `status_words` adds to the words that `translate.STATUS_WORDS` knows.
    `rename_open`: how long a change of address may wait for its confirmation. `rename_wait`: how long an unsubscribe
    within it waits for the new address to be seen. `rename_tolerance`: how far apart their two times may be.
    `confirm_url` is where new subscribers land after confirming (a parameter of the provider's SDK, not of its page);
    `confirm_urls` says it for single lists, by the provider's id. The newest `webhook_secret` comes first.
    """

    provider: Literal["rocketresponder"]
    base_url: Url = "https://www.rocketresponder.com/api"
    signing_url: Url | None = None
    public_key: Text
    private_key: Secret
    webhook_secret: Annotated[tuple[Secret, ...], BeforeValidator(_one_or_many)] = ()
    max_age: Annotated[Duration, Field(gt=0)] = 24 * 3600.0
    lookups_per_round: Annotated[int, Field(ge=1)] = 500
    status_words: Annotated[dict[str, Status], AfterValidator(_folded)] = Field(default_factory=dict)
    confirm_url: Url | None = None
    confirm_urls: dict[Text, Url] = Field(default_factory=dict)
    rename_open: Duration = 30 * 86_400.0
    rename_wait: Duration = 900.0
    rename_tolerance: Duration = 5.0
    # A request is good for ten minutes after it was signed (RocketResponder devzone, AUTHENTICATION): no longer wait.
    retry_after_max: Annotated[Duration, Field(le=300)] = 300.0

    @property
    def signed_base(self) -> str:
        # The site answers without `www.` too, and signs with it (rocketresponder.com/api.php; the provider's SDK).
        return self.signing_url or self.base_url.replace("://rocketresponder.com/", "://www.rocketresponder.com/", 1)
