// The theme button: system, light, dark. The choice stays in this browser; the style sheet follows
// it, or the system's own theme.

const ORDER = ["system", "light", "dark"];
const LABELS = { system: "Auto", light: "Light", dark: "Dark" };

export function installThemeToggle(button) {
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
  });
  show();
}
