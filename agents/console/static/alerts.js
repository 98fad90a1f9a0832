// The list of alerts: filtered by the server, kept current by what it pushes.

import { ask } from "./api.js";
import { bar, count, el, money, named, percent, sentence, when } from "./draw.js";

const SHOWN = 200;
const WIDE = matchMedia("(min-width: 48rem)");
const SEGMENTS = [
  "champions", "potential_loyalists", "new", "promising", "loyal", "need_attention", "about_to_sleep",
  "cant_lose", "at_risk", "hibernating",
];

const filters = { open: "true", sort: "newest", state: "", band: "", rfm: "", q: "", min_value: "" };
let shown = [];
let currency = "";
let parts = null;
let latest = null;

export async function show(main, still) {
  const told = await ask("alerts", asked());
  if (!still()) return;
  shown = told.alerts;
  currency = told.currency;
  parts = { list: el("ol", { class: "alerts", "aria-label": "Alerts" }), note: el("p", { class: "note" }) };
  parts.risk = el("dd", {}, money(told.money_at_risk, currency));
  parts.open = el("dd", {}, count(told.open_alerts));
  parts.customers = el("dd", {}, "–");
  parts.time = el("dd", {}, "–");
  main.replaceChildren(
    el("h1", { tabindex: -1 }, "Who is about to leave"),
    el(
      "dl",
      { class: "tiles" },
      el("div", { class: "tile main" }, el("dt", {}, "Money at risk in open alerts"), parts.risk),
      el("div", { class: "tile" }, el("dt", {}, "Open alerts"), parts.open),
      el("div", { class: "tile" }, el("dt", {}, "Customers"), parts.customers),
      el("div", { class: "tile" }, el("dt", {}, "Event time"), parts.time),
    ),
    form(),
    parts.note,
    parts.list,
  );
  if (latest) pulse(latest);
  fill(told.matching);
}

export function leave() {
  parts = null;
}

export function pulse(now) {
  latest = now;
  if (!parts) return;
  parts.risk.textContent = money(now.money_at_risk, currency);
  parts.open.textContent = count(now.open_alerts);
  parts.customers.textContent = count(now.segments.customers);
  if (now.health.event_time) parts.time.replaceChildren(when(now.health.event_time));
}

// True when the alert is shown.
export function take(alert) {
  if (!parts) return false;
  if (filters.open === "true") shown = shown.filter((other) => other.customer_id !== alert.customer_id);
  else shown = shown.filter((other) => other.id !== alert.id);
  const fits = matches(alert);
  if (fits) {
    shown.push({ ...alert, fresh: true });
    shown.sort(order);
    shown.length = Math.min(shown.length, SHOWN);
  }
  later();
  return fits;
}

// Many alerts may come at once; the list is drawn once for them all.
let drawing = false;
function later() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (parts) fill(null);
  });
}

function asked() {
  return { ...filters, limit: SHOWN };
}

function matches(alert) {
  return (
    (filters.open !== "true" || alert.open) &&
    (!filters.state || alert.state === filters.state) &&
    (!filters.band || alert.band === filters.band) &&
    (!filters.rfm || alert.rfm === filters.rfm) &&
    alert.value_at_risk >= Number(filters.min_value || 0) &&
    alert.customer_id.toLowerCase().includes(filters.q.toLowerCase())
  );
}

function order(one, other) {
  if (filters.sort === "money") return other.value_at_risk - one.value_at_risk;
  return Date.parse(other.event_time) - Date.parse(one.event_time) || (other.id > one.id ? 1 : -1);
}

function fill(matching) {
  const focused = document.activeElement?.closest(".alerts a")?.getAttribute("href");
  parts.list.replaceChildren(...shown.map(row));
  if (focused) parts.list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  for (const alert of shown) delete alert.fresh;
  if (shown.length === 0) {
    parts.note.replaceChildren(
      filtered()
        ? "No alert matches these filters."
        : "No alert yet. One comes the moment a customer’s risk reaches the threshold.",
    );
  } else if (matching !== null) {
    const more = matching > shown.length ? `, the first ${count(shown.length)} are shown` : "";
    parts.note.textContent = `${count(matching)} ${matching === 1 ? "alert" : "alerts"}${more}`;
  }
}

function filtered() {
  return Object.entries(filters).some(([name, value]) => !["open", "sort"].includes(name) && value);
}

function row(alert) {
  return el(
    "li",
    { class: alert.fresh ? "fresh" : null, "data-id": alert.id },
    el(
      "p",
      { class: "who" },
      el("a", { href: `#/customers/${encodeURIComponent(alert.customer_id)}` }, alert.customer_id),
      alert.rfm ? el("small", {}, named(alert.rfm)) : null,
    ),
    el("p", { class: "state" }, el("span", { class: `badge ${alert.state}` }, alert.state), when(alert.event_time)),
    el(
      "p",
      { class: `risk ${alert.band}` },
      el("span", { class: "unseen" }, "risk "),
      el("b", {}, percent(alert.risk)),
      bar(alert.risk, alert.band),
    ),
    el("p", { class: "money" }, el("b", {}, money(alert.value_at_risk, currency)), el("small", {}, "at risk")),
    el("p", { class: "why" }, `${sentence(alert.words.join(", "))}.`),
  );
}

// The filters

const CHOICES = [
  ["open", "Show", [["true", "open alerts"], ["false", "every step"]]],
  ["sort", "Order", [["newest", "newest first"], ["money", "most money first"]]],
  ["state", "State", [["", "any"], ["raised", "raised"], ["escalated", "escalated"], ["resolved", "resolved"]]],
  ["band", "Risk", [["", "any"], ["high", "high"], ["medium", "medium"], ["low", "low"]]],
  ["rfm", "Segment", [["", "any"], ...SEGMENTS.map((name) => [name, named(name)])]],
];

function form() {
  const fields = CHOICES.map(([name, title, choices]) =>
    field(
      title,
      name,
      el(
        "select",
        { name, id: `by-${name}` },
        choices.map(([value, words]) => el("option", { value, selected: filters[name] === value }, words)),
      ),
    ),
  );
  fields.push(
    field(
      "At least",
      "min_value",
      el("input", {
        name: "min_value", id: "by-min_value", type: "number", min: 0, step: "any", inputmode: "decimal",
        placeholder: `${currency}0`, value: filters.min_value,
      }),
    ),
    field(
      "Customer",
      "q",
      el("input", {
        name: "q", id: "by-q", type: "search", placeholder: "part of the id", maxlength: 128, value: filters.q,
        autocomplete: "off", spellcheck: "false",
      }),
    ),
  );
  let waiting = 0;
  return el(
    "form",
    {
      class: "filters",
      "aria-label": "Filters",
      onsubmit: (event) => event.preventDefault(),
      oninput: (event) => {
        filters[event.target.name] = event.target.validity.valid ? event.target.value.trim() : "";
        clearTimeout(waiting);
        waiting = setTimeout(reload, event.target.tagName === "SELECT" ? 0 : 200);
      },
    },
    fields.slice(0, 2),
    // Where there is room, all of them are in one line; where there is not, most wait to be asked for.
    el(
      "details",
      { open: WIDE.matches || filtered() },
      el("summary", {}, "More filters"),
      el("div", {}, fields.slice(2)),
    ),
  );
}

function field(title, name, input) {
  return el("p", {}, el("label", { for: `by-${name}` }, title), input);
}

async function reload() {
  const mine = parts;
  const told = await ask("alerts", asked());
  if (parts !== mine || !parts) return;
  shown = told.alerts;
  fill(told.matching);
}
