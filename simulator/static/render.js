// From Telegram's objects to DOM nodes. Everything is built node by node, never as HTML from strings.

/** What nodes do when used; the page fills it in. */
export const actions = { say: null, tap: null, notify: null, loaded: null, show: null, menu: null, isWaiting: () => false };

/** How many milliseconds the page's clock is ahead. */
export const time = { ahead: 0 };
export const now = () => Date.now() + time.ahead;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const longDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long" });

export function node(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export function icon(name, className = "icon") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function dayName(date) {
  const days = Math.round((new Date(now()).setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return "Today";
  return days === 1 ? "Yesterday" : longDate.format(date);
}

export function listTime(seconds) {
  const date = new Date(seconds * 1000);
  if (dayName(date) === "Today") return clock.format(date);
  return now() - date < 6 * 86_400_000 ? weekday.format(date) : shortDate.format(date);
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

export function summary(message) {
  if (!message) return "";
  if (message.pinned_message) return `pinned “${summary(message.pinned_message).slice(0, 60)}”`;
  const text = message.text ?? message.caption ?? "";
  if (message.photo) return text ? `Photo · ${text}` : "Photo";
  return message.document ? `File · ${text || message.document.file_name}` : text.replaceAll(/\s+/g, " ");
}

// --- Text with entities --------------------------------------------------------------------------------------------

function link(href, ...content) {
  if (!/^(https?|tg|mailto):/i.test(href)) return node("span", { class: "link" }, ...content);
  return node("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...content);
}

function codeBlock(entity, text) {
  const copy = node("button", { onclick: async () => { await navigator.clipboard.writeText(text); actions.notify("Copied"); } }, "Copy");
  const head = entity.language ? node("div", { class: "code-head" }, node("span", {}, entity.language), copy) : null;
  return node("div", { class: "code" }, head, node("pre", { tabindex: "0" }, node("code", {}, text)));
}

/** Finds the quotes that have more than their three lines: all are measured before any is changed. */
const folds = new ResizeObserver((entries) => {
  const folded = entries.map((entry) => entry.target).filter((text) => text.parentElement?.classList.contains("folded"));
  const isLong = folded.map((text) => text.scrollHeight > text.clientHeight + 1);
  folded.forEach((text, index) => text.parentElement.classList.toggle("foldable", isLong[index]));
});

/** A quote; one that is folded shows three lines and a chevron, and a click anywhere on it opens it, as in Telegram. */
function quote(children, folded) {
  const text = node("div", { class: "quoted" }, ...children);
  const block = node("blockquote", { class: folded ? "folded" : "" }, text);
  if (!folded) return block;
  const button = node("button", { class: "fold", "aria-expanded": "false", "aria-label": "Show more" });
  const toggle = () => {
    const closed = block.classList.toggle("folded");
    button.setAttribute("aria-expanded", String(!closed));
    button.setAttribute("aria-label", closed ? "Show more" : "Show less");
  };
  block.addEventListener("click", (event) => {
    if (block.classList.contains("foldable") && !event.target.closest("a, button:not(.fold)") && getSelection().isCollapsed) toggle();
  });
  block.append(button);
  folds.observe(text);
  return block;
}

function spoiler(children) {
  const reveal = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    for (const one of event.currentTarget.closest(".text").querySelectorAll(".spoiler")) {
      one.classList.add("shown");
      one.removeAttribute("role");
      one.removeAttribute("aria-label");
    }
  };
  return node("span", { class: "spoiler", role: "button", tabindex: "0", "aria-label": "Hidden text, press to show", onclick: reveal, onkeydown: reveal }, ...children);
}

const SIMPLE = { bold: "b", italic: "i", underline: "u", strikethrough: "s", code: "code" };

function decorate(entity, text, children) {
  if (SIMPLE[entity.type]) return node(SIMPLE[entity.type], {}, ...children);
  switch (entity.type) {
    case "pre": return codeBlock(entity, text);
    case "spoiler": return spoiler(children);
    case "blockquote": return quote(children, false);
    case "expandable_blockquote": return quote(children, true);
    case "text_link": return link(entity.url, ...children);
    case "url": return link(/^[a-z]+:/i.test(text) ? text : `http://${text}`, ...children);
    case "email": return link(`mailto:${text}`, ...children);
    case "bot_command": return node("button", { class: "link", onclick: () => actions.say(text) }, text);
    case "mention": case "hashtag": return node("span", { class: "link" }, ...children);
    default: return node("span", {}, ...children);
  }
}

/** Build the nodes of text[start, end); entities are ordered and properly nested, as Telegram returns them. */
export function formatted(text, entities, start = 0, end = text.length) {
  const result = [];
  let at = start;
  for (let index = 0; index < entities.length; index += 1) {
    const entity = entities[index];
    const stop = Math.min(entity.offset + entity.length, end);
    if (entity.offset < at || entity.offset >= end) continue;
    const inner = entities.slice(index + 1).filter((one) => one.offset >= entity.offset && one.offset + one.length <= stop);
    let before = text.slice(at, entity.offset);
    const isBlock = ["pre", "blockquote", "expandable_blockquote"].includes(entity.type);
    if (isBlock) before = before.replace(/\n$/, "");
    result.push(before, decorate(entity, text.slice(entity.offset, stop), formatted(text, inner, entity.offset, stop)));
    at = isBlock && text[stop] === "\n" ? stop + 1 : stop;
  }
  result.push(text.slice(at, end));
  return result;
}

// --- Messages ------------------------------------------------------------------------------------------------------

function attachment(message) {
  if (message.photo) {
    const picture = message.photo.at(-1);
    const source = `api/files/${encodeURIComponent(picture.file_id)}`;
    const show = () => actions.show(source);
    const only = message.caption ? "" : " picture-only";
    return node("button", { class: `picture-button${only}`, "aria-label": "Enlarge the picture", onclick: show },
      node("img", { src: source, alt: message.caption ?? "Picture", width: picture.width, height: picture.height, onload: () => actions.loaded() }));
  }
  if (!message.document) return null;
  const file = message.document;
  return node("a", { class: "document", "data-testid": "document", href: `api/files/${encodeURIComponent(file.file_id)}`, download: file.file_name },
    node("span", { class: "document-icon" }, icon("file")),
    node("span", {}, node("b", {}, file.file_name), node("small", {}, size(file.file_size))));
}

function meta(message) {
  const date = new Date(message.date * 1000);
  return node("span", { class: "meta" }, message.edited ? node("span", { "data-testid": "edited" }, "edited") : "",
    node("time", { datetime: date.toISOString(), title: date.toLocaleString() }, clock.format(date)), message.out ? icon("check") : "");
}

function key(message, button) {
  const url = button.url ?? button.web_app?.url;
  if (url) return node("a", { class: "key", "data-testid": "keyboard-button", href: /^(https?|tg):/i.test(url) ? url : "#", target: "_blank", rel: "noopener noreferrer" }, button.text, icon("link"));
  const loading = actions.isWaiting(message.message_id, button.callback_data);
  const press = button.callback_data !== undefined ? (event) => actions.tap(message, button.callback_data, event.currentTarget) : () => actions.notify("This kind of button works in Telegram only");
  return node("button", { class: `key${loading ? " loading" : ""}`, "data-testid": "keyboard-button", "data-callback": button.callback_data, "aria-busy": String(loading), onclick: press }, button.text);
}

function keyboard(message) {
  const rows = message.reply_markup?.inline_keyboard;
  if (!rows) return null;
  return node("div", { class: "keys", role: "group", "aria-label": "Buttons" },
    ...rows.map((row) => node("div", { class: "key-row" }, ...row.map((button) => key(message, button)))));
}

function serviceNode(message) {
  return node("div", { class: "service", "data-testid": "service", "data-message-id": message.message_id }, `${message.from.first_name} ${summary(message)}`);
}

export function messageNode(message, isNew) {
  if (message.pinned_message) return serviceNode(message);
  const text = message.text ?? message.caption ?? "";
  const entities = message.entities ?? message.caption_entities ?? [];
  const reply = message.reply_to_message;
  const replied = reply ? node("div", { class: "replied" }, node("b", {}, reply.from.first_name), node("span", {}, summary(reply))) : null;
  const keys = keyboard(message);
  return node("article", {
    class: `message ${message.out ? "out" : "in"}${keys ? " with-keys" : ""}${isNew ? " new" : ""}`,
    "data-testid": "message", "data-message-id": message.message_id, "aria-label": `${message.out ? "You" : message.from.first_name}, ${clock.format(message.date * 1000)}`,
  }, node("div", { class: "bubble", oncontextmenu: (event) => actions.menu(message, event) },
    node("button", { class: "message-more", "data-testid": "message-more", "aria-label": "Reply, edit or pin", onclick: (event) => actions.menu(message, event) }, icon("down")), replied, attachment(message), text ? node("div", { class: "text" }, ...formatted(text, entities), meta(message)) : meta(message)), keys);
}
