// What differs between a trial's block and its parent's, in words.

import * as format from "../core/format.js";

// Returns sentences for the changes that the controller lists. `parent` is the parent's genome.
export function inWords(changes, parent) {
  return (changes ?? []).map((change) => sentence(change, parent));
}

function sentence({ op, path, before, after }, parent) {
  const parts = path.split("/").slice(1);
  if (parts[0] === "model_dim") return `The model dim goes from ${before} to ${after}.`;
  const index = Number(parts[1]);
  const place = `sub-layer ${index + 1}`;
  if (op === "add") return `A ${told(after)} is inserted as ${place}.`;
  if (op === "remove") return `The ${told(before)} at ${place} of the parent is removed.`;
  if (parts.length === 2) return `${capital(place)} becomes a ${told(after)} instead of a ${told(before)}.`;
  const kind = parent?.layers?.[index]?.kind;
  const field = format.name(parts.slice(2).join(" "));
  return `${capital(place)}${kind ? ` (${format.name(kind)})` : ""}: ${field} goes from ${value(before)} to ${value(after)}.`;
}

function told(layer) {
  if (!layer?.kind) return "sub-layer";
  const facts = Object.entries(layer).filter(([name]) => ["heads", "hidden_dim", "activation", "gating"].includes(name));
  const words = facts.map(([name, what]) => (name === "heads" ? `${what} heads` : name === "hidden_dim" ? `${what} wide` : format.name(what)));
  return `${format.name(layer.kind)}${words.length ? ` (${words.join(", ")})` : ""}`;
}

function value(what) {
  return what === null || what === undefined ? "its default" : format.name(what);
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
