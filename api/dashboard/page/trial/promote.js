// A promotion from the page: which blocks, how large, for how long. The controller checks it, and
// what it refuses is said beside the field; the same command stands below.

import { controllerUrl } from "../core/api.js";
import { element, replace, setText } from "../core/dom.js";

const UNITS = { "": 1, s: 1, m: 60, min: 60, h: 3600, d: 86_400 };
const POWERS = { "": 1, k: 1e3, m: 1e6, b: 1e9 };
// As `brainformer promote` has them. `as` reads one value of a list; `flag` is the command's option.
const FIELDS = [
  { key: "trials", flag: "--trial", label: "Trials", hint: "Numbers with commas between them; empty takes the best ones", each: true, as: whole },
  { key: "top", flag: "--top", label: "How many of the best", value: "3", one: true, as: whole },
  { key: "budget_seconds", flag: "--budget", label: "Training time of a block", hint: "30m or 2h for the largest, of which the others get their share; or one for each scale and size", required: true, as: seconds },
  { key: "scales", flag: "--scales", label: "Scales", value: "1x,2x", hint: "Multiples of widths and depth", as: multiple },
  { key: "targets", flag: "--target", label: "Sizes", hint: "Activated parameters instead of, or beside, scales: 100M,1B", as: size },
  { key: "repeats", flag: "--repeats", label: "Seeds of each block", value: "5", one: true, as: whole },
  { key: "learning_rates", flag: "--learning-rates", label: "Learning rates tried", value: "0.5,1,2", rare: true, as: multiple },
  { key: "rival_depths", flag: "--rival-depths", label: "Depths of the rival tried", value: "0.5,1,2", rare: true, as: multiple },
  { key: "rival_widths", flag: "--rival-widths", label: "Widths of the rival tried", value: "0.5,1,2", rare: true, as: multiple },
  { key: "ladder", flag: "--ladder", label: "Budgets of the rival", value: "0.25,0.5,1,2,4", rare: true, as: multiple },
  { key: "pool", flag: "--pool", label: "Pool", hint: "Empty takes the best block's own", rare: true, one: true, as: (text) => text },
];

// Opens the dialog for one trial. `onMade(study)` is called when the controller has accepted.
export function openPromotion({ app, session, number, onMade }) {
  const inputs = new Map();
  const faults = new Map();
  const rows = FIELDS.map((field) => row(field, field.key === "trials" ? String(number) : field.value ?? "", inputs, faults));
  const common = rows.filter((_, i) => !FIELDS[i].rare);
  const rare = element("details", {}, element("summary", {}, "What the rival is compared by, and the pool"), element("div", { class: "promote-fields" }, rows.filter((_, i) => FIELDS[i].rare)));
  const message = element("p", { class: "reason", role: "alert", id: "promote-message" });
  const command = element("code", { id: "promote-command" });
  const send = element("button", { class: "action", id: "promote-send" }, "Start the promotion");
  const cancel = element("button", { type: "button", class: "quiet", on: { click: () => dialog.close() } }, "Cancel");
  const form = element(
    "form", { class: "promote", novalidate: true },
    element("p", { class: "muted" }, "Trains the blocks and the best of a family around the rival at larger scales, with the same fresh seeds, and compares them on the test split."),
    element("div", { class: "promote-fields" }, common), rare, message,
    element("h3", {}, "The same on the command line"), element("pre", { tabindex: "0" }, command),
    element("div", { class: "dialog-buttons" }, cancel, send),
  );
  const dialog = element("dialog", { class: "promotion", "aria-labelledby": "promote-title" }, element("h2", { id: "promote-title" }, `Promote trial #${number}`), form);
  const texts = () => new Map([...inputs].map(([key, input]) => [key, input.value.trim()]));
  const draw = () => {
    setText(command, commandOf(session.id, texts()));
    inputs.get("top").disabled = texts().get("trials") !== "";
  };
  form.addEventListener("input", draw);
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    tell({ message, faults, inputs, rare }, []);
    const { body, wrong } = read(texts());
    if (wrong.length) {
      tell({ message, faults, inputs, rare }, wrong);
      return;
    }
    send.disabled = true;
    try {
      const study = await app.api.post(`/searches/${encodeURIComponent(session.id)}/promotions`, body);
      dialog.close();
      onMade(study);
    } catch (error) {
      tell({ message, faults, inputs, rare }, error.errors?.length ? error.errors : [{ pointer: "", detail: error.message }]);
    } finally {
      send.disabled = false;
    }
  });
  draw();
  document.body.append(dialog);
  dialog.showModal();
  inputs.get("budget_seconds").focus();
}

function row(field, value, inputs, faults) {
  const id = `promote-${field.key}`;
  const input = element("input", { id, value, autocomplete: "off", spellcheck: "false", "aria-required": field.required ? "true" : null, "aria-describedby": `${id}-fault` });
  const fault = element("small", { id: `${id}-fault`, class: "field-fault" }, field.hint ?? "");
  inputs.set(field.key, input);
  faults.set(field.key, fault);
  return element("div", { class: "field" }, element("label", { for: id }, field.label), input, fault);
}

// Returns the body to send, and what the texts say that cannot be read.
function read(texts) {
  const body = {};
  const wrong = [];
  for (const field of FIELDS) {
    const text = texts.get(field.key);
    if (field.key === "top" && texts.get("trials")) continue;
    if (!text) {
      if (field.required) wrong.push({ pointer: `/${field.key}`, detail: "a time such as 30m or 2h is needed" });
      continue;
    }
    try {
      const values = (field.one ? [text] : text.split(",").map((part) => part.trim())).map(field.as);
      body[field.key] = field.one ? values[0] : values;
    } catch (error) {
      wrong.push({ pointer: `/${field.key}`, detail: error.message });
    }
  }
  return { body, wrong };
}

// Says what is wrong beside its field; what belongs to none is said below them.
function tell({ message, faults, inputs, rare }, errors) {
  for (const field of FIELDS) {
    const own = errors.filter((one) => fieldOf(one) === field.key).map((one) => one.detail);
    faults.get(field.key).classList.toggle("wrong", own.length > 0);
    setText(faults.get(field.key), own.length ? own.join("; ") : field.hint ?? "");
    inputs.get(field.key).setAttribute("aria-invalid", String(own.length > 0));
    if (own.length && field.rare) rare.open = true;
  }
  const others = errors.filter((one) => fieldOf(one) === undefined).map((one) => one.detail);
  replace(message, others.join("; "));
  FIELDS.map((field) => inputs.get(field.key)).find((input) => input.getAttribute("aria-invalid") === "true")?.focus();
}

// Returns the field that an error points at, or that a rule over several fields names first.
function fieldOf({ pointer, detail }) {
  const named = pointer.split("/")[1] ?? /^\w+/.exec(detail)?.[0];
  return FIELDS.find((field) => field.key === named)?.key;
}

// Returns the command that asks for the same; what is at its default is left out.
function commandOf(search, texts) {
  const words = ["brainformer promote", quoted(search)];
  for (const field of FIELDS) {
    const text = texts.get(field.key);
    const usual = field.key === "scales" ? !texts.get("targets") && text === field.value : text === field.value;
    if (!text || usual || (field.key === "top" && texts.get("trials"))) continue;
    const values = field.each ? text.split(",").map((part) => part.trim()) : [text];
    words.push(...values.map((value) => `${field.flag} ${quoted(value)}`));
  }
  return [...words, `--url ${quoted(controllerUrl())}`].join(" ");
}

// Returns a word as a POSIX shell reads it.
function quoted(text) {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function whole(text) {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`a whole number is needed, not "${text}"`);
  return Number(text);
}

function multiple(text) {
  const found = /^x?(\d{1,4}(?:\.\d{1,6})?)x?$/.exec(text);
  if (!found) throw new Error(`multiples such as 1x,2x are needed, not "${text}"`);
  return Number(found[1]);
}

function seconds(text) {
  const found = /^(\d{1,9}(?:\.\d{1,6})?)(s|m|min|h|d)?$/.exec(text);
  if (!found) throw new Error(`times such as 45s, 30m, 2h or 1d are needed, not "${text}"`);
  return Number(found[1]) * UNITS[found[2] ?? ""];
}

function size(text) {
  const found = /^(\d{1,12}(?:\.\d{1,12})?)([kKmMbB]?)$/.exec(text);
  if (!found) throw new Error(`sizes such as 100M or 1B are needed, not "${text}"; targets in files are given on the command line`);
  return Math.round(Number(found[1]) * POWERS[found[2].toLowerCase()]);
}
