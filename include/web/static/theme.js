// Follows Airflow's theme. Airflow keeps the setting in localStorage ("theme": light, dark, system)
// and sets a class on its <html>. Not a module, because it must run before the first paint.
{
  const ownRoot = document.documentElement;
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

  const airflowRoot = () => {
    try {
      return parent === window ? null : parent.document.documentElement;
    } catch {
      return null; // framed by another site
    }
  };

  const shown = () => {
    const around = airflowRoot()?.classList;
    for (const theme of ["dark", "light"]) if (around?.contains(theme)) return theme;
    const chosen = localStorage.getItem("theme");
    if (chosen === "dark" || chosen === "light") return chosen;
    return systemIsDark.matches ? "dark" : "light";
  };

  const follow = () => {
    if (ownRoot.dataset.theme === shown()) return;
    ownRoot.dataset.theme = shown();
    document.dispatchEvent(new Event("themechange"));
  };

  follow();
  systemIsDark.addEventListener("change", follow);
  addEventListener("storage", follow);
  if (airflowRoot()) {
    new MutationObserver(follow).observe(airflowRoot(), { attributeFilter: ["class"] });
  }
}
