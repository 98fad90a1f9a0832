// The page: which view is shown, what is pushed to it, the search, the token.

import * as alerts from "./alerts.js";
import { ask, hasToken, keepToken, listen, Refused } from "./api.js";
import * as customer from "./customer.js";
import { el, named, percent } from "./draw.js";
import * as overview from "./overview.js";

const main = document.getElementById("main");
const live = document.getElementById("live");
const said = document.getElementById("said");
const RETRY_MS = 2000;
const MODEL_MS = 5000;

let route = { view: "", id: "" };
let turn = 0;
let stream = null;

const VIEWS = {
  alerts: { title: "Alerts", show: alerts.show },
  customers: { title: "Customer", show: customer.show },
  segments: { title: "Segments", show: overview.segments },
  model: { title: "Model", show: overview.model },
  pipeline: { title: "Pipeline", show: overview.pipeline },
};

function parse() {
  const [view, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return { view: view in VIEWS ? view : "alerts", id: decodeURIComponent(rest.join("/")) };
  } catch {
    return { view: "alerts", id: "" };
  }
}

async function go(focus) {
  if (location.hash === "#main") return;
  const before = route;
  route = parse();
  turn += 1;
  const mine = turn;
  const still = () => mine === turn;
  if (before.view === "alerts") alerts.leave();
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.dataset.view === route.view;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${route.id || VIEWS[route.view].title} – Holdfast`;
  try {
    await VIEWS[route.view].show(main, still, route.id);
    if (focus && still()) main.querySelector("h1")?.focus();
    if (still()) follow();
  } catch (error) {
    if (still()) fail(error);
  }
}

function fail(error) {
  if (error instanceof Refused) {
    askForToken();
    return;
  }
  const words = error instanceof TypeError ? "The console does not answer." : error.message;
  main.replaceChildren(
    el("h1", { tabindex: -1 }, "That did not work"),
    el("p", {}, words),
    el("p", {}, el("button", { type: "button", onclick: () => go(true) }, "Try again")),
  );
}

function askForToken() {
  say("waiting", "not signed in");
  const input = el("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const parts = [
    el("h1", { tabindex: -1 }, "This console needs a token"),
    el(
      "form",
      {
        class: "token",
        onsubmit: (event) => {
          event.preventDefault();
          keepToken(input.value.trim());
          go(true);
        },
      },
      el("label", { for: "token" }, "Token"),
      input,
      el("button", { type: "submit" }, "Go on"),
    ),
    hasToken() ? el("p", { class: "wrong", role: "alert" }, "That token was not accepted.") : null,
    el("p", { class: "note" }, "It is kept until this tab is closed."),
  ];
  main.replaceChildren(...parts.filter(Boolean));
  input.focus();
}

// What is pushed

function say(state, words) {
  live.className = `live ${state}`;
  live.lastElementChild.textContent = words;
}

async function follow() {
  const customerId = route.view === "customers" ? route.id : "";
  if (stream && stream.customerId === customerId && !stream.signal.aborted) return;
  stream?.abort();
  const mine = new AbortController();
  mine.customerId = customerId;
  stream = mine;
  for (let again = false; stream === mine; again = true) {
    try {
      if (again) await go(false); // what was missed in between
      if (stream !== mine) return;
      await listen(customerId, mine.signal, hear);
    } catch (error) {
      if (stream !== mine || mine.signal.aborted) return;
      if (error instanceof Refused) {
        stream = null;
        askForToken();
        return;
      }
    }
    whole = false;
    say("waiting", "reconnecting");
    await new Promise((resume) => setTimeout(resume, RETRY_MS));
  }
}

// What is read while a console catches up is not pushed: a page that was drawn before is drawn again after it.
let whole = true;
let model = { version: null, asked: 0 };
const fresh = { count: 0, waiting: false };

function hear(name, value) {
  if (name === "alert") {
    if (alerts.take(value)) announce();
    return;
  }
  if (name === "customer") {
    if (route.view === "customers" && route.id === value.customer_id && !selecting()) {
      redraw(() => customer.draw(main, value));
    }
    return;
  }
  say(value.health.caught_up ? "on" : "waiting", value.health.caught_up ? "live" : "catching up");
  if (value.health.caught_up && !whole) go(false);
  whole = value.health.caught_up;
  alerts.pulse(value);
  if (route.view === "segments" && !selecting()) overview.drawSegments(main, value.segments);
  if (route.view === "pipeline" && !selecting()) overview.drawPipeline(main, value.health);
  if (route.view === "model" && value.model_version !== model.version && Date.now() - model.asked > MODEL_MS) {
    model = { version: value.model_version, asked: Date.now() };
    const mine = turn;
    overview.model(main, () => mine === turn).catch(() => {});
  }
}

// What somebody is about to copy is not drawn anew under their hand.
function selecting() {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && main.contains(selection.anchorNode);
}

// Keeps the focus on the heading, where a redraw would lose it.
function redraw(draw) {
  const focused = main.contains(document.activeElement) && document.activeElement !== main;
  draw();
  if (focused) main.querySelector("h1")?.focus({ preventScroll: true });
}

// A screen reader is told of new alerts every few seconds, not of each.
function announce() {
  fresh.count += 1;
  if (fresh.waiting) return;
  fresh.waiting = true;
  setTimeout(() => {
    said.textContent = fresh.count === 1 ? "One new alert" : `${fresh.count} new alerts`;
    fresh.count = 0;
    fresh.waiting = false;
  }, 3000);
}

// The search

const box = document.getElementById("q");
const found = document.getElementById("found");
let asking = 0;

function close() {
  found.hidden = true;
  found.replaceChildren();
}

async function search() {
  const q = box.value.trim();
  asking += 1;
  const mine = asking;
  if (!q) {
    close();
    return [];
  }
  try {
    const told = await ask("customers", { q, limit: 8 });
    if (mine !== asking) return [];
    const links = told.customers.map((one) =>
      el(
        "li",
        {},
        el(
          "a",
          { href: `#/customers/${encodeURIComponent(one.customer_id)}` },
          el("span", {}, one.customer_id),
          el("small", {}, `${percent(one.risk)} · ${named(one.rfm)}`),
        ),
      ),
    );
    found.replaceChildren(...(links.length ? links : [el("li", { class: "note" }, "No customer is called so.")]));
    found.hidden = false;
    said.textContent = `${told.matching} found`;
    return told.customers;
  } catch (error) {
    fail(error);
    return [];
  }
}

let typing = 0;
box.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, 150);
});

document.getElementById("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  clearTimeout(typing);
  const [first] = await search();
  if (first) {
    close();
    box.value = "";
    location.hash = `#/customers/${encodeURIComponent(first.customer_id)}`;
  }
});

document.getElementById("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    close();
    box.focus();
    return;
  }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const stops = [box, ...found.querySelectorAll("a")];
  const place = stops.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
  if (stops.length > 1 && place >= 0 && place < stops.length) {
    event.preventDefault();
    stops[place].focus();
  }
});

found.addEventListener("click", (event) => {
  if (event.target.closest("a")) {
    close();
    box.value = "";
  }
});

document.addEventListener("focusin", (event) => {
  if (!event.target.closest("#search")) close();
});

addEventListener("hashchange", () => go(true));
go(false);
