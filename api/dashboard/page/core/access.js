// Who the controller takes the reader to be: buttons that the token does not allow are not drawn.

export class Access {
  constructor(api) {
    this.api = api;
    this.scopes = null; // not known yet: nothing is offered
  }

  async read() {
    const who = await this.api.get("/session");
    this.scopes = new Set(who.scopes);
  }

  // Returns whether the reader may change searches.
  get mayWrite() {
    return this.scopes !== null && (this.scopes.has("write") || this.scopes.has("admin"));
  }
}
