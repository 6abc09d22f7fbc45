// Airflow's light or dark, and its own colours where the page is a frame inside of it.
(() => {
  const own = document.documentElement;
  const tokens = ["bg", "bg-subtle", "bg-muted", "fg", "fg-muted", "border", "brand-solid", "brand-fg", "brand-muted"];
  const outside = (() => {
    try {
      return window.parent !== window && window.parent.document.documentElement;
    } catch {
      return null; // a frame of another origin: the page stands for itself
    }
  })();

  function follow() {
    const kept = localStorage.getItem("theme");
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const named = outside ? (outside.classList.contains("dark") ? "dark" : "light") : kept === "dark" || kept === "light" ? kept : system;
    own.dataset.theme = named;
    if (!outside) return;
    const style = getComputedStyle(outside);
    for (const token of tokens) {
      const value = style.getPropertyValue(`--chakra-colors-${token}`).trim();
      if (value) own.style.setProperty(`--${token}`, value);
    }
  }

  follow();
  own.classList.toggle("framed", Boolean(outside));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
  addEventListener("storage", follow);
  if (outside) new MutationObserver(follow).observe(outside, { attributes: true, attributeFilter: ["class"] });
})();
