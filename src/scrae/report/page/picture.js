// One scatter plot: its canvas, its legend, and its image as SVG.
const MISSING = 65535, FULL = 65534;

class Picture {
  constructor(root, world) {
    this.root = root;
    this.world = world;
    this.basis = world.bases[0];
    this.view = { x: 0, y: 0, zoom: 1 };
    [this.width, this.height, this.ratio] = [1, 1, 1];
    this.single = new Set();
    this.choice = world.choices[0];
    this.canvas = this.part("canvas");
    this.pen = this.canvas.getContext("2d");
    this.hover = this.part("hover");
    world.bases.forEach((b, i) => this.part("basis").add(new Option(b.name, i)));
    this.fillChoices();
    this.listen();
    this.legend();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  part(name) { return this.root.querySelector(`[data-part="${name}"]`); }

  fillChoices() {
    const menu = this.part("color");
    let section = null;
    this.world.choices.forEach((choice, i) => {
      if (section?.label !== choice.section) {
        section = document.createElement("optgroup");
        section.label = choice.section;
        menu.append(section);
      }
      section.append(new Option(choice.note ? `${choice.title} (${choice.note})` : choice.title, i));
    });
  }

  resize() {
    if (!this.canvas.clientWidth) return;
    const first = this.width === 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.ratio = Math.max(devicePixelRatio, 1.5);
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    if (first || this.view.zoom === this.view.home) this.fit();
    this.draw();
  }

  side() { return Math.min(this.width, this.height) - 36; }
  toX(x) { return this.width / 2 + ((x / FULL - 0.5) * this.side() + this.view.x) * this.view.zoom; }
  toY(y) { return this.height / 2 - ((y / FULL - 0.5) * this.side() - this.view.y) * this.view.zoom; }

  fit() {
    const basis = this.basis, size = this.side();
    basis.middle ??= ["x", "y"].map((axis) => {
      let top = 0;
      for (const v of basis[axis]) if (v !== MISSING && v > top) top = v;
      return top / 2;
    });
    const [mx, my] = basis.middle;
    const zoom = Math.min((this.width - 36) / (2 * mx / FULL * size || 1), (this.height - 36) / (2 * my / FULL * size || 1));
    this.view = { zoom, x: -(mx / FULL - 0.5) * size, y: (my / FULL - 0.5) * size, home: zoom };
  }

  radius() {
    const near = Math.min(Math.max(this.view.zoom / (this.view.home || 1), 0.8), 12) ** 0.35;
    return Math.min(Math.max(110 / Math.sqrt(this.world.n), 1.25), 4) * Math.min(Math.max(this.width / 640, 0.6), 1) * near;
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => this.draw());
  }

  // The colors of the cells in drawing order: calls put(cell, color).
  paint(put) {
    const { world, choice } = this, { n } = world;
    let shade, order = null;
    if (choice.kind === "group") {
      const { codes, colors } = choice.group, shown = colors.map(page.visible), gray = page.css("--missing");
      shade = (i) => shown[codes[i]] ?? gray;
    } else if (choice.kind === "none") {
      const only = page.css("--accent");
      shade = () => only;
    } else {
      const level = world.level(choice), shades = page.ramp(64);
      order = choice.order ??= Uint32Array.from(level.keys()).sort((a, b) => level[a] - level[b]);
      shade = (i) => shades[Math.round(level[i] / choice.top * 63)];
    }
    const lit = this.single.size && choice.kind === "group" ? (i) => this.single.has(choice.group.codes[i])
      : world.selection ? (i) => world.selection.has(i) : null;
    const dim = lit && page.css("--dim");
    const each = (wanted, color) => {
      for (let k = 0; k < n; k++) {
        const i = order ? order[k] : k;
        if (this.basis.x[i] !== MISSING && wanted(i)) put(i, color ?? shade(i));
      }
    };
    if (lit) each((i) => !lit(i), dim);
    each(lit ?? (() => true));
  }

  draw() {
    this.waiting = false;
    const { pen, canvas, ratio, width, height } = this;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = page.css("--paper");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    // One small disc per color, stamped per cell: fast enough for 20,000 cells in every frame.
    const r = this.radius(), stamps = new Map();
    const disc = (fill) => {
      const stamp = document.createElement("canvas"), size = Math.ceil(2 * r * ratio) + 2;
      stamp.width = stamp.height = size;
      const p = stamp.getContext("2d");
      p.fillStyle = fill;
      p.beginPath();
      p.arc(size / 2, size / 2, r * ratio, 0, 2 * Math.PI);
      p.fill();
      return stamp;
    };
    this.paint((i, color) => {
      const x = this.toX(this.basis.x[i]), y = this.toY(this.basis.y[i]);
      if (x < -20 || y < -20 || x > width + 20 || y > height + 20) return;
      const stamp = stamps.get(color) ?? stamps.set(color, disc(color)).get(color);
      pen.drawImage(stamp, Math.round(x * ratio - stamp.width / 2), Math.round(y * ratio - stamp.height / 2));
    });
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    Object.assign(pen, { font: `600 12.5px ${page.css("--sans")}`, textAlign: "center", textBaseline: "middle", lineJoin: "round" });
    Object.assign(pen, { lineWidth: 4, strokeStyle: page.css("--paper"), fillStyle: page.css("--ink") });
    for (const { name, x, y } of this.names()) { pen.strokeText(name, x, y); pen.fillText(name, x, y); }
    this.drawLasso();
  }

  drawLasso() {
    if (!this.lasso) return;
    const { pen } = this;
    pen.beginPath();
    for (const [x, y] of this.lasso) pen.lineTo(x, y);
    pen.closePath();
    Object.assign(pen, { lineWidth: 1.5, strokeStyle: page.css("--ink") });
    pen.setLineDash([5, 4]);
    pen.stroke();
    pen.setLineDash([]);
  }

  // Each name at the median of its cells, the largest first, without overlap.
  names() {
    if (this.choice.kind !== "group" || !this.world.named || this.choice.group.categories.length > 60) return [];
    const { codes, categories, sizes } = this.choice.group, { basis, pen } = this;
    const places = categories.map(() => [[], []]);
    for (let i = 0; i < this.world.n; i++) if (codes[i] !== MISSING && basis.x[i] !== MISSING) {
      places[codes[i]][0].push(basis.x[i]);
      places[codes[i]][1].push(basis.y[i]);
    }
    const median = (list) => list.sort((a, b) => a - b)[list.length >> 1], taken = [];
    pen.font = `600 12.5px ${page.css("--sans")}`;
    for (const c of [...categories.keys()].sort((a, b) => sizes[b] - sizes[a])) {
      if (!places[c][0].length || (this.single.size && !this.single.has(c))) continue;
      const name = categories[c].length > 24 ? `${categories[c].slice(0, 23)}…` : categories[c];
      const half = pen.measureText(name).width / 2 + 3;
      const x = Math.min(Math.max(this.toX(median(places[c][0])), half), this.width - half), y = this.toY(median(places[c][1]));
      if (taken.some((t) => Math.abs(t.x - x) < t.half + half && Math.abs(t.y - y) < 16)) continue;
      taken.push({ name, x, y, half });
    }
    return taken;
  }

  legend() {
    const box = this.part("legend"), { choice, world } = this, { make } = page;
    box.replaceChildren();
    if (choice.kind === "none") return;
    box.append(make("div", "title", choice.title));
    if (choice.kind !== "group") {
      const row = make("div", "scale-row"), bar = make("div", "scale"), ends = make("div");
      bar.style.background = `linear-gradient(0deg, ${page.ramp(9).join(",")})`;
      for (const t of [1, 0.5, 0]) ends.append(make("span", "", page.write(world.real(choice, t * choice.top))));
      row.append(bar, ends);
      box.append(row, make("div", "note", choice.kind === "gene" ? "log-normalized expression" : choice.log ? "logarithmic" : ""));
      return;
    }
    choice.group.categories.forEach((name, c) => {
      const button = make("button"), swatch = make("span", "swatch");
      button.type = "button";
      button.setAttribute("aria-pressed", String(this.single.has(c)));
      swatch.style.background = page.visible(choice.group.colors[c]);
      const shown = make("span", "name", name), suggested = choice.group.suggested?.[c];
      if (suggested) shown.append(make("span", "quiet", ` ${suggested}?`));
      button.append(swatch, shown, make("span", "count", choice.group.sizes[c].toLocaleString("en")));
      button.addEventListener("click", () => {
        if (!this.single.delete(c)) this.single.add(c);
        button.setAttribute("aria-pressed", String(this.single.has(c)));
        this.later();
      });
      box.append(button);
    });
  }

  colorBy(choice) {
    this.choice = choice;
    this.single = new Set();
    this.legend();
    this.later();
  }

  // Hover: the nearest cell within a few pixels.
  show(event) {
    const { world, hover, basis } = this, area = this.canvas.getBoundingClientRect();
    const px = event.clientX - area.left, py = event.clientY - area.top;
    let best = -1, least = (this.radius() + 5) ** 2;
    for (let i = 0; i < world.n; i++) {
      if (basis.x[i] === MISSING) continue;
      const d = (this.toX(basis.x[i]) - px) ** 2 + (this.toY(basis.y[i]) - py) ** 2;
      if (d < least) { least = d; best = i; }
    }
    hover.hidden = best < 0;
    if (best < 0) return;
    hover.replaceChildren(page.make("b", "", world.cells[best]));
    for (const choice of world.choices) {
      const shown = choice.main || choice === this.choice;
      if (!shown || choice.kind === "none" || choice.kind === "gene") continue;
      const text = choice.kind === "group" ? choice.group.categories[choice.group.codes[best]] ?? "no value"
        : page.write(world.real(choice, world.level(choice)[best]));
      hover.append(page.make("div", "", `${choice.title}: ${text}`));
    }
    if (this.choice.kind === "gene") {
      hover.append(page.make("div", "", `${this.choice.title}: ${page.write(world.real(this.choice, world.level(this.choice)[best]))}`));
    }
    const left = px + 16 + hover.offsetWidth > this.width ? px - 14 - hover.offsetWidth : px + 14;
    hover.style.left = `${Math.max(left, 4)}px`;
    hover.style.top = `${Math.min(Math.max(py - 10, 4), Math.max(this.height - hover.offsetHeight - 4, 4))}px`;
  }

  zoomBy(factor, px = this.width / 2, py = this.height / 2) {
    const { view } = this, home = view.home || 1;
    const next = Math.min(Math.max(view.zoom * factor, home / 2), home * 60);
    view.x += (px - this.width / 2) * (1 / next - 1 / view.zoom);
    view.y += (py - this.height / 2) * (1 / next - 1 / view.zoom);
    view.zoom = next;
    this.later();
  }

  move(dx, dy) { this.view.x += dx / this.view.zoom; this.view.y += dy / this.view.zoom; this.later(); }
  home() { this.fit(); this.later(); }

  listen() {
    const { canvas } = this, fingers = new Map();
    const at = (event) => { const area = canvas.getBoundingClientRect(); return [event.clientX - area.left, event.clientY - area.top]; };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      fingers.set(event.pointerId, event);
      if (this.world.lassoing) this.lasso = [at(event)];
      else this.show(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return this.show(event);
      this.hover.hidden = true;
      if (this.lasso) {
        this.lasso.push(at(event));
        this.later();
      } else if (fingers.size === 2) {
        const other = [...fingers.values()].find((f) => f.pointerId !== event.pointerId);
        const gap = (f) => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY);
        const [x, y] = at({ clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
        this.zoomBy(gap(event) / (gap(last) || 1), x, y);
      } else this.move(event.clientX - last.clientX, event.clientY - last.clientY);
      fingers.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      if (this.lasso) this.closeLasso();
    });
    canvas.addEventListener("pointerleave", () => { this.hover.hidden = true; });
    let hiding;
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey || document.activeElement === canvas) {
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), ...at(event));
      } else {
        const hint = this.part("hint");
        hint.hidden = false;
        clearTimeout(hiding);
        hiding = setTimeout(() => { hint.hidden = true; }, 1500);
      }
    }, { passive: false });
    const keys = {
      ArrowLeft: () => this.move(50, 0), ArrowRight: () => this.move(-50, 0), ArrowUp: () => this.move(0, 50), ArrowDown: () => this.move(0, -50),
      "+": () => this.zoomBy(1.3), "=": () => this.zoomBy(1.3), "-": () => this.zoomBy(1 / 1.3), 0: () => this.home(),
    };
    canvas.addEventListener("keydown", (event) => {
      if (keys[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); keys[event.key](); }
    });
    this.part("basis").addEventListener("change", (event) => { this.basis = this.world.bases[event.target.value]; this.home(); });
    this.part("color").addEventListener("change", (event) => this.colorBy(this.world.choices[event.target.value]));
  }

  closeLasso() {
    const corners = this.lasso, inside = new Set();
    this.lasso = null;
    for (let i = 0; corners.length > 2 && i < this.world.n; i++) {
      if (this.basis.x[i] === MISSING) continue;
      const x = this.toX(this.basis.x[i]), y = this.toY(this.basis.y[i]);
      let odd = false;
      for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
        const [[ax, ay], [bx, by]] = [corners[a], corners[b]];
        if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) odd = !odd;
      }
      if (odd) inside.add(i);
    }
    this.world.select(inside);
  }

  // The plot with its title and legend as SVG text.
  svg() {
    const { choice, width, height, world } = this, { css, write } = page;
    const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
    const text = (x, y, words, more = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escape(words)}</text>`;
    const categories = choice.group?.categories ?? [], rows = Math.max(Math.floor((height - 20) / 18), 1);
    const columns = choice.kind === "none" ? 0 : Math.ceil(Math.max(categories.length, 1) / rows), column = 190;
    const [w, h] = [width + columns * column, height + 34], dots = new Map(), r = this.radius();
    this.paint((i, color) => {
      const x = this.toX(this.basis.x[i]), y = this.toY(this.basis.y[i]);
      if (x < 0 || y < 0 || x > width || y > height) return;
      if (!dots.has(color)) dots.set(color, []);
      dots.get(color).push(`M${x.toFixed(1)} ${y.toFixed(1)}h0`);
    });
    const parts = [...dots].map(([color, d]) => `<path stroke="${color}" d="${d.join("")}"/>`);
    const labels = this.names().map(({ name, x, y }) => text(x, y, name));
    const legend = categories.map((name, c) => {
      const x = width + Math.floor(c / rows) * column + 12, y = 44 + (c % rows) * 18;
      const short = name.length > 26 ? `${name.slice(0, 25)}…` : name;
      return `<circle cx="${x}" cy="${y}" r="5" fill="${page.visible(choice.group.colors[c])}"/>${text(x + 12, y, short)}`;
    });
    if (choice.kind === "value" || choice.kind === "gene") {
      page.ramp(100).forEach((shade, i) => legend.push(`<rect x="${width + 12}" y="${183 - 1.4 * i}" width="14" height="2" fill="${shade}"/>`));
      for (const t of [0, 0.5, 1]) legend.push(text(width + 34, 184 - 139 * t, write(world.real(choice, t * choice.top))));
      if (choice.kind === "gene") legend.push(text(width + 12, 206, "log-normalized", 'font-size="11"'), text(width + 12, 221, "expression", 'font-size="11"'));
    }
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" font-family="${escape(css("--sans"))}" font-size="13" fill="${css("--ink")}" dominant-baseline="central">`
      + `<rect width="${w}" height="${h}" fill="${css("--paper")}"/>${text(12, 20, this.title(), 'font-size="15" font-weight="600"')}`
      + `<g transform="translate(0 34)"><g fill="none" stroke-width="${(2 * r).toFixed(2)}" stroke-linecap="round">${parts.join("")}</g>`
      + `<g font-size="12.5" font-weight="600" text-anchor="middle" stroke="${css("--paper")}" stroke-width="4" stroke-linejoin="round" paint-order="stroke">${labels.join("")}</g></g>`
      + `${legend.join("")}</svg>`;
  }

  title() { return `${this.basis.name}, ${this.choice.title}`; }

  async savePng(name) {
    const source = new Blob([this.svg()], { type: "image/svg+xml" }), url = URL.createObjectURL(source);
    const image = new Image();
    image.src = url;
    await image.decode();
    const sheet = Object.assign(document.createElement("canvas"), { width: 2 * image.width, height: 2 * image.height });
    sheet.getContext("2d").drawImage(image, 0, 0, sheet.width, sheet.height);
    URL.revokeObjectURL(url);
    sheet.toBlob((blob) => page.save(name, blob), "image/png");
  }
}
