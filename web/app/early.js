// @ts-check
// Runs before the first paint: the remembered (or the system's) theme and language, so that the page never flashes in the wrong one.
// A classic script on purpose: modules run too late for that. Later changes belong to theme.js and i18n.js.
(() => {
  /** @param {string} key */
  const remembered = (key) => {
    try {
      return localStorage.getItem(`rwkv.${key}`);
    } catch {
      return null; // storage can be forbidden; the system's choice is fine then
    }
  };
  const root = document.documentElement;
  root.dataset.theme = remembered("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.lang = remembered("language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
})();
