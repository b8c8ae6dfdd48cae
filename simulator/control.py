"""The control API under `/api/`: acting as learners, ordering failures, asking what happened."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import islice
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from simulator.core import NotPossibleError, Simulator, UnknownError
from simulator.errors import ApiError
from simulator.faults import KINDS, Fault
from simulator.media import picture_type
from simulator.model import AutoAnswer, Bot, Learner
from simulator.params import Json, Upload
from simulator.runs import RunRefusedError, start_run
from simulator.sending import photo_sizes, store_file
from simulator.views import bot_view, learner_view, log_view, messages_view

_MAX_CROWD: Final = 100_000
_REQUESTS_SHOWN: Final = 1_000
_LEARNERS_SHOWN: Final = 200

Handler = Callable[[Request], Awaitable[Response]]


class Control:
    """The handlers of the control API for one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def routes(self) -> list[Route]:
        """All routes, below `/api`."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/state", self.state),
            ("GET", "/events", self.events),
            ("GET", "/learners", self.learners),
            ("POST", "/learners", self.add_learner),
            ("PATCH", "/learners/{learner}", self.change_learner),
            ("GET", "/learners/{learner}/messages", self.messages),
            ("POST", "/learners/{learner}/messages", self.say),
            ("PATCH", "/learners/{learner}/messages/{message:int}", self.edit),
            ("DELETE", "/learners/{learner}/messages", self.forget),
            ("POST", "/learners/{learner}/photos", self.send_photo),
            ("PUT", "/learners/{learner}/pin", self.pin),
            ("POST", "/learners/{learner}/taps", self.tap),
            ("POST", "/learners/{learner}/redelivery", self.redeliver_last),
            ("POST", "/learners/{learner}/block", self.block),
            ("POST", "/learners/{learner}/unblock", self.unblock),
            ("GET", "/files/{file_id:str}", self.file),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("GET", "/updates", self.updates),
            ("POST", "/updates", self.inject),
            ("POST", "/redeliveries", self.redeliver),
            ("POST", "/crowd", self.gather),
            ("GET", "/statistics", self.statistics),
            ("DELETE", "/statistics", self.reset_statistics),
            ("GET", "/requests", self.requests),
            ("GET", "/log", self.log),
            ("POST", "/runs", self.start_run),
            ("POST", "/clock", self.advance_clock),
            ("DELETE", "/clock", self.reset_clock),
            ("POST", "/reset", self.reset),
        ]
        return [Route(path, _guarded(handler), methods=[method]) for method, path, handler in table]

    async def state(self, request: Request) -> Response:
        """Everything the page needs to begin."""
        simulator = self._simulator
        try:
            bot = self._bot(request)
        except UnknownError:
            bot = None
        return _json(
            {
                "bots": [bot_view(simulator, one) for one in simulator.bots.values()],
                "bot": bot_view(simulator, bot) if bot else None,
                "learners": [learner_view(one, bot) for one in islice(simulator.learners.values(), _LEARNERS_SHOWN)],
                "learner_count": len(simulator.learners),
                "prefect_ui_url": simulator.options.prefect_ui_url,
                "runs": [run.label for run in simulator.options.runs],
                "faults": simulator.faults.list(),
                "ahead": simulator.ahead if simulator.local_clock else None,
            }
        )

    async def events(self, _request: Request) -> Response:
        """The live stream."""
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._simulator.hub.stream(), media_type="text/event-stream", headers=headers)

    async def learners(self, request: Request) -> Response:
        """All learners, with their chat with the bot."""
        bot = self._bot(request) if self._simulator.bots else None
        return _json([learner_view(learner, bot) for learner in self._simulator.learners.values()])

    async def add_learner(self, request: Request) -> Response:
        """Make a learner, whom `started` gives an open chat; or with `group` a group of that name."""
        body = await _body(request)
        if title := body.get("group"):
            chosen = self._bot(request, body)
            return _json(learner_view(self._simulator.add_group(chosen, str(title), body.get("id")), chosen), 201)
        learner = self._simulator.add_learner(
            body.get("id"), str(body.get("first_name", "")), str(body.get("language_code", "en"))
        )
        bot = None
        if body.get("started"):
            bot = self._bot(request, body)
            self._simulator.open_chat(bot, learner)
        return _json(learner_view(learner, bot), 201)

    async def change_learner(self, request: Request) -> Response:
        """Change a learner's name or language, or deactivate the account."""
        learner, body = self._learner(request), await _body(request)
        learner.first_name = str(body.get("first_name", learner.first_name))
        learner.language_code = str(body.get("language_code", learner.language_code))
        learner.deactivated = bool(body.get("deactivated", learner.deactivated))
        for bot in self._simulator.bots.values():
            if chat := bot.chats.get(learner.id):
                chat.user = learner.user()
                chat.info = {**chat.info, "first_name": learner.first_name}
        self._simulator.save_learner(learner)
        return _json(learner_view(learner, None))

    async def messages(self, request: Request) -> Response:
        """A chat's last messages, oldest first."""
        bot, learner = self._bot(request), self._learner(request)
        limit = int(request.query_params.get("limit", "200"))
        before = int(request.query_params.get("before", "0"))
        return _json(messages_view(self._simulator, bot, learner, limit, before))

    async def say(self, request: Request) -> Response:
        """Write to the bot as a learner, or reply to a message."""
        body, learner = await _body(request), self._learner(request)
        text = str(body.get("text", ""))
        message = self._simulator.say(self._bot(request, body), learner, text, body.get("reply_to"))
        return _json(message.view(), 201)

    async def edit(self, request: Request) -> Response:
        """Edit a text of the learner's own."""
        body, learner = await _body(request), self._learner(request)
        message_id, text = request.path_params["message"], str(body.get("text", ""))
        return _json(self._simulator.edit(self._bot(request, body), learner, message_id, text).view())

    async def send_photo(self, request: Request) -> Response:
        """Send the bot a picture, which is the request's body; `caption` in the query."""
        bot, learner = self._bot(request), self._learner(request)
        file = store_file(self._simulator, Upload("photo", await request.body()), "photo")
        content: Json = {"photo": photo_sizes(file)}
        if caption := request.query_params.get("caption", ""):
            content["caption"] = caption
        return _json(self._simulator.write(bot, learner, content).view(), 201)

    async def pin(self, request: Request) -> Response:
        """Pin a message, or with null take the pin away."""
        body, learner = await _body(request), self._learner(request)
        self._simulator.pin(self._bot(request, body), learner, body["message_id"])
        return _json({})

    async def forget(self, request: Request) -> Response:
        """Delete the chat, and with it all that could be delivered again."""
        self._simulator.forget(self._bot(request), self._learner(request))
        return _json({})

    async def tap(self, request: Request) -> Response:
        """Press a button, by its data or by its place; `forge` sends data that no button has."""
        body, learner = await _body(request), self._learner(request)
        bot, message_id = self._bot(request, body), int(body["message_id"])
        if "data" in body:
            data = str(body["data"])
        else:
            data = _button_data(bot, learner, message_id, int(body["row"]), int(body["column"]))
        query_id = self._simulator.tap(bot, learner, message_id, data, forged=bool(body.get("forge")))
        return _json({"callback_query_id": query_id, "data": data}, 201)

    async def block(self, request: Request) -> Response:
        """Block the bot."""
        return await self._set_blocked(request, blocked=True)

    async def unblock(self, request: Request) -> Response:
        """Take the block back."""
        return await self._set_blocked(request, blocked=False)

    async def _set_blocked(self, request: Request, *, blocked: bool) -> Response:
        bot, learner = self._bot(request, await _body(request)), self._learner(request)
        self._simulator.set_blocked(bot, learner, blocked=blocked)
        return _json(learner_view(learner, bot))

    async def file(self, request: Request) -> Response:
        """A picture to show, or a document to download."""
        file = self._simulator.files.get(request.path_params["file_id"])
        if file is None:
            raise UnknownError("there is no such file")
        kind = picture_type(file.content)
        headers = {"x-content-type-options": "nosniff"}
        if file.kind != "photo" or not kind.startswith("image/"):
            # Shown by the browser, an uploaded page could act on this one's behalf.
            kind, headers["content-disposition"] = "application/octet-stream", "attachment"
        return Response(file.content, media_type=kind, headers=headers)

    async def faults(self, _request: Request) -> Response:
        """How many calls will still fail, and how."""
        return _json({"remaining": self._simulator.faults.remaining(), "faults": self._simulator.faults.list()})

    async def add_fault(self, request: Request) -> Response:
        """Let the next calls of a method fail."""
        body = await _body(request)
        kind = str(body["kind"])
        if kind not in KINDS:
            raise NotPossibleError(f"kind must be one of {', '.join(KINDS)}")
        fault = Fault(
            method=str(body.get("method", "*")).lower(),
            kind=kind,
            remaining=int(body.get("count", 1)),
            applied=bool(body.get("applied", kind in {"hang", "reset"})),
            retry_after=int(body.get("retry_after", 1)),
            seconds=float(body.get("seconds", 60)),
            bot=body.get("bot"),
            chat=body.get("chat"),
        )
        self._simulator.faults.add(fault)
        return _json({"remaining": self._simulator.faults.remaining()}, 201)

    async def clear_faults(self, _request: Request) -> Response:
        """Call all failures off."""
        self._simulator.faults.clear()
        return _json({"remaining": 0})

    async def updates(self, request: Request) -> Response:
        """The pending updates, and the past ones."""
        outbox = self._simulator.outboxes[self._bot(request).id]
        return _json(
            {
                "pending": [update.body() for update in outbox.pending.values()],
                "history": [update.body() for update in outbox.history],
            }
        )

    async def inject(self, request: Request) -> Response:
        """Deliver an Update as given; its `update_id` may be left out."""
        body = await _body(request)
        kinds = [name for name in body if name not in {"update_id", "bot"}]
        if len(kinds) != 1:
            raise NotPossibleError("an update has exactly one kind beside its update_id")
        bot = self._bot(request, body)
        update_id = self._simulator.inject(bot, kinds[0], body[kinds[0]], body.get("update_id"))
        return _json({"update_id": update_id}, 201)

    async def redeliver(self, request: Request) -> Response:
        """Deliver all past updates again, so many times, shuffled."""
        body = await _body(request)
        bot = self._bot(request, body)
        deliveries = self._simulator.redeliver(bot, int(body.get("times", 1)), body.get("seed"))
        return _json({"deliveries": deliveries}, 202)

    async def redeliver_last(self, request: Request) -> Response:
        """Deliver the last update of a learner once more."""
        update_id = self._simulator.redeliver_last(self._bot(request, await _body(request)), self._learner(request))
        return _json({"update_id": update_id}, 202)

    async def gather(self, request: Request) -> Response:
        """Make a crowd of learners that start the bot and answer by themselves."""
        body = await _body(request)
        count = int(body["count"])
        if not 0 < count <= _MAX_CROWD:
            raise NotPossibleError(f"count must be from 1 to {_MAX_CROWD}")
        least, most = body.get("delay", [0.5, 3.0])
        behaviour = AutoAnswer(float(body.get("probability", 1.0)), (float(least), float(most)))
        learners = self._simulator.crowd.gather(
            self._bot(request, body),
            count,
            behaviour,
            text=str(body.get("text", "/start")),
            per_second=float(body.get("per_second", 0)),
            seed=body.get("seed"),
        )
        return _json({"learners": learners}, 202)

    async def statistics(self, _request: Request) -> Response:
        """Counts and latencies."""
        pending = {bot_id: len(outbox.pending) for bot_id, outbox in self._simulator.outboxes.items()}
        return _json({**self._simulator.stats.summary(), "pending_updates": sum(pending.values())})

    async def reset_statistics(self, _request: Request) -> Response:
        """Begin to count anew."""
        self._simulator.stats.reset()
        return _json({})

    async def requests(self, request: Request) -> Response:
        """The last calls of bots, oldest first; `method` narrows them."""
        method = request.query_params.get("method", "").lower()
        limit = int(request.query_params.get("limit", str(_REQUESTS_SHOWN)))
        found = [one for one in self._simulator.stats.requests if not method or one.method == method]
        return _json(found[-limit:])

    async def log(self, request: Request) -> Response:
        """Updates and calls together, newest first; of one `learner`, or all."""
        learner, limit = request.query_params.get("learner"), int(request.query_params.get("limit", "200"))
        return _json(log_view(self._simulator, self._bot(request), int(learner) if learner else None, limit))

    async def start_run(self, request: Request) -> Response:
        """Start a run of Prefect that the menu offers, by its label."""
        label, options = str((await _body(request)).get("label")), self._simulator.options
        offer = next((one for one in options.runs if one.label == label), None)
        if offer is None:
            raise UnknownError(f"no run is offered as {label!r}")
        try:
            name = await start_run(self._simulator.http, options.prefect_ui_url, offer)
        except RunRefusedError as error:
            raise NotPossibleError(str(error)) from None
        return _json({"name": name}, 202)

    async def advance_clock(self, request: Request) -> Response:
        """Move the page's clock ahead by so many hours."""
        hours = float((await _body(request))["hours"])
        if hours <= 0:
            raise NotPossibleError("the clock goes ahead only, or back to the real time")
        self._simulator.move_clock(timedelta(hours=hours))
        return _json({"ahead": self._simulator.ahead})

    async def reset_clock(self, _request: Request) -> Response:
        """Let the page's clock show the real time again."""
        self._simulator.move_clock(None)
        return _json({"ahead": self._simulator.ahead})

    async def reset(self, _request: Request) -> Response:
        """Forget chats, learners and counts."""
        self._simulator.reset()
        return _json({})

    def _bot(self, request: Request, body: Json | None = None) -> Bot:
        asked = request.query_params.get("bot") or (body or {}).get("bot")
        return self._simulator.find_bot(int(asked) if asked else None)

    def _learner(self, request: Request) -> Learner:
        return self._simulator.learner(int(request.path_params["learner"]))


def _guarded(handler: Handler) -> Handler:
    """Turn refusals into answers."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except UnknownError as error:
            return _json({"error": str(error.args[0])}, 404)
        except NotPossibleError as error:
            return _json({"error": str(error)}, 409)
        except ApiError as error:
            return _json({"error": error.description}, 400)
        except (KeyError, TypeError, ValueError) as error:
            return _json({"error": f"cannot read the request: {error}"}, 400)

    return guarded


async def _body(request: Request) -> Json:
    raw = await request.body()
    body = orjson.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise TypeError("a JSON object is expected")
    return body


def _json(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - any JSON value
    return Response(orjson.dumps(value), status, media_type="application/json")


def _button_data(bot: Bot, learner: Learner, message_id: int, row: int, column: int) -> str:
    chat = bot.chats.get(learner.id)
    message = chat.messages.get(message_id) if chat else None
    rows = message.payload.get("reply_markup", {}).get("inline_keyboard", []) if message else []
    if not (0 <= row < len(rows) and 0 <= column < len(rows[row])):
        raise UnknownError(f"message {message_id} has no button at row {row}, column {column}")
    return str(rows[row][column].get("callback_data", ""))
