"""What a simulator can be told at its start."""

from dataclasses import dataclass
from pathlib import Path

from local.cross_site import LOCAL_NAMES
from simulator.runs import RunOffer

#: Learners made when the simulator starts with nothing stored.
FIRST_LEARNER_ID = 1001


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of one simulator; the defaults are Telegram's own limits.

    A rate of 0 switches that limit off. Times are seconds.
    """

    data: Path | None = None
    """Folder of `simulator.sqlite3`; without one nothing outlives the process."""
    fast_retries: bool = False
    """Redeliver after hundredths of a second instead of seconds, for tests."""
    bot_rate: float = 30.0
    """Messages and edits a second that one bot may send."""
    bot_burst: int = 30
    """Capacity of the bot's bucket."""
    paid_rate: float = 1000.0
    """The same for those sent with `allow_paid_broadcast`, and the capacity of their bucket."""
    chat_rate: float = 1.0
    """Messages and edits a second to one chat."""
    chat_burst: int = 5
    """Capacity of a chat's bucket: Telegram bears a short burst."""
    flood_wait: int = 3
    """Least `retry_after` of a bot that was too fast; it stays limited until then."""
    callback_lifetime: float = 150.0
    """How long a tap can be answered."""
    message_lifetime: float = 86_400.0
    """How long an update that is not a tap is kept for delivery."""
    webhook_timeout: float = 60.0
    """How long a webhook may take to answer."""
    starting_learners: int = 4
    """Learners made on the first start."""
    record_limit: int = 100_000
    """Requests, updates and latencies kept in memory for questions."""
    prefect_ui_url: str = ""
    """Shown as a link in the page's header; its API, below it, starts the runs that the menu offers."""
    runs: tuple[RunOffer, ...] = ()
    """Runs of Prefect that the page's menu offers."""
    clock: Path | None = None
    """The file of a clock that the page can move; the service must read it too."""
    hosts: tuple[str, ...] = LOCAL_NAMES
    """Names by which it may be called; others can be made to lead to this machine by any web page."""
