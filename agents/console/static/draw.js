// Making elements and writing numbers. Text goes in as text nodes only, so nothing that a customer is
// called can become markup; the content security policy would refuse it as well.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function el(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

export function count(number) {
  return Math.round(number).toLocaleString("en");
}

export function money(amount, currency) {
  const digits = Math.abs(amount) < 100 ? 2 : 0;
  const written = Math.abs(amount).toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return `${amount < 0 ? "−" : ""}${currency}${written}`;
}

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

export function day(time) {
  return DAY.format(new Date(time));
}

export function moment(time) {
  const when = new Date(time);
  const midnight = when.getUTCHours() === 0 && when.getUTCMinutes() === 0;
  return midnight ? DAY.format(when) : `${DAY.format(when)}, ${MINUTE.format(when)}`;
}

export function when(time) {
  return el("time", { datetime: time }, moment(time));
}

// “cant_lose” as people write it.
export function named(name) {
  return name === "cant_lose" ? "can’t lose" : name.replaceAll("_", " ");
}

export function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

// A bar of a share of its track; drawn, not styled, so that no style attribute is needed.
export function bar(share, kind) {
  const width = Math.max(0, Math.min(1, share)) * 100;
  return svg(
    "svg",
    { class: `bar ${kind ?? ""}`, viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 8 }),
    svg("rect", { class: "full", width, height: 8 }),
  );
}

// A share of the log-odds: to the right it makes leaving more likely, to the left less.
export function tug(share) {
  const width = Math.min(1, Math.abs(share)) * 50;
  return svg(
    "svg",
    { class: "bar tug", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 8 }),
    svg("rect", { class: share > 0 ? "leave" : "stay", x: share > 0 ? 50 : 50 - width, width, height: 8 }),
    svg("rect", { class: "middle", x: 49.7, width: 0.6, height: 8 }),
  );
}

export function table(caption, columns, rows) {
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, columns.map(([title, kind]) => el("th", { scope: "col", class: kind }, title)))),
      el(
        "tbody",
        {},
        rows.map((row) =>
          el(
            "tr",
            {},
            row.map((cell, place) =>
              place === 0
                ? el("th", { scope: "row" }, cell)
                : el("td", { class: columns[place][1] }, cell),
            ),
          ),
        ),
      ),
    ),
  );
}

export function tile(name, value, note) {
  return el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, value, note ? el("small", {}, note) : null));
}
