// One customer: what Holdfast thinks, why, what would change it, and how it came to that.

import { ask, Failed } from "./api.js";
import { chart } from "./chart.js";
import { bar, count, day, el, money, named, percent, sentence, table, tile, tug, when } from "./draw.js";

const TOLD = 30;
const KINDS = { order: "order", visit: "visit", look: "look", correction: "change", alert: "alert", segment: "move" };
let everything = false;

export async function show(main, still, id) {
  everything = false;
  let told;
  try {
    told = await ask(`customers/${encodeURIComponent(id)}`);
  } catch (error) {
    if (!(error instanceof Failed) || error.status !== 404) throw error;
    if (still()) {
      main.replaceChildren(
        el("h1", { tabindex: -1 }, "No such customer"),
        el("p", {}, "No customer is called ", el("b", { class: "long" }, id), ", or nothing was said about them yet."),
        el("p", {}, el("a", { href: "#/" }, "Back to the alerts")),
      );
    }
    return;
  }
  if (still()) draw(main, told);
}

export function draw(main, told) {
  main.replaceChildren(
    head(told),
    el(
      "dl",
      { class: "tiles" },
      tile("At risk", money(told.value_at_risk, told.currency), "risk × predicted value"),
      tile("Predicted value", money(told.predicted_value, told.currency), `expected margin within ${told.value_horizon_days} days`),
      tile("Spent so far", money(told.historic_value, told.currency), `${count(told.orders)} ${told.orders === 1 ? "order" : "orders"}`),
      tile("Silent for", days(told.time_since_last_order_days), "since the last order"),
    ),
    el("div", { class: "columns" }, why(told), whatIf(told)),
    course(told),
    timeline(main, told),
  );
}

function days(length) {
  const whole = Math.round(length);
  return whole === 0 ? "under a day" : `${count(whole)} ${whole === 1 ? "day" : "days"}`;
}

function head(told) {
  return el(
    "div",
    { class: "head" },
    el("p", { class: "back" }, el("a", { href: "#/" }, "← Alerts")),
    el("h1", { tabindex: -1, class: "long" }, el("span", { class: "of" }, "Customer "), told.customer_id),
    el(
      "p",
      { class: "badges" },
      told.alert ? el("span", { class: `badge ${told.alert.state}` }, `alert ${told.alert.state}`) : null,
      el("span", { class: "badge" }, named(told.rfm)),
      el("span", { class: "badge" }, named(told.lifecycle)),
    ),
    el(
      "p",
      { class: `verdict ${told.band}` },
      el("b", {}, percent(told.risk)),
      el("span", {}, `likely not to order within ${told.horizon_days} days`),
    ),
    el("p", { class: "note" }, "As of ", when(told.event_time), ". ", crossing(told)),
  );
}

function crossing(told) {
  const threshold = percent(told.alert_threshold);
  if (told.crosses_at) {
    const ahead = (Date.parse(told.crosses_at) - Date.parse(told.event_time)) / 86400000;
    return el(
      "span",
      {},
      `In silence the risk reaches ${threshold} on `,
      el("b", {}, day(told.crosses_at)),
      `, ${days(ahead)} later.`,
    );
  }
  // Who has ordered too seldom, too lately or too little is not alerted about, whatever the risk.
  const left = told.alert ? "" : " The rules for alerts leave this customer out for now.";
  if (told.risk >= told.alert_threshold) return `The risk has reached the alert threshold of ${threshold}.${left}`;
  const there = told.outlook.find((point) => point.risk >= told.alert_threshold);
  if (there) return `In silence the risk reaches ${threshold} by ${day(there.event_time)}.${left}`;
  return `Silence alone does not bring the risk to ${threshold} in the time looked ahead.`;
}

function why(told) {
  const most = Math.max(0.5, ...told.reasons.map((reason) => Math.abs(reason.contribution)));
  const stale = told.explained_by && told.explained_by !== told.model_version;
  return el(
    "section",
    { class: "card" },
    el("h2", {}, "Why"),
    told.reasons.length === 0
      ? el("p", { class: "note" }, told.explained_by ? "The model has learned nothing yet." : "The model is not known here.")
      : [
          el("p", { class: "saying" }, `${sentence(told.words.join(", "))}.`),
          el(
            "ul",
            { class: "reasons" },
            told.reasons.map((reason) =>
              el(
                "li",
                {},
                el("span", {}, sentence(reason.words)),
                tug(reason.contribution / most),
                el("small", {}, reason.contribution > 0 ? "speaks for leaving" : "speaks for staying"),
              ),
            ),
          ),
        ],
    stale ? el("p", { class: "note" }, `Explained by model ${told.explained_by}; the score is of ${told.model_version}.`) : null,
  );
}

function whatIf(told) {
  return el(
    "section",
    { class: "card" },
    el("h2", {}, "What would change it"),
    told.what_if.length === 0 ? el("p", { class: "note" }, "The model is not known here.") : null,
    el(
      "ul",
      { class: "whatif" },
      told.what_if.map((then) => {
        const points = Math.round(then.risk * 100) - Math.round(told.risk * 100);
        const kind = points > 0 ? "worse" : points < 0 ? "better" : "same";
        const moved = points === 0 ? "no change" : `${points > 0 ? "up" : "down"} ${Math.abs(points)} ${Math.abs(points) === 1 ? "point" : "points"}`;
        return el(
          "li",
          {},
          el("span", {}, sentence(then.words)),
          el("b", {}, percent(then.risk)),
          bar(then.risk, then.risk >= 0.75 ? "high" : then.risk >= 0.5 ? "medium" : "low"),
          el("small", { class: kind }, moved),
        );
      }),
    ),
    el("p", { class: "note" }, "What the model would say then. Whether it can be brought about is another question."),
  );
}

function course(told) {
  const past = told.history.map((point) => [Date.parse(point.event_time), point.risk]);
  const ahead = told.outlook.map((point) => [Date.parse(point.event_time), point.risk]);
  const now = Date.parse(told.event_time);
  const ticks = [];
  const first = past.length ? past[0][0] : now;
  const last = ahead.length ? ahead[ahead.length - 1][0] : now;
  if (now - first > (last - first) / 5) ticks.push([first, day(first), "start"]);
  ticks.push([now, day(now), now === first ? "start" : last - now > (last - first) / 5 ? "middle" : "end"]);
  if (last - now > (last - first) / 5) ticks.push([last, day(last), "end"]);
  const pins = told.crosses_at ? [{ x: Date.parse(told.crosses_at), y: told.alert_threshold }] : [];
  return el(
    "section",
    { class: "card" },
    el("h2", {}, "Risk over time"),
    el(
      "figure",
      {},
      chart(`Risk from ${day(first)} to ${day(last)}; the numbers follow as a table`, {
        series: [
          { points: past, kind: "past" },
          { points: ahead, kind: "ahead" },
        ],
        low: 0,
        high: 1,
        marks: [{ y: told.alert_threshold, words: `alert at ${percent(told.alert_threshold)}` }],
        ticks,
        pins,
        write: percent,
      }),
      el("figcaption", { class: "note" }, "Solid: as it was. Dashed: what silence would make of it."),
    ),
    el(
      "details",
      {},
      el("summary", {}, "The numbers"),
      table(
        "Risk over time",
        [["When"], ["Risk", "number"], ["Because of"]],
        [
          ...told.history.map((point) => [when(point.event_time), percent(point.risk), point.cause]),
          ...told.outlook.filter((_, place) => place % 5 === 0 && place > 0).map((point) => [when(point.event_time), percent(point.risk), "if silent"]),
        ],
      ),
    ),
  );
}

// Looks in silence are many and alike: those in a row are told as one, with where the risk came from.
function gathered(entries) {
  const told = [];
  for (const entry of entries) {
    const before = told[told.length - 1];
    if (entry.kind === "look" && before?.kind === "look") {
      told[told.length - 1] = { ...entry, looks: before.looks + 1, from: before.from };
    } else if (entry.kind === "look") {
      told.push({ ...entry, looks: 1, from: entry.risk });
    } else {
      told.push(entry);
    }
  }
  return told;
}

function risk(entry) {
  if (entry.risk === null) return null;
  const now = `risk ${percent(entry.risk)}`;
  return entry.looks > 1 ? `risk ${percent(entry.from)} → ${percent(entry.risk)}` : now;
}

function what(entry) {
  return entry.looks > 1 ? `Silent; looked at ${entry.looks} times` : sentence(entry.words);
}

function timeline(main, told) {
  const newest = gathered(told.timeline).reverse();
  const some = everything ? newest : newest.slice(0, TOLD);
  return el(
    "section",
    { class: "card" },
    el("h2", {}, "Timeline"),
    newest.length === 0 ? el("p", { class: "note" }, "Older history is not kept here.") : null,
    el(
      "ol",
      { class: "timeline" },
      some.map((entry) =>
        el(
          "li",
          { class: entry.kind },
          el("span", { class: "kind" }, KINDS[entry.kind]),
          el("span", { class: "what" }, what(entry)),
          el("span", { class: "then" }, risk(entry)),
          when(entry.event_time),
        ),
      ),
    ),
    newest.length > some.length
      ? el(
          "button",
          {
            type: "button",
            onclick: () => {
              everything = true;
              draw(main, told);
            },
          },
          `Show all ${count(newest.length)}`,
        )
      : null,
  );
}
