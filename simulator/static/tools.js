// The developer's tools of the chat page: the menu, a message's actions, the keys A-D and the inspector.

import { icon, node, now, summary, time } from "./render.js";

const $ = (id) => document.getElementById(id);
const FAULTS = [
  ["normally", null],
  ["429", { kind: "429", retry_after: 5 }],
  ["500", { kind: "500" }],
  ["slowly", { kind: "slow", seconds: 5 }],
  ["403 blocked", { kind: "403" }],
];
const UNTIL_SWITCHED_OFF = 1_000_000;
const ERASE = { command: "/erase", button: /^yes\b/i };
const PATIENCE = 15_000;
const REFRESH = 2000;

/** What the page lends: `state`, `call`, `attempt`, `toast`, `learner`, `select`, `closePopups`, `refresh`. */
let page;

// --- The menu ------------------------------------------------------------------------------------------------------

function drawRuns() {
  $("runs").replaceChildren(...(page.state.runs ?? []).map((label) => node("button", {
    type: "button", role: "menuitem", "data-testid": "run", onclick: () => { page.closePopups(); page.attempt(startRun(label)); },
  }, icon("play"), label)));
}

async function startRun(label) {
  const { name } = await page.call("POST", "runs", { label });
  page.toast(`Prefect starts the run ${name}: it takes some seconds`);
}

const CLOCK = [["+1 hour", 1], ["+1 day", 24], ["real time", 0]];
const moment = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export function drawClock() {
  const { ahead } = page.state;
  time.ahead = (ahead ?? 0) * 1000;
  const [days, hours] = [Math.floor(ahead / 86_400), Math.round((ahead % 86_400) / 3600)];
  $("clock-group").hidden = ahead === null;
  $("clock-label").textContent = `It is ${moment.format(now())}`;
  $("clock-choices").replaceChildren(...CLOCK.map(([label, step]) => node("button", {
    type: "button", role: "menuitem", "data-testid": "clock", "aria-checked": String(!step && !ahead), onclick: () => page.attempt(moveClock(step)),
  }, label)));
  $("clock-off").hidden = !ahead;
  $("clock-off").firstElementChild.textContent = `+${[days && `${days} d`, hours && `${hours} h`].filter(Boolean).join(" ")}`;
}

const moveClock = (hours) => (hours ? page.call("POST", "clock", { hours }) : page.call("DELETE", "clock"));

const shownFault = () => page.state.faults?.find((fault) => fault.chat === page.state.selected || fault.chat === null);

function drawFaults() {
  const current = shownFault();
  $("fault-choices").replaceChildren(...FAULTS.map(([label, fault]) => node("button", {
    type: "button", role: "menuitemradio", "data-testid": "fault", "aria-checked": String((current?.kind ?? null) === (fault?.kind ?? null)),
    onclick: () => page.attempt(setFault(fault)),
  }, label)));
  $("fault-off").hidden = !current;
  $("fault-off").firstElementChild.textContent = FAULTS.find(([, fault]) => fault?.kind === current?.kind)?.[0] ?? current?.kind;
}

async function setFault(fault) {
  await page.call("DELETE", "faults");
  if (fault) await page.call("POST", "faults", { ...fault, chat: page.state.selected, count: UNTIL_SWITCHED_OFF });
  await page.refresh();
}

async function redeliver() {
  const { update_id: id } = await page.call("POST", `learners/${page.state.selected}/redelivery`, {});
  page.toast(`Update ${id} is delivered again`);
}

async function sendPhoto() {
  const [file] = $("photo-file").files;
  $("photo-file").value = "";
  if (!file) return;
  const answer = await fetch(`api/learners/${page.state.selected}/photos?bot=${page.state.bot.id}`, { method: "POST", body: file });
  if (!answer.ok) throw new Error((await answer.json()).error);
}

async function found(look) {
  const end = Date.now() + PATIENCE;
  while (Date.now() < end) {
    const one = look();
    if (one) return one;
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  return null;
}

const newest = () => [...page.state.messages.values()].at(-1);
const eraseButton = (message) => message?.reply_markup?.inline_keyboard.flat().find((button) => ERASE.button.test(button.text));

/** Let the bot erase what it stores of the learner, by its own command, then delete the chat. */
async function reset() {
  const id = page.state.selected;
  const asked = newest()?.message_id ?? 0;
  await page.call("POST", `learners/${id}/messages`, { text: ERASE.command });
  const reply = await found(() => [...page.state.messages.values()].find((message) => message.message_id > asked && !message.out));
  const button = eraseButton(reply);
  if (button) {
    await page.call("POST", `learners/${id}/taps`, { message_id: reply.message_id, data: button.callback_data });
    await found(() => !eraseButton(page.state.messages.get(reply.message_id)));
  }
  await page.call("DELETE", `learners/${id}/messages`);
  page.toast(reply ? "Forgotten, here and by the bot" : `Forgotten here; the bot did not answer ${ERASE.command}`);
}

/** Draw what depends on the state and the selected chat. */
export function drawTools() {
  const one = page.learner();
  const open = Boolean(one?.started && !one.blocked && !one.deactivated);
  for (const id of ["send-photo", "redeliver", "reset"]) $(id).hidden = !open;
  $("toggle-block").hidden = !one?.started;
  drawRuns();
  drawClock();
  drawFaults();
}

// --- A message's actions: reply, edit, pin -------------------------------------------------------------------------

let composing = null;

/** What is being written: an edit, a reply, or null for a new message. */
export const current = () => composing;

export function compose(kind, message) {
  composing = kind ? { kind, message } : null;
  $("composing").hidden = !kind;
  if (!kind) return;
  $("composing-title").textContent = kind === "edit" ? "Edit the message" : `Reply to ${message.out ? "yourself" : message.from.first_name}`;
  $("composing-text").textContent = summary(message);
  if (kind === "edit") $("composer").value = message.text;
  $("composer").dispatchEvent(new Event("input"));
  $("composer").focus();
}

export function drawPinned() {
  const message = page.state.pinned;
  $("pinned").hidden = !message;
  if (message) $("pinned-text").textContent = summary(message);
}

const pin = (message) => page.attempt(page.call("PUT", `learners/${page.state.selected}/pin`, { message_id: message?.message_id ?? null }));

export function openMessageMenu(message, event) {
  event.preventDefault();
  event.stopPropagation();
  page.closePopups();
  if (!page.learner()?.started || page.learner().blocked) return;
  const pinned = page.state.pinned?.message_id === message.message_id;
  const entries = [
    ["reply", "Reply", () => compose("reply", message)],
    message.out && message.text ? ["edit", "Edit", () => compose("edit", message)] : null,
    pinned ? ["pin", "Unpin", () => pin(null)] : ["pin", "Pin", () => pin(message)],
  ];
  const menu = $("message-menu");
  menu.replaceChildren(...entries.filter(Boolean).map(([name, label, action]) => node("button", {
    type: "button", role: "menuitem", "data-testid": `message-${name}`, onclick: () => { page.closePopups(); action(); },
  }, icon(name), label)));
  menu.hidden = false;
  const frame = $("chat").getBoundingClientRect();
  const from = event.currentTarget.getBoundingClientRect();
  const [x, y] = event.clientX ? [event.clientX, event.clientY] : [from.left, from.bottom];
  menu.style.left = `${Math.max(8, Math.min(x - frame.left, frame.width - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.max(8, Math.min(y - frame.top, frame.height - menu.offsetHeight - 8))}px`;
  menu.firstElementChild.focus();
}

// --- Keys A-D ------------------------------------------------------------------------------------------------------

/** The buttons of the newest message that has one for each letter. */
export function openQuestion() {
  const marked = (button) => /^[A-D](?![A-Za-z])/.exec(button.textContent)?.[0];
  for (const element of [...page.state.nodes.values()].reverse()) {
    const keys = new Map([...element.querySelectorAll(".key")].map((button) => [marked(button), button]));
    if ([..."ABCD"].every((letter) => keys.has(letter))) return keys;
  }
  return null;
}

function answerByKey(event) {
  const letter = event.key.toUpperCase();
  if (!/^[A-D]$/.test(letter) || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("textarea, input, select, dialog, .inspector")) return;
  const button = openQuestion()?.get(letter);
  if (!button) return;
  event.preventDefault();
  button.click();
}

// --- The inspector -------------------------------------------------------------------------------------------------

const precise = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
const entries = new Map();
let asking = false;
let timer = null;

function entryNode(entry) {
  const ok = entry.kind === "update" || entry.status === 200;
  const body = node("pre", { tabindex: "0" });
  const details = node("details", { class: "entry", "data-testid": "entry" },
    node("summary", {},
      node("span", { class: `direction ${entry.kind}`, title: entry.kind === "update" ? "Update to the bot" : "Request of the bot" }, entry.kind === "update" ? "→ bot" : "bot →"),
      node("b", {}, entry.name),
      ok ? "" : node("span", { class: "failed" }, entry.status || "no answer"),
      node("time", {}, precise.format(entry.at * 1000))),
    entry.description ? node("p", {}, entry.description) : "", body);
  details.addEventListener("toggle", () => { body.textContent = JSON.stringify(entry.body, null, 2); }, { once: true });
  return details;
}

async function inspect() {
  if (asking || $("inspector").hidden) return;
  asking = true;
  try {
    const chat = $("inspect-all").checked ? "" : `&learner=${page.state.selected}`;
    const shown = new Map();
    for (const entry of await page.call("GET", `log?limit=200${chat}`)) {
      const id = `${entry.at} ${entry.kind} ${entry.name} ${entry.status} ${entry.body.update_id ?? ""}`;
      shown.set(id, entries.get(id) ?? entryNode(entry));
    }
    if ([...shown.keys()].join() !== [...entries.keys()].join()) $("entries").replaceChildren(...shown.values());
    entries.clear();
    for (const [id, element] of shown) entries.set(id, element);
    $("no-entries").hidden = shown.size > 0;
  } finally {
    asking = false;
  }
}

/** Look again soon: something happened. */
export function inspectSoon() {
  clearTimeout(timer);
  timer = setTimeout(() => inspect().catch(() => {}), 150);
}

function toggleInspector(open) {
  $("inspector").hidden = !open;
  $("columns").classList.toggle("inspecting", open);
  if (open) inspectSoon();
}

// --- Wiring --------------------------------------------------------------------------------------------------------

export function setUpTools(lent) {
  page = lent;
  const entry = (id, action) => $(id).addEventListener("click", () => { page.closePopups(); action(); });
  entry("send-photo", () => $("photo-file").click());
  entry("redeliver", () => page.attempt(redeliver()));
  entry("open-inspector", () => toggleInspector($("inspector").hidden));
  entry("open-group", () => page.attempt(page.call("POST", "learners", { group: "Data team" }).then((one) => page.select(one.id))));
  entry("reset", () => $("reset-dialog").showModal());
  entry("toggle-block", () => page.attempt(page.call("POST", `learners/${page.state.selected}/${page.learner().blocked ? "unblock" : "block"}`, {})));
  $("photo-file").addEventListener("change", () => page.attempt(sendPhoto()));
  $("reset-dialog").addEventListener("close", () => {
    if ($("reset-dialog").returnValue === "reset") page.attempt(reset());
    $("reset-dialog").returnValue = "";
  });
  $("clock-off").addEventListener("click", () => page.attempt(moveClock(0)));
  $("fault-off").addEventListener("click", () => page.attempt(setFault(null)));
  $("close-inspector").addEventListener("click", () => { toggleInspector(false); $("more").focus(); });
  $("inspect-all").addEventListener("change", inspectSoon);
  $("stop-composing").addEventListener("click", () => {
    if (composing?.kind === "edit") $("composer").value = "";
    compose(null);
    $("composer").dispatchEvent(new Event("input"));
    $("composer").focus();
  });
  $("pinned").addEventListener("click", () => page.state.nodes.get(page.state.pinned.message_id)?.scrollIntoView({ block: "center", behavior: "smooth" }));
  document.addEventListener("keydown", answerByKey);
  setInterval(() => { if (!document.hidden) inspectSoon(); }, REFRESH);
}
