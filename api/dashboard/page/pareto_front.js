// The Pareto front of the rows that the page holds: the candidates that no other of their pool beats
// in fitness, step time and parameters. The same rule as the controller's (search/sql/trials/front.py).

// Returns the numbers of the trials on the front.
export function paretoFront(rows) {
  const front = new Set();
  for (const members of byPool(rows.filter(mayCompete)).values()) {
    const kept = [];
    // Whoever beats a row stands before it, and of equals the first to finish.
    for (const row of members.sort(byFitness)) {
      if (kept.some((one) => one.time <= time(row) && one.parameters <= row.parameters)) continue;
      kept.push({ time: time(row), parameters: row.parameters });
      front.add(row.number);
    }
  }
  return front;
}

function mayCompete(row) {
  return row.kind === "candidate" && row.status === "completed" && row.fitness !== null && row.costKnown;
}

function byPool(rows) {
  const pools = new Map();
  for (const row of rows) {
    if (!pools.has(row.pool)) pools.set(row.pool, []);
    pools.get(row.pool).push(row);
  }
  return pools;
}

// A step time that was not measured is worse than any.
function time(row) {
  return row.stepTimeMs ?? Infinity;
}

function byFitness(a, b) {
  return (
    b.fitness - a.fitness ||
    compare(time(a), time(b)) ||
    a.parameters - b.parameters ||
    compare(a.finishedAt, b.finishedAt) ||
    a.number - b.number
  );
}

// Unlike a difference, also right for what is infinite or missing.
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
