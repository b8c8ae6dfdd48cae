// The text field of the chat page with its menu of commands, and what closes every menu.

import { node } from "./render.js";
import { compose, current } from "./tools.js";

const $ = (id) => document.getElementById(id);

/** What the page lends: `state`, `call`, `attempt`, `learner`, `toBottom`. */
let page;

export function drawComposer() {
  const field = $("composer");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
  $("send").disabled = !field.value.trim();
}

export function say(text) {
  const about = current();
  compose(null);
  const path = `learners/${page.state.selected}/messages`;
  if (about?.kind === "edit") return page.attempt(page.call("PATCH", `${path}/${about.message.message_id}`, { text }));
  return page.attempt(page.call("POST", path, { text, reply_to: about?.message.message_id })).then(() => page.toBottom());
}

function drawCommands(filter) {
  const list = $("commands");
  const found = (page.learner()?.commands ?? []).filter((one) => `/${one.command}`.startsWith(filter.toLowerCase()));
  list.hidden = !found.length;
  $("menu").setAttribute("aria-expanded", String(!list.hidden));
  list.replaceChildren(...found.map((one, index) => node("button", {
    type: "button", role: "option", id: `command-${index}`, "data-testid": "command", "aria-selected": String(index === 0), tabindex: "-1",
    onclick: () => { closePopups(); $("composer").value = ""; drawComposer(); say(`/${one.command}`); $("composer").focus(); },
  }, node("b", {}, `/${one.command}`), node("span", {}, one.description))));
  if (found.length) $("composer").setAttribute("aria-activedescendant", "command-0");
}

function moveCommand(step) {
  const options = [...$("commands").children];
  const index = options.findIndex((one) => one.getAttribute("aria-selected") === "true");
  const next = options[(index + step + options.length) % options.length];
  for (const one of options) one.setAttribute("aria-selected", String(one === next));
  next.scrollIntoView({ block: "nearest" });
  $("composer").setAttribute("aria-activedescendant", next.id);
}

export function closePopups() {
  $("commands").hidden = true;
  $("header-menu").hidden = true;
  $("message-menu").hidden = true;
  $("menu").setAttribute("aria-expanded", "false");
  $("more").setAttribute("aria-expanded", "false");
  $("composer").removeAttribute("aria-activedescendant");
}

function composerKey(event) {
  if (event.isComposing) return;
  const open = !$("commands").hidden;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (open && step) {
    event.preventDefault();
    moveCommand(step);
  } else if (open && (event.key === "Enter" || event.key === "Tab") && !event.shiftKey) {
    event.preventDefault();
    const chosen = $("commands").querySelector('[aria-selected="true"]');
    if (event.key === "Enter") chosen.click();
    else { $("composer").value = `${chosen.querySelector("b").textContent} `; closePopups(); }
  } else if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    $("composer-form").requestSubmit();
  } else if (event.key === "Escape" && !open) {
    $("pane").focus();
  }
}

// --- Wiring --------------------------------------------------------------------------------------------------------

export function setUpComposer(lent) {
  page = lent;
  $("composer-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("composer").value.trim();
    if (!text) return;
    $("composer").value = "";
    closePopups();
    drawComposer();
    say(text);
  });
  $("composer").addEventListener("keydown", composerKey);
  $("composer").addEventListener("input", () => {
    drawComposer();
    if (/^\/\w*$/.test($("composer").value)) drawCommands($("composer").value);
    else closePopups();
  });
  $("menu").addEventListener("click", () => {
    if ($("commands").hidden) drawCommands("/");
    else closePopups();
    $("composer").focus();
  });
}
