// Numbers, times and names as people read them. A missing value is an en dash.

export const NONE = "–";
const MINUS = "−";

// Made once and kept: `toLocaleString` looks its rules up at every call, and a chart's labels alone
// made thousands of them, half of what it took to draw it.
const WHOLE = new Intl.NumberFormat("en-GB");
const HOUR = { hour: "2-digit", minute: "2-digit" };
const DAY = { day: "numeric", month: "short" };
const dates = new Map();

// Returns a date as words of the reader's own language, as `toLocaleString` would.
export function dated(date, options) {
  const key = Object.entries(options).join();
  if (!dates.has(key)) dates.set(key, new Intl.DateTimeFormat([], options));
  return dates.get(key).format(date);
}

export function fixed(value, digits) {
  if (!isNumber(value)) return NONE;
  return value.toFixed(digits).replace("-", MINUS);
}

// Fitness in nats a token, always with a sign: "+0.042".
export function fitness(value) {
  if (!isNumber(value)) return NONE;
  const text = Math.abs(value).toFixed(3);
  return `${value < 0 ? MINUS : "+"}${text}`;
}

export function milliseconds(value) {
  if (!isNumber(value)) return NONE;
  return `${fixed(value, value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;
}

// A count with three significant digits: "1.87M".
export function count(value) {
  if (!isNumber(value)) return NONE;
  for (const [unit, size] of [["T", 1e12], ["B", 1e9], ["M", 1e6], ["K", 1e3]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${unit}`;
  }
  return String(value);
}

export function whole(value) {
  return isNumber(value) ? WHOLE.format(value) : NONE;
}

export function bytes(value) {
  if (!isNumber(value)) return NONE;
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (value >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return `${value} B`;
}

// The axes of a mesh that have more than one device: "data 2 × expert 4".
export function mesh(axes) {
  const shared = ["data", "expert", "model"].filter((axis) => axes[axis] > 1);
  return shared.map((axis) => `${axis} ${axes[axis]}`).join(" × ") || "one device";
}

export function percent(fraction, digits = 0) {
  return isNumber(fraction) ? `${fixed(fraction * 100, digits)}%` : NONE;
}

// How sure something is: nothing measured is certain.
export function certainty(probability) {
  if (probability > 0.99) return `over ${percent(0.99)}`;
  return probability < 0.01 ? `under ${percent(0.01)}` : percent(probability);
}

// Seconds as the two largest units: "2 h 05 min".
export function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  const s = Math.max(0, Math.round(seconds));
  if (seconds < 10) return `${fixed(Math.max(0, seconds), 1)} s`;
  if (s < 60) return `${s} s`;
  const two = (n) => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${two(Math.floor((s % 86400) / 3600))} h`;
}

export function clock(date) {
  return dated(date, { ...HOUR, second: "2-digit" });
}

// "gated_gelu" as "gated GeLU": the names of the field.
const NAMES = {
  relu: "ReLU",
  gelu: "GeLU",
  gated_relu: "gated ReLU",
  gated_gelu: "gated GeLU",
  squared_relu: "squared ReLU",
  top_1: "top-1",
  top_2: "top-2",
  expert_choice: "expert choice",
  rms_norm: "RMS norm",
  layer_norm: "layer norm",
  feed_forward: "feed-forward",
  moe: "mixture of experts",
};

// Returns where a trial stands: how it ended, or that it is queued or running, whatever became
// of earlier attempts.
export function standing(trial) {
  const open = trial.status === "queued" || trial.status === "running";
  return open ? trial.status : trial.outcome ?? trial.status;
}

export function name(value) {
  return NAMES[value] ?? String(value).replaceAll("_", " ");
}

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

// How long ago a moment was, by this machine's clock: "5 min ago".
export function ago(moment) {
  const seconds = Math.max(0, (Date.now() - Date.parse(moment)) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

// A moment as day and time: "12 Mar 14:05"; today's without the day.
export function moment(text) {
  const date = new Date(text);
  const clock = dated(date, HOUR);
  if (date.toDateString() === new Date().toDateString()) return clock;
  return `${dated(date, DAY)} ${clock}`;
}
