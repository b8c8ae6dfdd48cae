"""Bot API methods about the bot itself: who it is, where its updates go, and its commands."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from simulator.core import Simulator
from simulator.errors import WEBHOOK_ACTIVE, bad_request, conflict
from simulator.model import Bot, Webhook
from simulator.params import Json, Params

_MAX_POLL: Final = 50
_MAX_SECRET: Final = 256
_MAX_CONNECTIONS: Final = 100
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]*")
_COMMAND: Final = re.compile(r"[a-z0-9_]{1,32}")
_MAX_COMMANDS: Final = 100
_MAX_COMMAND: Final = 32
_MAX_COMMAND_DESCRIPTION: Final = 256
_CHAT_SCOPES: Final = frozenset({"chat", "chat_administrators", "chat_member"})
_SCOPES: Final = frozenset({"default", "all_private_chats", "all_group_chats", "all_chat_administrators"})


class Described:
    """A result that comes with a description, as those of setWebhook do."""

    def __init__(self, description: str) -> None:
        self.description = description


def get_me(_simulator: Simulator, bot: Bot, _params: Params) -> Json:
    """`getMe`."""
    return {
        **bot.user(),
        "can_join_groups": False,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
        "has_topics_enabled": False,
        "allows_users_to_create_topics": False,
    }


async def get_updates(simulator: Simulator, bot: Bot, params: Params) -> list[Json]:
    """`getUpdates`, with long polling.

    Raises:
        ApiError: 409 while a webhook is set, or when another call takes over.
    """
    if bot.webhook.url:
        raise conflict(WEBHOOK_ACTIVE)
    _set_allowed(bot, params)
    if bot.polled is None:
        simulator.hub.publish("bot")
    bot.polled = simulator.clock.monotonic()
    updates = await simulator.outboxes[bot.id].poll(
        params.integer("offset"),
        params.integer("limit", 100, 1, 100),
        float(params.integer("timeout", 0, 0, _MAX_POLL)),
    )
    bot.polled = simulator.clock.monotonic()
    return [update.body() for update in updates]


def set_webhook(simulator: Simulator, bot: Bot, params: Params) -> Described:
    """`setWebhook`; an empty URL deletes it."""
    url = params.text("url").strip()
    if not url:
        return delete_webhook(simulator, bot, params)
    _check_url(url)
    secret = params.text("secret_token")
    if len(secret) > _MAX_SECRET:
        raise bad_request("secret token is too long")
    if not _SECRET.fullmatch(secret):
        raise bad_request("secret token contains unallowed characters")
    old = bot.webhook
    webhook = Webhook(url, secret, params.integer("max_connections", 40, 1, _MAX_CONNECTIONS), old.allowed)
    same = (old.url, old.secret, old.max_connections) == (url, secret, webhook.max_connections)
    bot.webhook = webhook
    _set_allowed(bot, params)
    if params.flag("drop_pending_updates"):
        simulator.outboxes[bot.id].drop_all()
    elif same:
        webhook.last_error, webhook.last_error_date = old.last_error, old.last_error_date
        _keep(simulator, bot)
        return Described("Webhook is already set")
    simulator.outboxes[bot.id].connect()
    _keep(simulator, bot)
    return Described("Webhook was set")


def delete_webhook(simulator: Simulator, bot: Bot, params: Params) -> Described:
    """`deleteWebhook`; the pending updates then wait for getUpdates."""
    if params.flag("drop_pending_updates"):
        simulator.outboxes[bot.id].drop_all()
    was_set = bool(bot.webhook.url)
    bot.webhook = Webhook(allowed=bot.webhook.allowed)
    simulator.outboxes[bot.id].connect()
    _keep(simulator, bot)
    return Described("Webhook was deleted" if was_set else "Webhook is already deleted")


def get_webhook_info(simulator: Simulator, bot: Bot, _params: Params) -> Json:
    """`getWebhookInfo`."""
    webhook = bot.webhook
    info: Json = {
        "url": webhook.url,
        "has_custom_certificate": False,
        "pending_update_count": len(simulator.outboxes[bot.id].pending),
    }
    if webhook.last_error_date:
        info["last_error_date"] = webhook.last_error_date
        info["last_error_message"] = webhook.last_error
    if webhook.url:
        info["max_connections"] = webhook.max_connections
    if webhook.allowed is not None:
        info["allowed_updates"] = webhook.allowed
    return info


def set_my_commands(simulator: Simulator, bot: Bot, params: Params) -> bool:
    """`setMyCommands` for one scope and language."""
    value = params.json("commands", "can't parse commands JSON object")
    if not isinstance(value or [], list):
        raise bad_request("expected an Array of BotCommand")
    commands = [_read_command(item) for item in value or []]
    if len(commands) > _MAX_COMMANDS:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    bot.commands[_scope(params)] = commands
    _keep(simulator, bot)
    return True


def get_my_commands(_simulator: Simulator, bot: Bot, params: Params) -> list[Json]:
    """`getMyCommands` of exactly one scope and language."""
    return bot.commands.get(_scope(params), [])


def commands_for(bot: Bot, learner_id: int, language: str) -> list[Json]:
    """The commands that a learner sees: the narrowest scope that has any, in the learner's language if it can be."""
    for scope in (f"chat:{learner_id}", "all_private_chats", "default"):
        for key in (f"{scope}/{language}", f"{scope}/"):
            if bot.commands.get(key):
                return bot.commands[key]
    return []


def _keep(simulator: Simulator, bot: Bot) -> None:
    simulator.store.put("bot", 0, bot.id, bot)
    simulator.hub.publish("bot")


def _set_allowed(bot: Bot, params: Params) -> None:
    """Take over `allowed_updates`; absent it stays as it was, and an empty list means Telegram's default."""
    value = params.json("allowed_updates", "can't parse allowed_updates JSON object")
    if isinstance(value, list):
        bot.webhook.allowed = [str(kind) for kind in value] or None


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise bad_request("invalid webhook URL specified") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise bad_request("invalid webhook URL specified")
    if parts.scheme == "http" and not _is_local(host):
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")


def _is_local(host: str) -> bool:
    """Whether plain HTTP will do: this machine, a private address, or a neighbouring container's bare name."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host


def _scope(params: Params) -> str:
    scope = params.json("scope", "can't parse BotCommandScope JSON object")
    language = params.text("language_code")
    if scope is None:
        return f"default/{language}"
    if not isinstance(scope, dict):
        raise bad_request("can't parse BotCommandScope: BotCommandScope must be an Object")
    kind = scope.get("type")
    if kind in _SCOPES:
        return f"{kind}/{language}"
    if kind not in _CHAT_SCOPES:
        raise bad_request("can't parse BotCommandScope: Unsupported type specified")
    return f"{kind}:{scope.get('chat_id', '')}/{language}"


def _read_command(item: object) -> Json:
    if not isinstance(item, dict):
        raise bad_request("can't parse BotCommand: expected an Object")
    command = str(item.get("command") or "").strip().removeprefix("/")
    description = str(item.get("description") or "").strip()
    if not command:
        raise bad_request("command must be non-empty")
    if len(command) > _MAX_COMMAND:
        raise bad_request(f"command length must not exceed {_MAX_COMMAND}")
    if not description:
        raise bad_request("command description must be non-empty")
    if len(description) > _MAX_COMMAND_DESCRIPTION:
        raise bad_request(f"command description length must not exceed {_MAX_COMMAND_DESCRIPTION}")
    if not _COMMAND.fullmatch(command):
        raise bad_request("BOT_COMMAND_INVALID")
    return {"command": command, "description": description}
