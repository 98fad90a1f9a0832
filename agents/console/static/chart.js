// Lines over time or over examples, as SVG drawn to the width that there is, so that its text keeps its size.

import { el, svg } from "./draw.js";

const HEIGHT = 240;
const LEFT = 52;
const RIGHT = 12;
const TOP = 14;
const BOTTOM = 28;

// series: [{points: [[x, y]...], kind}]; marks: horizontal lines [{y, words}]; ticks of x: [[x, words, anchor]...]
export function chart(label, content) {
  const box = el("div", { class: "chart" });
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.round(box.clientWidth);
    if (width === drawn || width === 0) return;
    drawn = width;
    box.replaceChildren(lines(label, width, content));
  }).observe(box);
  return box;
}

function lines(label, width, { series, low, high, marks = [], ticks = [], pins = [], write }) {
  const xs = series.flatMap((one) => one.points.map(([x]) => x)).concat(pins.map((pin) => pin.x));
  const from = Math.min(...xs);
  const to = Math.max(...xs, from + 1);
  const across = (x) => LEFT + ((x - from) / (to - from)) * (width - LEFT - RIGHT);
  const up = (y) => HEIGHT - BOTTOM - ((y - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (let step = 0; step <= 4; step += 1) {
    const y = low + ((high - low) * step) / 4;
    drawn.append(
      svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: up(y), y2: up(y) }),
      svg("text", { x: LEFT - 6, y: up(y) + 4, "text-anchor": "end" }, write(y)),
    );
  }
  for (const [x, words, anchor] of ticks) {
    drawn.append(svg("text", { x: across(x), y: HEIGHT - 8, "text-anchor": anchor ?? "middle" }, words));
  }
  for (const { y } of marks) {
    drawn.append(svg("line", { class: "mark", x1: LEFT, x2: width - RIGHT, y1: up(y), y2: up(y) }));
  }
  for (const { points, kind } of series) {
    const line = points.map(([x, y]) => `${across(x).toFixed(1)},${up(y).toFixed(1)}`).join(" ");
    drawn.append(svg("polyline", { class: `line ${kind}`, points: line }));
    if (points.length === 1) {
      drawn.append(svg("circle", { class: `spot ${kind}`, cx: across(points[0][0]), cy: up(points[0][1]), r: 3 }));
    }
  }
  for (const { y, words } of marks) {
    drawn.append(svg("text", { class: "mark", x: LEFT + 4, y: up(y) - 5 }, words)); // above the lines
  }
  for (const { x, y } of pins) {
    drawn.append(svg("circle", { class: "pin", cx: across(x), cy: up(y), r: 5 }));
  }
  return drawn;
}
