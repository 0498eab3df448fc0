"use strict";
// Theme, print and contents of the page; colors for the pictures.
const page = (() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  // Light or dark as the system is set, until the reader chooses.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const redraws = [];
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const mix = (a, b, t) => `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * t)).join(",")})`;

  // On a dark ground colors are lightened until their contrast (WCAG) is at least 3.
  const luminance = (color) => color.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const visible = (hex) => {
    if (!isDark()) return hex;
    const least = 3.05 * (luminance(rgb(css("--paper"))) + 0.05) - 0.05;
    let t = 0;
    const lighter = () => rgb(hex).map((v) => v + (255 - v) * t);
    while (luminance(lighter()) < least) t += 0.05;
    return mix(rgb(hex), [255, 255, 255], t);
  };
  const showTheme = () => {
    $("theme").textContent = isDark() ? "Light" : "Dark";
    document.querySelectorAll("[data-color]").forEach((part) => { part.style.background = visible(part.dataset.color); });
    redraws.forEach((redraw) => redraw());
  };
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; showTheme(); });
  system.addEventListener("change", showTheme);

  // In print: light, and every section unfolded but the marker tables, whose headings hold the top genes.
  let folded = [], theme;
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("main > section > details:not([open])")];
    folded.forEach((fold) => { fold.open = true; });
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    showTheme();
  });
  addEventListener("afterprint", () => {
    folded.forEach((fold) => { fold.open = false; });
    if (theme === undefined) delete root.dataset.theme; else root.dataset.theme = theme;
    showTheme();
  });

  // Highlight the section in view in the contents.
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      links.forEach((a) => a.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll("main section").forEach((part) => watcher.observe(part));

  function ramp(steps) {
    const [low, middle, high] = ["--low", "--accent", "--high"].map((name) => rgb(css(name)));
    return Array.from({ length: steps }, (_, i) => {
      const t = i / (steps - 1);
      return t < 0.5 ? mix(low, middle, 2 * t) : mix(middle, high, 2 * t - 1);
    });
  }
  const write = (value) => Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const save = (name, blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  showTheme();
  return { $, css, visible, ramp, write, make, save, onTheme: (callback) => redraws.push(callback) };
})();
