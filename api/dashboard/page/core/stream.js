// A search's event stream, read with fetch rather than EventSource: it can send Last-Event-ID at
// the first connection, sees a 401, and notices silence. After a drop it comes back by itself and
// resumes where it stopped.

const SILENCE_MS = 45_000; // the controller sends a comment every 15 s or so
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 15_000;

export class EventStream {
  // `onEvent({id, kind, data})`; `onState(state, error)` with "live", "stale" or "closed".
  constructor(api, path, { lastEventId = null, onEvent, onState }) {
    this.api = api;
    this.path = path;
    this.lastEventId = lastEventId;
    this.onEvent = onEvent;
    this.onState = onState;
    this.closed = false;
    this.wake = null;
    this.run();
  }

  close() {
    this.closed = true;
    this.abort?.abort();
    this.wake?.();
  }

  // Tries again at once instead of waiting out the pause.
  retry() {
    this.wake?.();
  }

  async run() {
    let pause = FIRST_RETRY_MS;
    while (!this.closed) {
      let problem = null;
      try {
        await this.readOnce(() => {
          pause = FIRST_RETRY_MS;
        });
      } catch (error) {
        problem = error;
      }
      if (this.closed) return;
      if (problem?.status === 404) {
        this.onState("closed", problem);
        return;
      }
      // A stream that the controller ended in order is only opened again; the reader hears of it
      // if that fails.
      if (problem !== null) this.onState("stale", problem);
      await this.wait(pause * (0.75 + Math.random() / 2));
      pause = Math.min(pause * 2, LONGEST_RETRY_MS);
    }
  }

  async readOnce(onOpen) {
    this.abort = new AbortController();
    const response = await this.api.stream(this.path, this.lastEventId, this.abort.signal);
    onOpen();
    this.onState("live", null);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser((event) => {
      if (event.id !== null) this.lastEventId = event.id;
      this.onEvent(event);
    });
    try {
      for (;;) {
        const { done, value } = await this.readOrGiveUp(reader);
        if (done) return;
        parser.feed(value);
      }
    } finally {
      this.abort.abort();
    }
  }

  async readOrGiveUp(reader) {
    let timer;
    const silence = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("the stream fell silent")), SILENCE_MS);
    });
    try {
      return await Promise.race([reader.read(), silence]);
    } finally {
      clearTimeout(timer);
    }
  }

  wait(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

// The text/event-stream format of the HTML standard: fields by line, an empty line ends an event.
export class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.reset();
  }

  feed(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === "") {
      if (this.data.length > 0) {
        this.onEvent({ id: this.id, kind: this.kind, data: this.data.join("\n") });
      }
      this.reset();
      return;
    }
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (field === "id") this.id = value ?? "";
    else if (field === "event") this.kind = value ?? "";
    else if (field === "data") this.data.push(value ?? "");
  }

  reset() {
    this.id = null;
    this.kind = "message";
    this.data = [];
  }
}
