"""What the simulator remembers: learners, bots, their chats, messages, taps and updates."""

from dataclasses import dataclass, field
from typing import Final

from simulator.limits import Bucket
from simulator.options import Options
from simulator.params import Json

_FIRST_UPDATE_ID: Final = 100_000_001
_DEFAULT_MAX_CONNECTIONS: Final = 40


@dataclass(frozen=True, slots=True)
class AutoAnswer:
    """How a learner of a crowd behaves: it taps a random button of a new message."""

    probability: float
    delay: tuple[float, float]
    """Seconds between message and tap: least and most."""


@dataclass(slots=True)
class Learner:
    """A person who uses bots."""

    id: int
    first_name: str
    language_code: str = "en"
    deactivated: bool = False
    auto: AutoAnswer | None = None
    group: bool = False
    """Whether this is a group instead, in which the first learner writes; its id is negative."""

    def user(self) -> Json:
        """The Bot API's User."""
        return {
            "id": self.id,
            "is_bot": False,
            "first_name": self.first_name,
            "language_code": self.language_code,
        }

    def record(self) -> Json:
        """What is stored; a crowd's behaviour ends with the process."""
        return {**self.user(), "deactivated": self.deactivated, "group": self.group}


@dataclass(slots=True)
class Message:
    """A message in the Bot API's form, and what only Telegram's apps know of it."""

    payload: Json
    learner_id: int
    edited: bool = False
    """Whether its text was edited: a change of buttons alone is not shown as an edit."""

    @property
    def id(self) -> int:
        """Its number, unique among all chats of one bot."""
        number: int = self.payload["message_id"]
        return number

    @property
    def from_bot(self) -> bool:
        """Whether the bot wrote it."""
        flag: bool = self.payload["from"]["is_bot"]
        return flag

    def record(self) -> Json:
        """What is stored."""
        return {"payload": self.payload, "learner": self.learner_id, "edited": self.edited}

    def view(self) -> Json:
        """What the page is shown."""
        return {**self.payload, "edited": self.edited, "out": not self.from_bot}


@dataclass(slots=True)
class Chat:
    """The private chat of one learner with one bot."""

    learner: Learner
    bucket: Bucket
    user: Json
    info: Json
    started: bool = False
    blocked: bool = False
    pinned: int | None = None
    """The pinned message's number."""
    messages: dict[int, Message] = field(default_factory=dict)

    def record(self) -> Json:
        """What is stored, the messages apart."""
        return {"started": self.started, "blocked": self.blocked, "pinned": self.pinned}


@dataclass(slots=True)
class Webhook:
    """Where a bot's updates go."""

    url: str = ""
    secret: str = ""
    max_connections: int = _DEFAULT_MAX_CONNECTIONS
    allowed: list[str] | None = None
    """Kinds of update that the bot asked for; None for Telegram's default. Polling uses it too."""
    last_error_date: int = 0
    last_error: str = ""


@dataclass(slots=True)
class Update:
    """One update on its way to the bot."""

    id: int
    kind: str
    payload: Json
    key: tuple[str, int]
    """Updates of one key are delivered in order."""
    expires: float
    """When it is given up, in seconds since the epoch."""
    at: float = 0
    """When it came to be, likewise."""

    def body(self) -> Json:
        """The Bot API's Update."""
        return {"update_id": self.id, self.kind: self.payload}

    def record(self) -> Json:
        """What is stored."""
        return {"kind": self.kind, "payload": self.payload, "key": self.key, "expires": self.expires, "at": self.at}


@dataclass(slots=True)
class Tap:
    """A callback query that waits for its answer."""

    id: str
    learner_id: int
    message_id: int
    expires: float
    """Monotonic time."""
    answered: bool = False


@dataclass(slots=True)
class StoredFile:
    """A picture or document that a bot has uploaded."""

    number: int
    file_id: str
    name: str
    kind: str
    """`photo` or `document`."""
    content: bytes
    width: int = 0
    height: int = 0

    def record(self) -> Json:
        """What is stored, the content apart."""
        return {
            "file_id": self.file_id,
            "name": self.name,
            "kind": self.kind,
            "width": self.width,
            "height": self.height,
        }


@dataclass(slots=True)
class Bot:
    """A bot: one for each token."""

    id: int
    bucket: Bucket
    paid_bucket: Bucket
    name: str = ""
    commands: dict[str, list[Json]] = field(default_factory=dict)
    """By scope and language."""
    webhook: Webhook = field(default_factory=Webhook)
    chats: dict[int, Chat] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    taps: dict[str, Tap] = field(default_factory=dict)
    last_message_id: int = 0
    last_update_id: int = _FIRST_UPDATE_ID - 1
    seen: float | None = None
    """When it last called, in monotonic time."""
    polled: float | None = None
    """When it last asked for updates, in monotonic time."""

    @classmethod
    def create(cls, bot_id: int, options: Options) -> "Bot":
        """A bot that nobody has talked to yet."""
        return cls(bot_id, *cls.new_buckets(options), name="Data Engineering Quiz")

    @staticmethod
    def new_buckets(options: Options) -> tuple[Bucket, Bucket]:
        """Full buckets: for what is free, and for what is paid for."""
        return (
            Bucket(options.bot_rate, options.bot_burst),
            Bucket(options.paid_rate if options.bot_rate else 0, int(options.paid_rate)),
        )

    @property
    def username(self) -> str:
        """Its name in links and mentions."""
        return f"quiz_{self.id}_bot"

    def user(self) -> Json:
        """The Bot API's User."""
        return {"id": self.id, "is_bot": True, "first_name": self.name, "username": self.username}

    def record(self) -> Json:
        """What is stored, chats and messages apart."""
        return {
            "name": self.name,
            "commands": self.commands,
            "webhook": {
                "url": self.webhook.url,
                "secret": self.webhook.secret,
                "max_connections": self.webhook.max_connections,
                "allowed": self.webhook.allowed,
            },
            "last_message_id": self.last_message_id,
            "last_update_id": self.last_update_id,
        }
