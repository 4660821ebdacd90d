// The controller's REST interface. Every failure is an ApiError with the sentence that the
// controller wrote (problem+json); a 401 asks for a token once and then repeats the request.

const ROOT = new URL("api/v1", document.baseURI).pathname; // a proxy may serve us below a path

// Returns the controller's address as commands take it.
export function controllerUrl() {
  return new URL(".", document.baseURI).href.replace(/\/$/, "");
}

// Returns the address of a REST path, for links.
export function restAddress(path) {
  return `${ROOT}${path}`;
}

export class ApiError extends Error {
  constructor(status, code, message, errors = []) {
    super(message);
    this.status = status; // 0: the controller could not be reached
    this.code = code;
    this.errors = errors; // fields that break a rule: {pointer, detail}
  }
}

export class Api {
  // `askForToken(message)` returns a promise of a token; concurrent requests share one question.
  constructor(askForToken) {
    this.askForToken = askForToken;
    this.question = null;
    this.clockOffsetMs = 0;
  }

  // Returns the controller's present time: ages and elapsed times do not trust this machine.
  now() {
    return new Date(Date.now() + this.clockOffsetMs);
  }

  async get(path, query = {}, signal = undefined) {
    const filled = Object.entries(query).flatMap(([name, value]) =>
      [value].flat().filter((one) => one !== null && one !== undefined && one !== "").map((one) => [name, one]),
    );
    const text = new URLSearchParams(filled).toString();
    const response = await this.send(`${ROOT}${path}${text ? `?${text}` : ""}`, { signal });
    return response.json();
  }

  post(path, body = undefined) {
    return this.change("POST", path, body);
  }

  // Sends a change; `body` is plain data, or text with its media type.
  async change(method, path, body = undefined, mediaType = "application/json") {
    const init = { method };
    if (body !== undefined) {
      init.headers = { "Content-Type": mediaType };
      init.body = typeof body === "string" ? body : JSON.stringify(body);
    }
    const response = await this.send(`${ROOT}${path}`, init);
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  }

  // Opens an event stream; the caller reads the body.
  stream(path, lastEventId, signal) {
    const headers = { Accept: "text/event-stream" };
    if (lastEventId !== null) headers["Last-Event-ID"] = lastEventId;
    return this.send(`${ROOT}${path}`, { headers, signal, cache: "no-store" });
  }

  async send(url, init) {
    for (;;) {
      const response = await this.fetch(url, init);
      if (response.ok) return response;
      const problem = await readProblem(response);
      if (problem.status !== 401) throw problem;
      await this.signIn(problem.message);
    }
  }

  async fetch(url, init) {
    let response;
    try {
      response = await fetch(url, { credentials: "same-origin", ...init });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "controller_unreachable", "The controller does not answer.");
    }
    const date = Date.parse(response.headers.get("Date") ?? "");
    if (!Number.isNaN(date) && Math.abs(date - Date.now()) > 2000) {
      this.clockOffsetMs = date - Date.now();
    }
    return response;
  }

  signIn(message) {
    this.question ??= this.askUntilAccepted(message).finally(() => {
      this.question = null;
    });
    return this.question;
  }

  async askUntilAccepted(message) {
    let why = message;
    for (;;) {
      const token = await this.askForToken(why);
      const response = await this.fetch(`${ROOT}/session`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token }),
      });
      if (response.ok) return;
      why = (await readProblem(response)).message;
    }
  }
}

async function readProblem(response) {
  let code = `http_${response.status}`;
  let message = `The controller answered ${response.status} ${response.statusText}.`;
  let errors = [];
  try {
    const problem = await response.json();
    code = problem.code ?? code;
    message = problem.detail ?? problem.title ?? message;
    errors = problem.errors ?? errors;
  } catch {
    // not problem+json: keep the plain sentence
  }
  return new ApiError(response.status, code, message, errors);
}
