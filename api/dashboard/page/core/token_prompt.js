// Asks for an access token when the controller wants one. The token goes into an HttpOnly cookie
// by way of the session endpoint; the page itself never keeps it.

import { setText } from "./dom.js";

export class TokenPrompt {
  // `parts`: {dialog, form, field, message}.
  constructor(parts) {
    this.parts = parts;
    this.answer = null;
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = parts.field.value.trim();
      if (!token) return;
      parts.field.value = "";
      parts.dialog.close();
      this.answer?.(token);
    });
    parts.dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  // Returns a promise of the token that the reader types.
  ask(message) {
    setText(this.parts.message, message);
    if (!this.parts.dialog.open) this.parts.dialog.showModal();
    this.parts.field.focus();
    return new Promise((resolve) => {
      this.answer = resolve;
    });
  }
}
