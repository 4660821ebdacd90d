// Scales: from what is measured to where it is drawn, and the round numbers on an axis.

import { dated, whole } from "../core/format.js";

const STEPS = [1, 2, 2.5, 5, 10];
const TIMES = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000];

// Returns a linear scale: callable, with `domain`, `invert` and `ticks`.
export function linear([low, high], [from, to]) {
  const span = high - low || 1;
  const scale = (value) => from + ((value - low) / span) * (to - from);
  scale.domain = [low, high];
  scale.invert = (place) => low + ((place - from) / (to - from || 1)) * span;
  scale.ticks = (many) => linearTicks(low, high, many);
  return scale;
}

const APART = 16; // pixels between two ticks of a logarithm

// Returns a scale of the distance below `top`, on a logarithm of two decades: near the top small
// steps show. `digits` is how many decimals tell its ticks apart.
export function below(top, [low, high], [from, to]) {
  const least = Math.max((top - low) * 1e-2, 1e-5);
  const code = (value) => -Math.log10(Math.max(top - value, 0) + least);
  const inner = linear([code(low), code(high)], [from, to]);
  const scale = (value) => inner(code(value));
  scale.domain = [low, high];
  scale.invert = (place) => top + least - 10 ** -inner.invert(place);
  scale.digits = Math.max(2, Math.ceil(-Math.log10(least)));
  scale.ticks = () => {
    const kept = [top];
    for (let decade = 10 ** Math.floor(Math.log10(least)); decade <= top - low; decade *= 10) {
      for (const size of [decade, 2 * decade, 5 * decade]) {
        const far = Math.abs(scale(top - size) - scale(kept.at(-1))) >= APART;
        if (far && top - size >= low) kept.push(top - size);
      }
    }
    return kept;
  };
  return scale;
}

export function linearTicks(low, high, many = 5) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const rough = span / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * STEPS.find((one) => one * power >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

// Returns times (seconds since 1970) at whole minutes, hours or days of the reader's clock.
export function timeTicks(low, high, many = 5) {
  const step = TIMES.find((one) => one >= (high - low) / many) ?? TIMES.at(-1);
  const shift = new Date(low * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((low - shift) / step) * step + shift; at <= high; at += step) found.push(at);
  return found;
}

export function timeLabel(at, span) {
  const date = new Date(at * 1000);
  const clock = { hour: "2-digit", minute: "2-digit" };
  if (span > 3 * 86400) return dated(date, { day: "numeric", month: "short" });
  if (span > 86400) return dated(date, { weekday: "short", ...clock });
  return dated(date, span < 600 ? { ...clock, second: "2-digit" } : clock);
}

// Returns the text of a tick, with as many digits as its neighbours need.
export function tickLabel(value, ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : Math.abs(value) || 1;
  if (Math.abs(value) >= 1e5) return `${whole(Number((value / 1000).toPrecision(6)))}k`;
  const digits = Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const half = digits > 0 || Number.isInteger(step) ? 0 : 1;
  return value.toFixed(digits + half + (String(step).includes("25") ? 1 : 0)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "").replace("-", "−");
}
