// What the pictures share: the data, genes by name, and a selection of cells.
page.explore = (() => {
  const data = JSON.parse(document.getElementById("cells").textContent);
  if (!data) return null;
  const { $, make } = page;
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const words = (text) => new Uint16Array(bytes(text).buffer);
  for (const basis of data.bases) { basis.x = words(basis.x); basis.y = words(basis.y); }
  for (const group of data.groups) group.codes = words(group.codes);
  const { n, cells, bases, groups, genes } = data;

  const geneChoice = (name, note) => ({ kind: "gene", section: "Marker genes", title: name, note, gene: geneIndex.get(name.toLowerCase()), low: 0, top: genes.steps });
  const geneIndex = new Map(genes.names.map((name, i) => [name.toLowerCase(), i]));
  const world = {
    n, cells, bases, named: true, selection: null, lassoing: false,
    choices: [
      ...groups.map((group) => ({ kind: "group", section: group.main ? "Groups" : "Other groups", title: group.name, main: group.main, group })),
      ...data.values.map((v) => ({ kind: "value", section: v.main ? "Quantities" : "Other quantities", title: v.name, ...v, top: 65535 })),
      ...data.markers.filter(([name]) => geneIndex.has(name.toLowerCase())).map(([name, cluster]) => geneChoice(name, `cluster ${cluster}`)),
      { kind: "none", section: "Other", title: "One color" },
    ].sort((a, b) => rank(a) - rank(b)),
    level: (choice) => choice.level ??= choice.kind === "gene" ? steps(choice.gene) : words(choice.data),
    real(choice, whole) {
      const high = choice.kind === "gene" ? genes.high[choice.gene] : choice.high;
      const value = choice.low + (high - choice.low) * whole / choice.top;
      return choice.log ? Math.expm1(value) : value;
    },
    select,
  };
  function rank(choice) { return ["Groups", "Other groups", "Quantities", "Other quantities", "Marker genes", "Other"].indexOf(choice.section); }

  // Genes: gaps between cells, then steps; see _pack.py.
  let stream = null, places = null;
  async function unpack() {
    const packed = new Blob([bytes(genes.data)]).stream().pipeThrough(new DecompressionStream("deflate"));
    stream = new Uint8Array(await new Response(packed).arrayBuffer());
    let gap = 0, step = genes.sizes.reduce((sum, [coded]) => sum + coded, 0);
    places = genes.sizes.map(([coded, count]) => { const place = [gap, step, count]; gap += coded; step += count; return place; });
  }
  function eachCell(gene, call) {
    let [gap, step, count] = places[gene];
    for (let cell = -1; count > 0; count--) {
      let more;
      do { more = stream[gap++]; cell += more; } while (more === 255);
      call(cell, stream[step++]);
    }
  }
  function steps(gene) {
    const level = new Uint8Array(n);
    if (stream) eachCell(gene, (cell, step) => { level[cell] = step; });
    return level;
  }

  // The cells of each group with each step of a gene: [groups][steps + 1].
  function counted(gene, codes, sizes) {
    const rows = sizes.map((size) => Uint32Array.from({ length: genes.steps + 1 }, (_, s) => s ? 0 : size));
    eachCell(gene, (cell, step) => { const row = rows[codes[cell]]; if (row) { row[step] += 1; row[0] -= 1; } });
    return rows;
  }
  const unit = (gene) => genes.high[gene] / genes.steps;
  const tally = (codes, groups) => { const sizes = Array(groups).fill(0); for (const code of codes) if (code < groups) sizes[code] += 1; return sizes; };

  const main = $("picture"), spare = main.cloneNode(true);
  const pictures = [new Picture(main, world)];
  page.onTheme(() => pictures.forEach((picture) => { picture.legend(); picture.draw(); }));
  const drawAll = () => pictures.forEach((picture) => picture.later());

  function search(picture) {
    const box = picture.part("gene");
    box.addEventListener("change", () => {
      const name = box.value.trim(), gene = geneIndex.get(name.toLowerCase()), said = $("said");
      said.textContent = "";
      if (!name) return;
      if (gene === undefined) {
        const near = genes.names.filter((other) => other.toLowerCase().startsWith(name.toLowerCase().slice(0, 3))).slice(0, 5);
        said.textContent = `${name} is not among the ${genes.names.length.toLocaleString("en")} genes in this page${near.length ? `; similar names: ${near.join(", ")}` : ""}.`;
        return;
      }
      picture.part("color").value = "";
      picture.colorBy(geneChoice(genes.names[gene]));
    });
    picture.part("color").addEventListener("change", () => { box.value = ""; });
    const file = (end) => `${picture.title()}`.replace(/[^\w-]+/g, "_") + end;
    picture.part("png").addEventListener("click", () => picture.savePng(file(".png")));
    picture.part("svg").addEventListener("click", () => page.save(file(".svg"), new Blob([picture.svg()], { type: "image/svg+xml" })));
  }
  search(pictures[0]);
  genes.names.forEach((name) => $("gene-names").append(new Option(name)));

  const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));
  $("zoom-in").addEventListener("click", () => pictures.forEach((p) => p.zoomBy(1.5)));
  $("zoom-out").addEventListener("click", () => pictures.forEach((p) => p.zoomBy(1 / 1.5)));
  $("reset").addEventListener("click", () => { select(new Set()); pictures.forEach((p) => { p.single.clear(); p.legend(); p.home(); }); });
  $("names").addEventListener("click", (event) => { world.named = !world.named; press(event.target, world.named); drawAll(); });
  $("select").addEventListener("click", (event) => { world.lassoing = !world.lassoing; press(event.target, world.lassoing); });
  $("two").addEventListener("click", (event) => {
    if (pictures.length === 2) pictures.pop().root.remove();
    else {
      spare.removeAttribute("id");
      const second = spare.cloneNode(true);
      second.querySelectorAll("[id]").forEach((part) => part.removeAttribute("id"));
      $("pictures").append(second);
      pictures.push(new Picture(second, world));
      search(pictures[1]);
      const other = world.choices.findIndex((choice) => choice.kind === "gene");
      if (other >= 0) { pictures[1].part("color").value = other; pictures[1].colorBy(world.choices[other]); }
    }
    $("pictures").classList.toggle("two", pictures.length === 2);
    press(event.target, pictures.length === 2);
  });
  $("select-named").addEventListener("click", () => {
    const { choice, single } = pictures[0];
    if (choice.kind !== "group" || !single.size) { $("said").textContent = "Highlight names in the legend first."; return; }
    const chosen = new Set();
    for (let i = 0; i < n; i++) if (single.has(choice.group.codes[i])) chosen.add(i);
    single.clear();
    pictures[0].legend();
    select(chosen);
  });

  function table(caption, heads, rows) {
    const element = make("table", "narrow"), head = make("tr");
    element.append(make("caption", "", caption));
    heads.forEach((text, i) => head.append(Object.assign(make("th", i ? "n" : "", text), { scope: "col" })));
    element.createTHead().append(head);
    const body = element.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((text, i) => line.append(i ? make("td", "n", text) : Object.assign(make("th", "", text), { scope: "row" })));
    }
    return element;
  }

  function select(chosen) {
    world.selection = chosen.size ? chosen : null;
    drawAll();
    const box = $("selection");
    box.hidden = !chosen.size;
    box.replaceChildren();
    if (!chosen.size) return;
    const percent = (part, whole) => `${(100 * part / (whole || 1)).toFixed(1)} %`;
    box.append(make("h3", "", `${chosen.size.toLocaleString("en")} of ${n.toLocaleString("en")} cells selected`));
    const buttons = make("p", "buttons"), list = make("button", "", "Download barcodes"), clear = make("button", "", "Clear");
    list.type = clear.type = "button";
    list.addEventListener("click", () => page.save("selected_cells.txt", new Blob([[...chosen].map((i) => cells[i]).join("\n") + "\n"], { type: "text/plain" })));
    clear.addEventListener("click", () => select(new Set()));
    buttons.append(list, clear);
    const panels = make("div", "panels");
    box.append(buttons, panels);
    for (const group of groups.filter((g) => g.main).slice(0, 2)) {
      const inside = new Map(), all = new Map();
      for (let i = 0; i < n; i++) {
        all.set(group.codes[i], (all.get(group.codes[i]) ?? 0) + 1);
        if (chosen.has(i)) inside.set(group.codes[i], (inside.get(group.codes[i]) ?? 0) + 1);
      }
      const rows = [...inside].sort((a, b) => b[1] - a[1]).slice(0, 15)
        .map(([code, count]) => [group.categories[code] ?? "no value", count.toLocaleString("en"), percent(count, chosen.size), percent(count, all.get(code))]);
      panels.append(table(group.name, ["Name", "Cells", "of the selection", "of the group"], rows));
    }
    if (stream && chosen.size > 1 && chosen.size < n - 1) panels.append(topGenes(chosen, percent));
  }

  // Welch's t of every gene in the page, the selection against all other cells.
  function topGenes(chosen, percent) {
    const a = chosen.size, b = n - a, scored = [];
    const codes = Uint8Array.from({ length: n }, (_, cell) => chosen.has(cell) ? 0 : 1);
    genes.names.forEach((name, gene) => {
      const counts = counted(gene, codes, [a, b]), [inside, outside] = counts.map((c) => expression.describe(c, unit(gene)));
      const t = (inside.mean - outside.mean) / Math.sqrt(inside.variance / a + outside.variance / b);
      if (t > 0) scored.push({ name, t, counts, gene, inside: inside.seen, outside: outside.seen });
    });
    const rows = scored.sort((x, y) => y.t - x.t).slice(0, 15)
      .map((g) => [g.name, g.t.toFixed(1), expression.change(...g.counts, unit(g.gene)).toFixed(2), percent(g.inside, a), percent(g.outside, b)]);
    const element = table("Top genes against all other cells shown (Welch’s t of rounded values)", ["Gene", "t", "log2 fold change", "selected", "others"], rows);
    element.classList.add("symbols-first");
    return element;
  }

  let ready = new Promise(() => {});
  if ("DecompressionStream" in window) {
    ready = unpack().then(() => {
      world.choices.forEach((choice) => { if (choice.kind === "gene") choice.level = choice.order = undefined; });
      document.querySelectorAll('[data-part="gene"]').forEach((box) => { box.disabled = false; });
      spare.querySelector('[data-part="gene"]').disabled = false;
      drawAll();
    });
  } else $("said").textContent = "This browser is too old to show genes.";
  const renew = () => { if (world.selection) select(world.selection); };
  return { data, world, pictures, geneIndex, counted, unit, tally, table, words, renew, ready };
})();
