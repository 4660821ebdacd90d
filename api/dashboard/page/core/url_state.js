// What is looked at, kept in the page's address: it survives a reload and can be sent to a
// colleague. Empty values are left out of the address.

export const FIELDS = [
  "search", "trial", "tab", "pool", "x", "y", "from", "to", "hide", "sort", "q", "root", "pins", "view",
];

const NUMBER = /^\d{1,9}$/;
export const MOST_PINS = 4;

export class UrlState {
  constructor(onChange) {
    this.onChange = onChange;
    this.values = read();
    addEventListener("popstate", () => {
      this.values = read();
      this.onChange(this.values);
    });
  }

  get(field) {
    return this.values[field] ?? "";
  }

  // Returns a field that is a trial's number; null if it is not.
  number(field) {
    const text = this.get(field);
    return NUMBER.test(text) ? Number(text) : null;
  }

  // Returns the numbers of the pinned trials as text, in the order of pinning.
  pins() {
    return this.get("pins").split(",").filter((pin) => NUMBER.test(pin)).slice(0, MOST_PINS);
  }

  // Changes fields and tells the listener; `push` makes an entry to go back to.
  set(changes, { push = false } = {}) {
    const before = this.address();
    this.values = { ...this.values, ...changes };
    const after = this.address();
    if (before === after) return;
    history[push ? "pushState" : "replaceState"](null, "", after);
    this.onChange(this.values);
  }

  // Returns the address of this view with some fields changed; for real links.
  address(changes = {}) {
    const query = new URLSearchParams();
    for (const field of FIELDS) {
      const value = changes[field] === undefined ? this.get(field) : changes[field];
      if (value !== "" && value !== null) query.set(field, String(value));
    }
    const text = query.toString();
    return text ? `?${text}` : "./"; // below whatever path the page has
  }
}

function read() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(FIELDS.map((field) => [field, query.get(field) ?? ""]));
}
