// The chat page: a learner's view of Telegram.

import { closePopups, drawComposer, say, setUpComposer } from "./composer.js";
import { actions, dayName, listTime, messageNode, node, summary } from "./render.js";
import { compose, drawClock, drawPinned, drawTools, inspectSoon, openMessageMenu, openQuestion, setUpTools } from "./tools.js";

const $ = (id) => document.getElementById(id);
const state = {
  bot: null, bots: [], learners: new Map(), selected: null, messages: new Map(), nodes: new Map(),
  waiting: new Map(), typing: new Map(), reached: false, below: 0, opening: 0, fetching: 0, backlog: [],
  pinned: null, runs: [], faults: [], ahead: null,
};
const NEAR_BOTTOM = 120;
const ANSWER_PATIENCE = 20_000;

// --- Small helpers -------------------------------------------------------------------------------------------------

async function call(method, path, body) {
  const query = state.bot ? `${path.includes("?") ? "&" : "?"}bot=${state.bot.id}` : "";
  const options = { method, headers: { "content-type": "application/json" } };
  if (body !== undefined) options.body = JSON.stringify(body);
  const response = await fetch(`api/${path}${query}`, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

const attempt = (promise) => promise.catch((error) => toast(`Not possible: ${error.message}`));
const initials = (name) => name.split(/\s+/).map((word) => word[0]).filter(Boolean).slice(0, 2).join("").toUpperCase();
const learner = () => state.learners.get(state.selected);
const hue = (id) => `hue${(id - 1001 + 7000) % 7}`;

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $("toast").hidden = true; }, 3000 + text.length * 30);
}

// --- What has been read, kept by the browser -----------------------------------------------------------------------

const readKey = (id) => `read:${state.bot?.id}:${id}`;

function markRead() {
  const one = learner();
  if (!one || !state.bot || document.hidden || !chatIsOpen()) return;
  const newest = Math.max(0, ...(one.bot_message_ids ?? []));
  localStorage.setItem(readKey(one.id), newest);
  drawLearner(one);
}

function unread(one) {
  const read = Number(localStorage.getItem(readKey(one.id)) ?? 0);
  return (one.bot_message_ids ?? []).filter((id) => id > read).length;
}

const chatIsOpen = () => getComputedStyle($("chat")).display !== "none";

// --- Learners ------------------------------------------------------------------------------------------------------

function drawLearner(one) {
  const count = unread(one);
  const last = one.last_message;
  const mark = one.blocked ? node("span", { class: "when" }, "blocked") : null;
  const button = node("button", {
    class: "learner", "data-testid": `learner-${one.id}`, "aria-current": one.id === state.selected ? "true" : "false",
    onclick: () => select(one.id),
  },
  node("span", { class: `avatar ${hue(one.id)}`, "aria-hidden": "true" }, initials(one.first_name)),
  node("span", {},
    node("span", { class: "learner-top" }, node("span", { class: "name" }, one.first_name),
      mark ?? node("span", { class: "when" }, last ? listTime(last.date) : "")),
    node("span", { class: "learner-bottom" },
      node("span", { class: "preview" }, last?.out ? node("b", {}, "You: ") : "", summary(last) || "No messages yet"),
      count ? node("span", { class: "badge", "data-testid": "unread", "aria-label": `${count} unread` }, count > 99 ? "99+" : String(count)) : "")));
  const existing = $("learner-list").querySelector(`[data-learner="${one.id}"]`);
  if (!existing) {
    $("learner-list").append(node("li", { "data-learner": one.id }, button));
    return;
  }
  const focused = existing.contains(document.activeElement);
  existing.replaceChildren(button);
  if (focused) button.focus();
}

function drawLearners(total) {
  const more = total - state.learners.size;
  $("learner-list").replaceChildren();
  for (const one of state.learners.values()) drawLearner(one);
  $("learner-note").hidden = more <= 0;
  $("learner-note").textContent = `and ${more.toLocaleString()} more in the crowd`;
}

async function select(id, { focus = true } = {}) {
  const before = learner();
  state.selected = id;
  sessionStorage.setItem("learner", id);
  if (before) drawLearner(before);
  $("columns").classList.add("chat-open");
  closePopups();
  $("toast").hidden = true;
  $("composer").value = "";
  compose(null);
  await openChat();
  if (!focus || !matchMedia("(hover: hover)").matches || $("composer-form").hidden) return;
  (openQuestion() ? $("pane") : $("composer")).focus(); // a question is answered by the keys A to D
}

// --- The bot's state -----------------------------------------------------------------------------------------------

function drawBot() {
  const bot = state.bot;
  // Telegram keeps the last error for ever; it matters only while something waits.
  const failing = bot?.webhook_error && bot.pending_updates > 0;
  const modes = {
    webhook: () => (failing ? `webhook ${bot.webhook_url} · last error: ${bot.webhook_error}` : `webhook ${bot.webhook_url}`),
    polling: () => "polling",
    idle: () => "not connected",
  };
  $("bot-dot").className = `dot ${!bot || bot.mode === "idle" ? "" : bot.mode === "webhook" && failing ? "warn" : "good"}`;
  $("bot-name").textContent = bot && state.bots.length < 2 ? `${bot.name} @${bot.username} ·` : "";
  $("bot-state").textContent = bot
    ? `${modes[bot.mode]()}${bot.pending_updates ? ` · ${bot.pending_updates} waiting` : ""}`
    : `No bot is here yet: start one with ${location.origin} as its Telegram address`;
  $("bot-state").title = $("bot-state").textContent;
  $("bot-select").hidden = state.bots.length < 2;
  $("bot-select").replaceChildren(...state.bots.map((one) => node("option", { value: one.id, selected: one.id === bot?.id }, `${one.name} @${one.username}`)));
  $("bot-avatar").textContent = bot ? initials(bot.name) : "?";
  $("chat-name").textContent = bot?.name ?? "No bot yet";
  drawStatus();
}

function drawStatus() {
  const one = learner();
  const typing = state.typing.has(state.selected);
  $("chat-status").className = typing ? "typing" : "";
  $("chat-status").textContent = typing ? state.typing.get(state.selected).label : one ? one.group ? "group · you write as Learner 1" : `bot · you are ${one.first_name}` : "bot";
}

async function refreshBot() {
  const known = state.bot?.id;
  const fresh = await call("GET", "state");
  Object.assign(state, { bots: fresh.bots, bot: fresh.bot, faults: fresh.faults, ahead: fresh.ahead });
  for (const one of fresh.learners) if (state.learners.has(one.id)) state.learners.get(one.id).commands = one.commands;
  if (known !== fresh.bot?.id) await load();
  else { drawBot(); drawFoot(); if (state.messages.size === 0) drawMessages(); }
}

// --- Messages ------------------------------------------------------------------------------------------------------

const dayNode = (message) => node("div", { class: "day", role: "separator" }, dayName(new Date(message.date * 1000)));
const sameDay = (one, other) => new Date(one.date * 1000).toDateString() === new Date(other.date * 1000).toDateString();

function addMessage(message, isNew) {
  const previous = [...state.messages.values()].at(-1);
  if (!previous) $("messages").replaceChildren();
  state.messages.set(message.message_id, message);
  const element = messageNode(message, isNew);
  state.nodes.set(message.message_id, element);
  if (!previous || !sameDay(previous, message)) $("messages").append(dayNode(message));
  $("messages").append(element);
}

function replaceMessage(message) {
  const old = state.nodes.get(message.message_id);
  if (!old) return;
  const focused = [...old.querySelectorAll(".key")].indexOf(document.activeElement);
  const element = messageNode(message, false);
  state.messages.set(message.message_id, message);
  state.nodes.set(message.message_id, element);
  const stay = atBottom();
  old.replaceWith(element);
  // Whoever works by keyboard stays where the pressed button was.
  if (focused >= 0) (element.querySelectorAll(".key")[focused] ?? $("composer")).focus({ preventScroll: true });
  if (stay) toBottom();
}

function drawMessages() {
  const messages = [...state.messages.values()];
  state.messages.clear();
  state.nodes.clear();
  $("messages").replaceChildren();
  if (!messages.length) {
    $("messages").append(state.bot ? node("div", { class: "notice" }, "No messages here yet. Press START to begin.") : node("div", { class: "notice", "data-testid": "no-bot" }, `No bot is here yet. It appears as soon as one calls ${location.origin}`));
  }
  for (const message of messages) addMessage(message, false);
}

const openChat = () => fetching(async () => {
  const id = state.selected;
  const opening = ++state.opening;
  const answer = state.bot ? await call("GET", `learners/${id}/messages?limit=300`) : { messages: [] };
  if (opening !== state.opening) return;
  state.messages = new Map(answer.messages.map((message) => [message.message_id, message]));
  state.pinned = answer.pinned;
  drawMessages();
  drawBot();
  drawFoot();
  drawPinned();
  inspectSoon();
  toBottom();
  markRead();
  if (learner()) drawLearner(learner());
});

const atBottom = () => $("pane").scrollHeight - $("pane").scrollTop - $("pane").clientHeight < NEAR_BOTTOM;
const keepBottom = () => { if (state.reached) toBottom(); };

function toBottom() {
  $("pane").scrollTop = $("pane").scrollHeight;
  state.below = 0;
  drawBelow();
}

function drawBelow() {
  state.reached = atBottom();
  if (state.reached) state.below = 0;
  $("to-bottom").hidden = state.reached;
  $("to-bottom").querySelector(".badge").hidden = !state.below;
  $("to-bottom").querySelector(".badge").textContent = state.below;
}

// --- The foot of the chat ------------------------------------------------------------------------------------------

function drawFoot() {
  const one = learner();
  const [label, disabled] = !state.bot ? ["Waiting for a bot…", true] : one?.deactivated ? ["This account is deactivated", true] : one?.blocked ? ["RESTART BOT", false] : !one?.started ? ["START", false] : ["", false];
  $("start").hidden = !label;
  $("start").textContent = label;
  $("start").disabled = disabled;
  $("composer-form").hidden = Boolean(label);
  $("menu").hidden = !one?.commands?.length;
  $("more").hidden = !state.bot || !one;
  drawTools();
  $("toggle-block").className = one?.blocked ? "" : "danger";
  $("toggle-block").querySelector("span").textContent = one?.blocked ? "Unblock bot" : "Stop and block bot";
  drawComposer();
}

// --- Taps ----------------------------------------------------------------------------------------------------------

async function tap(message, data, button) {
  button.classList.add("loading");
  button.setAttribute("aria-busy", "true");
  try {
    await call("POST", `learners/${state.selected}/taps`, { message_id: message.message_id, data });
  } catch (error) {
    button.classList.remove("loading");
    toast(`Not possible: ${error.message}`);
  }
}

function release(id) {
  const waiting = state.waiting.get(id);
  if (!waiting) return;
  clearTimeout(waiting.timer);
  state.waiting.delete(id);
  for (const button of state.nodes.get(waiting.message)?.querySelectorAll(".key.loading") ?? []) {
    if (button.dataset.callback !== waiting.data) continue;
    button.classList.remove("loading");
    button.setAttribute("aria-busy", "false");
  }
}

// --- Live events ---------------------------------------------------------------------------------------------------

function stopTyping(id) {
  clearTimeout(state.typing.get(id)?.timer);
  state.typing.delete(id);
  drawStatus();
}

function onMessage(event) {
  const one = state.learners.get(event.learner);
  if (!one) return;
  one.last_message = event.message;
  if (event.message.out) one.started = true;
  else one.bot_message_ids = [...new Set([event.message.message_id, ...(one.bot_message_ids ?? [])])].slice(0, 100);
  if (!event.message.out) stopTyping(one.id);
  if (one.id === state.selected) {
    const stay = atBottom() || event.message.out;
    if (!state.messages.has(event.message.message_id)) addMessage(event.message, true);
    if (stay) toBottom();
    else { state.below += 1; drawBelow(); }
    if ($("start").hidden !== (one.started && !one.blocked)) drawFoot();
    markRead();
  }
  drawLearner(one);
}

function onDelete(event) {
  const one = state.learners.get(event.learner);
  if (!one) return;
  one.bot_message_ids = (one.bot_message_ids ?? []).filter((id) => id !== event.message_id);
  if (one.id === state.selected) {
    state.messages.delete(event.message_id);
    drawMessages();
  }
  if (one.last_message?.message_id === event.message_id) one.last_message = one.id === state.selected ? [...state.messages.values()].at(-1) : null;
  drawLearner(one);
}

const ACTIONS = { upload_photo: "sending a photo", upload_document: "sending a file", typing: "typing" };

const handlers = {
  message: onMessage,
  delete: onDelete,
  edit: (event) => {
    const one = state.learners.get(event.learner);
    if (one?.last_message?.message_id === event.message.message_id) { one.last_message = event.message; drawLearner(one); }
    if (event.learner === state.selected) replaceMessage(event.message);
  },
  tap: (event) => {
    if (event.learner !== state.selected) return;
    const timer = setTimeout(() => release(event.query_id), ANSWER_PATIENCE);
    state.waiting.set(event.query_id, { message: event.message_id, data: event.data, timer });
  },
  answer: (event) => {
    release(event.query_id);
    if (event.learner !== state.selected || !event.text) return;
    if (!event.alert) return void toast(event.text);
    $("alert-text").textContent = event.text;
    if (!$("alert").open) $("alert").showModal();
  },
  action: (event) => {
    stopTyping(event.learner);
    if (event.action === "cancel") return;
    state.typing.set(event.learner, { label: ACTIONS[event.action] ?? "typing", timer: setTimeout(() => stopTyping(event.learner), 5000) });
    drawStatus();
  },
  pinned: (event) => {
    if (event.learner !== state.selected) return;
    state.pinned = event.message;
    drawPinned();
  },
  clock: (event) => {
    state.ahead = event.ahead;
    drawClock();
    for (const one of state.learners.values()) drawLearner(one);
    drawMessages();
    toBottom();
  },
  blocked: (event) => {
    const one = state.learners.get(event.learner);
    if (!one) return;
    one.blocked = event.blocked;
    drawLearner(one);
    if (one.id === state.selected) drawFoot();
  },
  learner: (event) => {
    const known = state.learners.get(event.learner.id);
    if (!known && state.learners.size >= 200) return;
    const one = Object.assign(known ?? { bot_message_ids: [], commands: [...state.learners.values()][0]?.commands ?? [] }, event.learner);
    state.learners.set(one.id, one);
    drawLearner(one);
    if (one.id === state.selected) { drawFoot(); drawStatus(); }
  },
};

function receive(events) {
  // What happens while state is being fetched would be overwritten by it: it waits, and is idempotent if fetched too.
  if (state.fetching) { state.backlog.push(...events); return; }
  if (events.some((event) => event.type === "resync")) { attempt(load()); return; }
  for (const event of events) if (event.bot === undefined || event.bot === state.bot?.id) handlers[event.type]?.(event);
  if (events.some((event) => event.type === "bot")) attempt(refreshBot());
  inspectSoon();
}

async function fetching(work) {
  state.fetching += 1;
  try {
    return await work();
  } finally {
    state.fetching -= 1;
    if (!state.fetching) receive(state.backlog.splice(0));
  }
}

function listen() {
  const source = new EventSource("api/events");
  source.onopen = () => attempt(load());
  source.onerror = () => { $("bot-dot").className = "dot warn"; $("bot-state").textContent = "The simulator is unavailable; waiting for it…"; };
  source.onmessage = (incoming) => receive(JSON.parse(incoming.data));
}

const load = () => fetching(async () => {
  const fresh = await call("GET", "state");
  Object.assign(state, { bots: fresh.bots, bot: fresh.bot, runs: fresh.runs, faults: fresh.faults, ahead: fresh.ahead, learners: new Map(fresh.learners.map((one) => [one.id, one])) });
  $("prefect-link").hidden = !/^https?:/.test(fresh.prefect_ui_url);
  $("prefect-link").href = fresh.prefect_ui_url;
  if (!state.learners.has(state.selected)) state.selected = fresh.learners[0]?.id ?? null;
  drawLearners(fresh.learner_count);
  await openChat();
});

// --- Wiring --------------------------------------------------------------------------------------------------------

Object.assign(actions, {
  say, tap, menu: openMessageMenu,
  notify: toast,
  loaded: keepBottom,
  show: (source) => { $("viewer-image").src = source; $("viewer").showModal(); },
  isWaiting: (message, data) => [...state.waiting.values()].some((one) => one.message === message && one.data === data),
});

$("start").addEventListener("click", async () => {
  if (learner().blocked) await attempt(call("POST", `learners/${state.selected}/unblock`, {}));
  await say("/start");
  $("composer").focus();
});
$("more").addEventListener("click", () => {
  const open = $("header-menu").hidden;
  closePopups();
  $("header-menu").hidden = !open;
  $("more").setAttribute("aria-expanded", String(open));
  if (open) $("header-menu").querySelector("button:not([hidden])").focus();
});
$("add-learner").addEventListener("click", () => attempt(call("POST", "learners", {}).then((one) => select(one.id))));
$("back").addEventListener("click", () => {
  $("columns").classList.remove("chat-open");
  $("learner-list").querySelector('[aria-current="true"]')?.focus();
});
$("bot-select").addEventListener("change", (event) => {
  state.bot = state.bots.find((one) => one.id === Number(event.target.value));
  attempt(load());
});
$("to-bottom").addEventListener("click", toBottom);
$("pane").addEventListener("scroll", drawBelow, { passive: true });
$("toast").addEventListener("click", () => { $("toast").hidden = true; });
document.addEventListener("visibilitychange", markRead);
document.addEventListener("click", (event) => {
  if (!event.target.closest(".popup, #more, #menu, #composer, .message-more")) closePopups();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closePopups(); });
addEventListener("resize", keepBottom);
setUpComposer({ state, call, attempt, learner, toBottom });
setUpTools({ state, call, attempt, toast, learner, select, closePopups, refresh: refreshBot });
state.selected = Number(sessionStorage.getItem("learner")) || null;
listen();
setInterval(() => { if (!document.hidden) refreshBot().catch(() => {}); }, 5000);
