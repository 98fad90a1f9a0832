// Segments, model, pipeline: the shop as a whole.

import { ask } from "./api.js";
import { chart } from "./chart.js";
import { bar, count, el, moment, percent, sentence, table, tile, tug, when } from "./draw.js";

// Segments

export async function segments(main, still) {
  const told = await ask("segments");
  if (still()) drawSegments(main, told);
}

export function drawSegments(main, told) {
  const dropped = told.dropped_customers
    ? ` Only the ${count(told.customers)} spoken of most recently are kept and counted.`
    : "";
  update(
    main,
    el("h1", { tabindex: -1 }, "Segments"),
    el("p", { class: "note" }, `${count(told.customers)} customers.${dropped}`),
    el(
      "div",
      { class: "columns" },
      sizes("How recently and how often they buy", told.rfm, told.customers),
      sizes("Stage of life", told.lifecycle, told.customers),
    ),
    el(
      "section",
      { class: "card" },
      el("h2", {}, "Most frequent moves"),
      told.flows.length === 0
        ? el("p", { class: "note" }, "Nobody has moved yet.")
        : table(
            "Most frequent moves",
            [["From and to"], ["Of", ""], ["Moves", "number"]],
            told.flows.map((flow) => [flow.words, flow.dimension === "rfm" ? "segment" : "stage", count(flow.moves)]),
          ),
    ),
  );
}

function sizes(title, rows, all) {
  const most = Math.max(1, ...rows.map((row) => row.customers));
  return el(
    "section",
    { class: "card" },
    el("h2", {}, title),
    el(
      "ul",
      { class: "sizes" },
      rows.map((row) =>
        el(
          "li",
          {},
          el("span", {}, sentence(row.words)),
          el("b", {}, count(row.customers)),
          el("small", {}, all ? percent(row.customers / all) : "–"),
          bar(row.customers / most, "size"),
        ),
      ),
    ),
  );
}

// Model

export async function model(main, still) {
  const told = await ask("model");
  if (still()) drawModel(main, told);
}

function three(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}

function drawModel(main, told) {
  const title = el("h1", { tabindex: -1 }, "Model");
  if (!told.quality) {
    update(main, title, el("p", { class: "note" }, "Nothing was learned yet: no answer has come."));
    return;
  }
  const quality = told.quality;
  update(
    main,
    title,
    el(
      "p",
      { class: "note" },
      `${told.model_version} has learned from ${count(quality.n_learned)} answers, the newest of `,
      told.event_time ? when(told.event_time) : "no time",
      `. Each risk is judged as it was served, ${told.horizon_days} days later; ${count(quality.n)} were. An expert that is better than each other beyond chance: `,
      told.champion ?? "none yet",
      ".",
    ),
    el(
      "dl",
      { class: "tiles" },
      tile("AUC", three(quality.auc), "puts leavers above stayers; 1 is perfect, 0.5 a guess"),
      tile("Log loss", three(quality.log_loss), "how far off the risks were; less is better"),
      tile("Calibration error", three(quality.calibration_error), "said against happened; less is better"),
      tile("Churn rate", quality.churn_rate === null ? "–" : percent(quality.churn_rate), "of those judged"),
    ),
    el(
      "div",
      { class: "columns" },
      course("AUC", told.history, "auc", 0.5, 1),
      course("Log loss", told.history, "log_loss", 0, 1),
    ),
    weights(told),
    ...buying(told),
  );
}

function course(title, history, name, low, high) {
  const points = history.filter((one) => one[name] !== null).map((one) => [one.n_learned, one[name]]);
  const section = el("section", { class: "card" }, el("h2", {}, title));
  if (points.length === 0) {
    section.append(el("p", { class: "note" }, "Nothing can be judged yet: that takes two horizons."));
    return section;
  }
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  section.append(
    chart(`${title} over examples learned, last ${three(points[points.length - 1][1])}`, {
      series: [{ points, kind: "past" }],
      low: Math.min(low, ...points.map(([, y]) => Math.floor(y * 10) / 10)),
      high: Math.max(high, ...points.map(([, y]) => Math.ceil(y * 10) / 10)),
      ticks: first === last ? [[first, count(first), "start"]] : [[first, count(first), "start"], [last, `${count(last)} examples`, "end"]],
      write: (y) => y.toFixed(2),
    }),
  );
  return section;
}

function weights(told) {
  const rows = told.btyd ? [...told.weights, told.btyd] : told.weights;
  const most = Math.max(1e-9, ...rows.map((row) => Math.abs(row.coefficient)));
  const sorted = [...rows].sort((one, other) => Math.abs(other.coefficient) - Math.abs(one.coefficient));
  return el(
    "section",
    { class: "card" },
    el("h2", {}, "What it goes by"),
    table(
      "Weights of the model",
      [["Feature"], ["Weight", "number"], ["Leaving is less or more likely", "wide"]],
      sorted.map((row) => [sentence(row.about), row.coefficient.toFixed(3), tug(row.coefficient / most)]),
    ),
  );
}

// What BG/NBD and Gamma-Gamma were fitted to, in words and in their own letters.
function buying(told) {
  const fit = told.btyd;
  if (!fit) return [];
  const { r, alpha, a, b } = fit.when;
  const letters = `r ${r.toFixed(3)}, α ${alpha.toFixed(1)} days, a ${a.toFixed(3)}, b ${b.toFixed(3)}`;
  const spend = fit.spend;
  return [
    el(
      "section",
      { class: "card" },
      el("h2", {}, "How customers buy and leave"),
      el(
        "p",
        {},
        `In the mean, ${fit.orders_a_year.toFixed(1)} orders a year while they stay, `,
        `and ${percent(fit.leaving_share)} of orders are somebody's last.`,
      ),
      el("p", { class: "note" }, `BG/NBD: ${letters}. Weight ${fit.coefficient.toFixed(3)}, centre ${fit.centre.toFixed(3)}.`),
      spend
        ? el("p", { class: "note" }, `Gamma-Gamma, for what orders are worth: p ${spend.p.toFixed(2)}, q ${spend.q.toFixed(2)}, γ ${spend.gamma.toFixed(2)}.`)
        : null,
    ),
  ];
}

// Pipeline

export async function pipeline(main, still) {
  const told = await ask("health");
  if (still()) drawPipeline(main, told);
}

function ago(seconds) {
  if (seconds === null) return "never";
  if (seconds < 2) return "now";
  if (seconds < 120) return `${Math.round(seconds)} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return `${count(seconds / 3600)} h ago`;
}

export function drawPipeline(main, told) {
  const letters = told.dead_letters.reduce((sum, one) => sum + one.kept, 0);
  update(
    main,
    el("h1", { tabindex: -1 }, "Pipeline"),
    el(
      "dl",
      { class: "tiles" },
      tile("Reading", told.caught_up ? "caught up" : "catching up", told.caught_up ? "everything that was there is read" : "numbers are not whole yet"),
      tile("Event time", told.event_time ? moment(told.event_time) : "–", "the newest that was spoken of"),
      tile("Dead letters", count(letters), "messages that broke the contract, still kept"),
      tile("Customers kept", count(told.customers), told.dropped_customers ? `${count(told.dropped_customers)} were dropped` : `${count(told.dropped_histories)} histories dropped`),
    ),
    el(
      "section",
      { class: "card" },
      el("h2", {}, "Output topics"),
      table(
        "Output topics",
        [["Topic"], ["Newest", "number"], ["Messages a second", "number"], ["Read here", "number"], ["Not yet read", "number"]],
        told.topics.map((topic) => [
          topic.topic,
          ago(topic.silent_seconds),
          topic.per_second.toFixed(topic.per_second < 10 ? 1 : 0),
          count(topic.read),
          count(topic.behind),
        ]),
      ),
      told.unreadable ? el("p", { class: "note" }, `${count(told.unreadable)} messages could not be read.`) : null,
    ),
    el(
      "section",
      { class: "card" },
      el("h2", {}, "Dead letters"),
      table(
        "Dead letters",
        [["Topic"], ["Kept", "number"], ["Why the newest were refused", ""]],
        told.dead_letters.map((one) => [
          one.topic,
          count(one.kept),
          Object.entries(one.reasons).map(([reason, times]) => `${reason.replaceAll("_", " ")} ${count(times)}`).join(", ") || "none",
        ]),
      ),
    ),
  );
}

// Drawn anew each second: what has focus and how far a table is scrolled stay as they were.
function update(main, ...children) {
  const regions = [...main.querySelectorAll(".scroll")];
  const focused = regions.indexOf(document.activeElement);
  const heading = document.activeElement?.tagName === "H1";
  const scrolled = regions.map((region) => region.scrollLeft);
  main.replaceChildren(...children);
  main.querySelectorAll(".scroll").forEach((region, place) => {
    region.scrollLeft = scrolled[place] ?? 0;
    if (place === focused) region.focus({ preventScroll: true });
  });
  if (heading) main.querySelector("h1").focus({ preventScroll: true });
}
