// Where a search stands between its first baseline and its end, how far it is, and how long it
// will take: from its own counts, so that what is still running is never called done.

import * as format from "../core/format.js";

export const STAGES = ["baseline", "search", "confirm", "done"];
const ENDED = new Set(["completed", "stopped", "cancelled", "failed"]);

export function hasEnded(search) {
  return ENDED.has(search.status);
}

// Returns {stage, share, text, left}. `kinds` counts trials by kind and status, `levels` are the
// pools' baselines, `pace` is candidates a second lately, or null.
export function standing(search, { kinds, levels, pace, now }) {
  const open = (kind) => (kinds?.[kind]?.queued ?? 0) + (kinds?.[kind]?.running ?? 0);
  const { limits } = search.spec;
  const done = candidatesEnded(search, kinds);
  if (hasEnded(search)) return { stage: "done", share: 1, text: `${format.whole(done)} candidates`, left: "" };
  const confirmed = kinds?.confirmation ?? {};
  const proposed = limits.trials !== null && limits.trials !== undefined && search.candidates_proposed >= limits.trials;
  if (open("confirmation") > 0 || (confirmed.completed && open("candidate") === 0 && proposed)) {
    const ended = (confirmed.completed ?? 0) + (confirmed.failed ?? 0) + (confirmed.pruned ?? 0);
    const waiting = open("confirmation");
    return {
      stage: "confirm",
      share: ended / Math.max(1, ended + waiting),
      text: `${format.whole(ended)} fresh run${ended === 1 ? "" : "s"} done, ${format.whole(waiting)} to go`,
      left: search.status === "paused" ? "paused" : "the finalists are being run again",
    };
  }
  const ready = (levels ?? []).filter((level) => level.needed > 0 && level.repeats >= level.needed);
  if (ready.length === 0 && done === 0) {
    const [first] = levels ?? [];
    const text = first ? `run ${first.repeats} of ${first.needed} on ${first.pool}` : "waiting for a worker";
    return { stage: "baseline", share: first ? first.repeats / Math.max(1, first.needed) : 0, text, left: "" };
  }
  return { stage: "search", ...searching(search, { done, pace, now, open: open("candidate") }) };
}

function candidatesEnded(search, kinds) {
  const ended = kinds?.candidate;
  if (!ended) return search.candidates_finished;
  return (ended.completed ?? 0) + (ended.pruned ?? 0) + (ended.failed ?? 0) + (ended.cancelled ?? 0);
}

function searching(search, { done, pace, now, open }) {
  const { limits } = search.spec;
  const spent = elapsedSeconds(search, now);
  const shares = [];
  const guesses = [];
  if (limits.trials) {
    shares.push(done / limits.trials);
    if (pace) guesses.push(Math.max(0, limits.trials - done) / pace);
  }
  if (limits.hours) {
    shares.push(spent / (limits.hours * 3600));
    guesses.push(Math.max(0, limits.hours * 3600 - spent));
  }
  const text = limits.trials ? `${format.whole(done)} of ${format.whole(limits.trials)} candidates` : `${format.whole(done)} candidates`;
  let left = guesses.length ? `about ${format.duration(Math.min(...guesses))} left before the finalists are confirmed` : "";
  if (limits.trials && done >= limits.trials) left = open ? "the last ones are running" : "confirming comes next";
  if (search.status === "paused") left = "paused";
  if (search.status === "stopping") left = `ends when ${format.whole(search.counts.running ?? 0)} running trials have finished`;
  return { share: Math.min(1, Math.max(0, ...shares)), text, left };
}

// Seconds since the search began, pauses included as its limit in hours counts them; it stands still
// while the search is paused.
export function elapsedSeconds(search, now) {
  const still = search.status === "paused" ? search.updated_at : search.finished_at;
  const end = still ? Date.parse(still) : now.getTime();
  return Math.max(0, (end - Date.parse(search.created_at)) / 1000);
}

// Returns how many candidates a second have ended lately, from an Overview's points; null if unknown.
export function paceOf(points) {
  const ended = points.finished.filter((at, i) => at !== null && points.kind[i] === "candidate").sort((a, b) => a - b).slice(-60);
  if (ended.length < 3) return null;
  const span = ended.at(-1) - ended[0];
  return span > 0 ? (ended.length - 1) / span : null;
}
