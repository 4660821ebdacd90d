// The theme button: system, light, dark. The choice stays in this browser; `onChange` hears of it
// and of changes of the system's own theme.

const ORDER = ["system", "light", "dark"];
const LABELS = { system: "Auto", light: "Light", dark: "Dark" };

export function installThemeToggle(button, onChange) {
  const root = document.documentElement;
  const show = () => {
    const theme = root.dataset.theme ?? "system";
    button.dataset.theme = theme;
    button.textContent = LABELS[theme];
    button.setAttribute("aria-label", `Colour theme: ${LABELS[theme]}`);
  };
  button.addEventListener("click", () => {
    const now = ORDER.indexOf(root.dataset.theme ?? "system");
    const next = ORDER[(now + 1) % ORDER.length];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem("brainformer.theme");
      else localStorage.setItem("brainformer.theme", next);
    } catch {
      // storage is off: the choice lasts as long as the page
    }
    show();
    onChange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
  show();
}

// Returns the value of a CSS custom property of the page, such as "--ink".
export function cssColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
