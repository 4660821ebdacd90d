// An Overview that grows: differences are written into the columns of what was read before.

const COLUMNS = ["kind", "status", "pool", "parent", "fitness", "step_time_ms", "parameters", "finished", "member"];

export class ViewData {
  // `pool` is the one that is shown alone, or "".
  constructor(overview, pool) {
    this.pool = pool;
    this.take(overview);
  }

  take(overview) {
    this.overview = overview;
    this.place = new Map(overview.points.number.map((number, i) => [number, i]));
    this.added = 0;
  }

  // Returns what is known of one trial, or null.
  point(number) {
    const at = this.place.get(number);
    if (at === undefined) return null;
    const { points, pools } = this.overview;
    const found = Object.fromEntries(COLUMNS.map((name) => [name, points[name][at]]));
    return { ...found, number, pool: pools[found.pool] ?? null, parent_number: found.parent };
  }

  // Writes a difference; `follow` says that the stretch goes on to the newest trial.
  merge(change, { follow, populationSize }) {
    const { overview } = this;
    if (change.seq < overview.seq) return; // this was read anew meanwhile
    Object.assign(overview, { seq: change.seq, total: change.total, levels: change.levels, kinds: change.kinds, totals: change.totals, pools: change.pools });
    if (follow) overview.last = Math.max(overview.last, change.last);
    const { points } = overview;
    change.points.number.forEach((number, i) => {
      if (number < overview.first || number > overview.last) return;
      let at = this.place.get(number);
      if (at === undefined) {
        at = points.number.length;
        this.place.set(number, at);
        points.number.push(number);
        this.added += 1;
      }
      for (const name of COLUMNS) points[name][at] = change.points[name][i];
      this.raiseBest(change.points, i);
    });
    this.ageOut(populationSize);
  }

  // The running best goes on with what a difference brings.
  raiseBest(points, i) {
    const { pool } = this;
    const { best, pools } = this.overview;
    if (points.kind[i] !== "candidate" || points.fitness[i] === null) return;
    if (pool && pools[points.pool[i]] !== pool) return;
    const last = best.fitness.at(-1) ?? -Infinity;
    const newest = best.number.at(-1) ?? -1;
    if (points.fitness[i] <= last || points.number[i] <= newest) return;
    best.number.push(points.number[i]);
    best.fitness.push(points.fitness[i]);
    best.finished.push(points.finished[i]);
  }

  // To leave the population by age changes no row: the members shown are the youngest that ended.
  ageOut(size) {
    const { points } = this.overview;
    const ended = [];
    points.number.forEach((_, i) => {
      const counts = points.kind[i] === "candidate" && (points.status[i] === "completed" || points.status[i] === "pruned");
      if (counts && points.member[i]) ended.push(i);
    });
    if (ended.length <= size) return;
    ended.sort((a, b) => points.finished[a] - points.finished[b] || points.number[a] - points.number[b]);
    for (const i of ended.slice(0, ended.length - size)) points.member[i] = false;
  }
}

// Returns what is known of a stretch, as an Overview: enough to draw until the controller's own answer
// is there, which may hold single trials where this has bands.
export function stretchOf(overview, first, last) {
  const { points, bands, best } = overview;
  const known = best.number.findLastIndex((number) => number <= first); // what was the best when it began
  return {
    ...overview,
    first,
    last,
    points: picked(points, within(points.number, first, last)),
    bands: bands.map((band) => ({ ...band, ...picked(band, within(band.number, first - 2 * band.width, last + band.width)) })),
    best: picked(best, within(best.number, known < 0 ? first : best.number[known], last)),
  };
}

function within(numbers, from, to) {
  return numbers.flatMap((number, i) => (number >= from && number <= to ? [i] : []));
}

function picked(columns, at) {
  const lists = Object.entries(columns).filter(([, column]) => Array.isArray(column));
  return Object.fromEntries(lists.map(([name, column]) => [name, at.map((i) => column[i])]));
}
