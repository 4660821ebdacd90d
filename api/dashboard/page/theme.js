// Sets the colour theme before the first paint. A classic script in the head, because a module
// would run too late and the page would flash.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("brainformer.theme");
  } catch {
    // storage is off: follow the system
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
