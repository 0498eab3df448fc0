"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  // Light or dark as the system is set, until the reader chooses.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  let redraw = () => {};
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
    redraw();
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

  const data = JSON.parse($("cells").textContent);
  if (data) scatter(data);
  showTheme();

  function scatter({ n, cells, bases, groups, values, genes }) {
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const words = (text) => new Uint16Array(bytes(text).buffer);
    for (const basis of bases) { basis.x = words(basis.x); basis.y = words(basis.y); }
    for (const group of groups) group.codes = words(group.codes);
    const MISSING = 65535, FULL = 65534;

    const canvas = $("canvas"), pen = canvas.getContext("2d"), hover = $("hover");
    let basis = bases[0], view = { x: 0, y: 0, zoom: 1 }, width = 1, height = 1, ratio = 1;
    let color = null, singled = new Set(), waiting = false;

    // What can color the cells: groups, quantities (16 bit), genes (8 bit, decoded on demand).
    const choices = [
      ...groups.map((group) => ({ kind: "group", section: "Groups", title: group.name, group })),
      ...values.map((v) => ({ kind: "value", section: "Quantities", title: v.name, ...v, top: 65535 })),
      ...genes.map((g) => ({ kind: "gene", section: "Marker genes", title: g.name, note: `cluster ${g.cluster}`, ...g, low: 0, top: 255 })),
      { kind: "none", section: "Other", title: "One color" },
    ];
    const level = (choice) => (choice.level ??= choice.kind === "gene" ? bytes(choice.data) : words(choice.data));
    const real = (choice, whole) => {
      const value = choice.low + (choice.high - choice.low) * whole / choice.top;
      return choice.log ? Math.expm1(value) : value;
    };
    const write = (value) => Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));

    bases.forEach((b, i) => $("basis").add(new Option(b.name, i)));
    let section = null;
    choices.forEach((choice, i) => {
      if (section?.label !== choice.section) {
        section = document.createElement("optgroup");
        section.label = choice.section;
        $("color").append(section);
      }
      section.append(new Option(choice.note ? `${choice.title} (${choice.note})` : choice.title, i));
    });

    function ramp(steps) {
      const [low, middle, high] = ["--low", "--accent", "--high"].map((name) => rgb(css(name)));
      return Array.from({ length: steps }, (_, i) => {
        const t = i / (steps - 1);
        return t < 0.5 ? mix(low, middle, 2 * t) : mix(middle, high, 2 * t - 1);
      });
    }

    const side = () => Math.min(width, height) - 36;
    const toX = (x) => width / 2 + ((x / FULL - 0.5) * side() + view.x) * view.zoom;
    const toY = (y) => height / 2 - ((y / FULL - 0.5) * side() - view.y) * view.zoom;
    const middle = (b) => b.middle ??= ["x", "y"].map((axis) => {
      let top = 0;
      for (const v of b[axis]) if (v !== MISSING && v > top) top = v;
      return top / 2;
    });
    function fit() {
      const [mx, my] = middle(basis), size = side();
      const zoom = Math.min((width - 36) / (2 * mx / FULL * size || 1), (height - 36) / (2 * my / FULL * size || 1));
      view = { zoom, x: -(mx / FULL - 0.5) * size, y: (my / FULL - 0.5) * size };
      view.home = view.zoom;
    }

    // One small disc per color, stamped per cell: fast enough for 20,000 cells in every frame.
    function disc(fill, radius) {
      const stamp = document.createElement("canvas"), size = Math.ceil(2 * radius * ratio) + 2;
      stamp.width = stamp.height = size;
      const p = stamp.getContext("2d");
      p.fillStyle = fill;
      p.beginPath();
      p.arc(size / 2, size / 2, radius * ratio, 0, 2 * Math.PI);
      p.fill();
      return stamp;
    }
    const radius = () => Math.min(Math.max(110 / Math.sqrt(n), 1.25), 4) * Math.min(Math.max(width / 640, 0.6), 1) * Math.min(Math.max(view.zoom / (view.home || 1), 0.8), 12) ** 0.35;

    function draw() {
      waiting = false;
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.fillStyle = css("--paper");
      pen.fillRect(0, 0, canvas.width, canvas.height);
      const r = radius(), stamps = new Map();
      const stamp = (fill) => stamps.get(fill) ?? stamps.set(fill, disc(fill, r)).get(fill);
      const put = (i, picture) => {
        if (basis.x[i] === MISSING) return;
        const x = toX(basis.x[i]), y = toY(basis.y[i]);
        if (x > -20 && y > -20 && x < width + 20 && y < height + 20) {
          pen.drawImage(picture, Math.round(x * ratio - picture.width / 2), Math.round(y * ratio - picture.height / 2));
        }
      };
      if (color.kind === "group") {
        const { codes, colors } = color.group, gray = css("--missing");
        const pictures = colors.map(visible).map(stamp), lost = stamp(gray);
        if (singled.size) {
          const dim = stamp(css("--dim"));
          for (let i = 0; i < n; i++) if (!singled.has(codes[i])) put(i, dim);
          for (let i = 0; i < n; i++) if (singled.has(codes[i])) put(i, pictures[codes[i]] ?? lost);
        } else for (let i = 0; i < n; i++) put(i, pictures[codes[i]] ?? lost);
      } else if (color.kind === "none") {
        const only = stamp(css("--accent"));
        for (let i = 0; i < n; i++) put(i, only);
      } else {
        const pictures = ramp(64).map(stamp), whole = level(color);
        color.order ??= Uint32Array.from(whole.keys()).sort((a, b) => whole[a] - whole[b]);
        for (const i of color.order) put(i, pictures[Math.round(whole[i] / color.top * 63)]);
      }
      writeNames();
    }

    // Each name at the median of its cells, the largest first, without overlap.
    function writeNames() {
      if (color.kind !== "group" || $("names").getAttribute("aria-pressed") !== "true") return;
      const { codes, categories, sizes } = color.group;
      const places = categories.map(() => [[], []]);
      for (let i = 0; i < n; i++) if (codes[i] !== MISSING && basis.x[i] !== MISSING) {
        places[codes[i]][0].push(basis.x[i]);
        places[codes[i]][1].push(basis.y[i]);
      }
      const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
      const taken = [];
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.font = `600 12.5px ${css("--sans")}`;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.lineJoin = "round";
      pen.lineWidth = 4;
      pen.strokeStyle = css("--paper");
      pen.fillStyle = css("--ink");
      for (const c of [...categories.keys()].sort((a, b) => sizes[b] - sizes[a])) {
        if (!places[c][0].length || (singled.size && !singled.has(c))) continue;
        const name = categories[c].length > 24 ? `${categories[c].slice(0, 23)}…` : categories[c];
        const half = pen.measureText(name).width / 2 + 3;
        const x = toX(median(places[c][0])), y = toY(median(places[c][1]));
        if (taken.some((t) => Math.abs(t.x - x) < t.half + half && Math.abs(t.y - y) < 16)) continue;
        taken.push({ x, y, half });
        pen.strokeText(name, x, y);
        pen.fillText(name, x, y);
      }
    }

    redraw = () => {
      if (color) legend();
      draw();
    };
    const later = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

    function legend() {
      const box = $("legend");
      box.replaceChildren();
      const make = (tag, name, text) => {
        const element = document.createElement(tag);
        if (name) element.className = name;
        if (text !== undefined) element.textContent = text;
        return element;
      };
      if (color.kind === "none") return;
      box.append(make("div", "title", color.title));
      if (color.kind !== "group") {
        const row = make("div", "scale-row"), bar = make("div", "scale"), ends = make("div");
        bar.style.background = `linear-gradient(0deg, ${ramp(9).join(",")})`;
        for (const t of [1, 0.5, 0]) ends.append(make("span", "", write(real(color, t * color.top))));
        row.append(bar, ends);
        box.append(row, make("div", "note", color.kind === "gene" ? "log-normalized expression" : color.log ? "logarithmic" : ""));
        return;
      }
      const { categories, colors, sizes } = color.group;
      categories.forEach((name, c) => {
        const button = make("button"), swatch = make("span", "swatch");
        button.type = "button";
        button.setAttribute("aria-pressed", String(singled.has(c)));
        swatch.style.background = visible(colors[c]);
        button.append(swatch, make("span", "name", name), make("span", "count", sizes[c].toLocaleString("en")));
        button.addEventListener("click", () => {
          if (!singled.delete(c)) singled.add(c);
          button.setAttribute("aria-pressed", String(singled.has(c)));
          later();
        });
        box.append(button);
      });
    }

    // Hover: the nearest cell within a few pixels.
    function show(event) {
      const area = canvas.getBoundingClientRect(), px = event.clientX - area.left, py = event.clientY - area.top;
      let best = -1, least = (radius() + 5) ** 2;
      for (let i = 0; i < n; i++) {
        if (basis.x[i] === MISSING) continue;
        const d = (toX(basis.x[i]) - px) ** 2 + (toY(basis.y[i]) - py) ** 2;
        if (d < least) { least = d; best = i; }
      }
      hover.hidden = best < 0;
      if (best < 0) return;
      hover.replaceChildren(Object.assign(document.createElement("b"), { textContent: cells[best] }));
      const line = (text) => hover.append(Object.assign(document.createElement("div"), { textContent: text }));
      for (const group of groups) line(`${group.name}: ${group.categories[group.codes[best]] ?? "no value"}`);
      for (const v of values) {
        const choice = choices.find((c) => c.kind === "value" && c.title === v.name);
        line(`${v.name}: ${write(real(choice, level(choice)[best]))}`);
      }
      if (color.kind === "gene") line(`${color.title}: ${write(real(color, level(color)[best]))}`);
      const left = px + 16 + hover.offsetWidth > width ? px - 14 - hover.offsetWidth : px + 14;
      hover.style.left = `${Math.max(left, 4)}px`;
      hover.style.top = `${Math.min(Math.max(py - 10, 4), Math.max(height - hover.offsetHeight - 4, 4))}px`;
    }

    function zoomBy(factor, px = width / 2, py = height / 2) {
      const next = Math.min(Math.max(view.zoom * factor, (view.home || 1) / 2), (view.home || 1) * 60);
      view.x += (px - width / 2) * (1 / next - 1 / view.zoom);
      view.y += (py - height / 2) * (1 / next - 1 / view.zoom);
      view.zoom = next;
      later();
    }
    const move = (dx, dy) => { view.x += dx / view.zoom; view.y += dy / view.zoom; later(); };

    const fingers = new Map();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      fingers.set(event.pointerId, event);
      show(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return show(event);
      hover.hidden = true;
      if (fingers.size === 2) {
        const other = [...fingers.values()].find((f) => f.pointerId !== event.pointerId);
        const gap = (f) => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY);
        const area = canvas.getBoundingClientRect();
        zoomBy(gap(event) / (gap(last) || 1), (event.clientX + other.clientX) / 2 - area.left, (event.clientY + other.clientY) / 2 - area.top);
      } else move(event.clientX - last.clientX, event.clientY - last.clientY);
      fingers.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => { hover.hidden = true; });
    let hiding;
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey || document.activeElement === canvas) {
        event.preventDefault();
        const area = canvas.getBoundingClientRect();
        zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), event.clientX - area.left, event.clientY - area.top);
      } else {
        $("hint").hidden = false;
        clearTimeout(hiding);
        hiding = setTimeout(() => { $("hint").hidden = true; }, 1500);
      }
    }, { passive: false });
    const home = () => { fit(); later(); };
    const keys = {
      ArrowLeft: () => move(50, 0), ArrowRight: () => move(-50, 0), ArrowUp: () => move(0, 50), ArrowDown: () => move(0, -50),
      "+": () => zoomBy(1.3), "=": () => zoomBy(1.3), "-": () => zoomBy(1 / 1.3), 0: home,
    };
    canvas.addEventListener("keydown", (event) => {
      if (keys[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); keys[event.key](); }
    });

    $("zoom-in").addEventListener("click", () => zoomBy(1.5));
    $("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
    $("reset").addEventListener("click", () => { singled.clear(); legend(); home(); });
    $("names").addEventListener("click", (event) => {
      event.target.setAttribute("aria-pressed", String(event.target.getAttribute("aria-pressed") !== "true"));
      later();
    });
    // The plot with its title and legend, as one PNG.
    function image() {
      draw();  // a change may still wait for its frame
      const { categories = [], colors = [] } = color.group ?? {};
      const rows = color.kind === "group" ? Math.max(Math.floor((height - 20) / 18), 1) : 1;
      const columns = color.kind === "none" ? 0 : Math.ceil(Math.max(categories.length, 1) / rows), column = 190;
      const sheet = document.createElement("canvas"), p = sheet.getContext("2d");
      sheet.width = Math.round((width + columns * column) * ratio);
      sheet.height = Math.round((height + 34) * ratio);
      p.fillStyle = css("--paper");
      p.fillRect(0, 0, sheet.width, sheet.height);
      p.drawImage(canvas, 0, Math.round(34 * ratio));
      p.scale(ratio, ratio);
      p.textBaseline = "middle";
      const put = (text, x, y) => {
        p.fillStyle = css("--ink");
        p.font = `13px ${css("--sans")}`;
        p.fillText(text, x, y, column - 26);
      };
      p.font = `600 15px ${css("--sans")}`;
      p.fillStyle = css("--ink");
      p.fillText(`${basis.name}, ${color.title}`, 12, 20);
      categories.forEach((name, c) => {
        const x = width + Math.floor(c / rows) * column + 12, y = 44 + (c % rows) * 18;
        p.fillStyle = visible(colors[c]);
        p.beginPath();
        p.arc(x, y, 5, 0, 2 * Math.PI);
        p.fill();
        put(name, x + 12, y);
      });
      if (color.kind === "value" || color.kind === "gene") {
        ramp(100).forEach((shade, i) => { p.fillStyle = shade; p.fillRect(width + 12, 183 - 1.4 * i, 14, 2); });
        for (const t of [0, 0.5, 1]) put(write(real(color, t * color.top)), width + 34, 184 - 139 * t);
      }
      return sheet;
    }
    $("save").addEventListener("click", () => {
      const name = `${basis.name} ${color.title}`.replace(/[^\w-]+/g, "_");
      Object.assign(document.createElement("a"), { href: image().toDataURL("image/png"), download: `${name}.png` }).click();
    });
    $("basis").addEventListener("change", (event) => { basis = bases[event.target.value]; home(); });
    $("color").addEventListener("change", (event) => {
      color = choices[event.target.value];
      singled = new Set();
      legend();
      later();
    });

    new ResizeObserver(() => {
      if (!canvas.clientWidth) return;
      const first = width === 1;
      width = canvas.clientWidth;
      height = canvas.clientHeight;
      ratio = Math.max(devicePixelRatio, 1.5);
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      if (first || view.zoom === view.home) fit();
      draw();
    }).observe(canvas);
    color = choices[0];
    legend();
  }
})();
