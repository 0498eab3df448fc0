// Clusters at other numbers: the cuts of one tree, which are nested. Map, tables and dot plots follow the slider.
(() => {
  const { $, make } = page, { explore } = page, levels = explore?.data.levels;
  if (!levels) return;
  const { data, counted, unit, tally } = explore, leaf = explore.words(levels.codes);
  const group = data.groups.find((g) => g.main && g.name === "Cluster");
  if (!group) return;
  const omitted = new Set(levels.omitted), cells = levels.size.at(-1), bodies = new Map();
  let now = levels.run, genes = false;

  const percent = (share) => `${(100 * share).toFixed(share >= 0.0995 || !share ? 0 : 1)}\u00a0%`;
  const sum = (rows) => rows.reduce((total, row) => total.map((value, i) => value + row[i]));
  const inNode = (table, node) => sum(levels.leaves[node].map((below) => table.cells[below]));

  // Which clusters of the run a cut divides or joins.
  function changes(nodes, names) {
    const own = levels.cuts[levels.run - 1], within = (a, b) => levels.leaves[a].every((below) => levels.leaves[b].includes(below));
    const list = (parts) => parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts[0];
    const said = [];
    own.forEach((node, i) => {
      const parts = nodes.flatMap((other, k) => other !== node && within(other, node) ? [names[k]] : []);
      if (parts.length) said.push(`cluster ${levels.names[i]} of the run is divided into ${list(parts)}`);
    });
    nodes.forEach((node, k) => {
      const parts = own.flatMap((other, i) => other !== node && within(other, node) ? [levels.names[i]] : []);
      if (parts.length) said.push(`cluster ${names[k]} joins ${list(parts)} of the run`);
    });
    return said.join("; ");
  }

  // Puts another body into a table, or the one of the run again.
  function show(id, body) {
    const table = $(id);
    if (!table) return;
    if (!bodies.has(id)) bodies.set(id, [table.tHead, table.tBodies[0]]);
    const [head, own] = bodies.get(id);
    table.tHead.replaceWith(body?.head ?? head);
    table.tBodies[0].replaceWith(body?.rows ?? own);
  }

  function clusterBody(nodes, names, found) {
    const heads = [...$("cluster-table").tHead.rows[0].cells].map((cell) => cell.textContent), rows = make("tbody");
    const largest = Math.max(...nodes.map((node) => levels.size[node]));
    nodes.forEach((node, k) => {
      const line = rows.insertRow(), color = page.visible(levels.color[node]);
      const add = (label, name, ...inner) => { const cell = line.insertCell(); cell.className = name; cell.dataset.label = label; cell.append(...inner); };
      const colored = (style) => { const part = make("span"); Object.assign(part.style, { background: color, ...style }); part.dataset.color = levels.color[node]; return part; };
      const head = Object.assign(make("th"), { scope: "row" }), swatch = colored({}), meter = make("span", "meter");
      swatch.className = "swatch";
      head.append(swatch, names[k]);
      line.append(head);
      add("Cells", "n", levels.size[node].toLocaleString("en"));
      meter.append(colored({ width: `${(100 * levels.size[node] / largest).toFixed(1)}%` }));
      add("Share", "share", meter, make("span", "n", percent(levels.size[node] / cells)));
      if (heads.includes("Counts")) add("Counts", "n", levels.counts[node]);
      if (heads.includes("Genes")) add("Genes", "n", levels.genes[node]);
      for (const table of levels.tables) if (heads.includes(table.title)) {
        const counts = inNode(table, node), most = Math.max(...counts), known = counts.reduce((a, b) => a + b);
        if (known) add(table.title, "", `${table.categories[counts.indexOf(most)]} `, make("span", "quiet", percent(most / known)));
        else add(table.title, "", "–");
      }
      if (heads.includes("Top markers")) add("Top markers", "symbols", found?.[k].slice(0, 5).map((row) => row.name).join(" ") || "–");
    });
    return { rows };
  }

  function labelBody(nodes, names) {
    const table = levels.tables.find((t) => t.title === "Main label");
    if (!table || !$("label-table")) return null;
    const head = make("thead"), line = head.insertRow(), rows = make("tbody"), counts = nodes.map((node) => inNode(table, node));
    for (const [name, words] of [["", "Label"], ["n", "Cells"], ...names.map((name) => ["c", name])]) line.append(Object.assign(make("th", name, words), { scope: "col" }));
    const labels = table.categories.map((name, i) => {
      const row = counts.map((c) => c[i]), size = row.reduce((a, b) => a + b), most = Math.max(...row);
      return { name, row, size, place: row.indexOf(most), share: most / (size || 1) };
    }).filter((label) => label.size).sort((a, b) => a.place - b.place || b.share - a.share);
    for (const { name, row, size } of labels) {
      const tr = rows.insertRow();
      tr.append(Object.assign(make("th", "", name), { scope: "row" }), make("td", "n", size.toLocaleString("en")));
      for (const count of row) {
        const share = count / size, cell = make("td", share > 0.5 ? "c deep" : "c", share >= 0.005 ? String(Math.round(100 * share)) : "");
        cell.style.setProperty("--p", `${Math.round(100 * share)}%`);
        if (count) cell.title = `${count.toLocaleString("en")} cells`;
        tr.append(cell);
      }
    }
    return { head, rows };
  }

  // The genes of each cluster by the score of scrae.tl.markers, from the rounded values in the page.
  function findMarkers(groups) {
    const sizes = tally(group.codes, groups), n = sizes.reduce((a, b) => a + b), distance = sizes.map(() => Array(groups).fill(0));
    const all = data.genes.names.map((name, gene) => {
      const described = counted(gene, group.codes, sizes).map((counts) => expression.describe(counts, unit(gene)));
      described.forEach((a, i) => described.forEach((b, j) => { distance[i][j] += (a.mean - b.mean) ** 2; }));
      return { name, gene, described };
    });
    return sizes.map((size, k) => {
      const nearest = sizes.reduce((best, _, j) => j !== k && (best < 0 || distance[k][j] < distance[k][best]) ? j : best, -1), scored = [];
      for (const { name, gene, described } of all) {
        const own = described[k], others = described.filter((_, j) => j !== k), rest = n - size;
        const weigh = (what) => others.reduce((total, d) => total + d.n * what(d), 0) / (rest || 1), mean = weigh((d) => d.mean);
        if (omitted.has(gene) || own.mean <= mean || own.seen < 0.1 * size) continue;
        const apart = (other, spread) => (own.mean - other) / Math.sqrt((own.variance + spread) / 2 + 0.01), near = described[nearest];
        const score = apart(mean, weigh((d) => d.variance + d.mean ** 2) - mean ** 2) + apart(near.mean, near.variance);
        scored.push({ name, gene, score, inside: own.seen / size, outside: others.reduce((total, d) => total + d.seen, 0) / (rest || 1), described });
      }
      return scored.sort((a, b) => b.score - a.score).slice(0, 10);
    });
  }

  function markerTables(names, found) {
    const twoSides = (k) => Uint8Array.from(group.codes, (code) => (code === k ? 0 : code < names.length ? 1 : 2));
    $("level-markers").replaceChildren(...found.map((rows, k) => {
      const fold = make("details"), summary = make("summary"), codes = twoSides(k), sizes = tally(codes, 2);
      summary.append(make("span", "fold-name", `Cluster ${names[k]}`), " ", make("span", "symbols", rows.slice(0, 8).map((row) => row.name).join(" ") || "no gene with higher expression"));
      const numbers = rows.map((row) => {
        const [inside, outside] = counted(row.gene, codes, sizes);
        return [row.name, expression.auroc(inside, outside).toFixed(2), expression.change(inside, outside, unit(row.gene)).toFixed(2), percent(row.inside), percent(row.outside)];
      });
      const table = explore.table(`Top genes of cluster ${names[k]}`, ["Gene", "AUROC", "log2 fold change", "% in cluster", "% elsewhere"], numbers);
      table.classList.add("symbols-first");
      fold.append(summary, table);
      return fold;
    }));
    const chosen = new Map();
    for (let rank = 0; rank < 10; rank++) found.forEach((rows, k) => {
      if (rows[rank] && chosen.size < Math.max(40, names.length) && !chosen.has(rows[rank].name)) chosen.set(rows[rank].name, { k, ...rows[rank] });
    });
    const genesShown = [...chosen.values()].sort((a, b) => a.k - b.k);
    $("level-dots").innerHTML = expression.dotPlot(names.map((name) => `cluster ${name}`), genesShown.map((g) => g.name), genesShown.map((g) => g.described)); // its texts are escaped
  }

  const suggested = group.suggested;

  function setLevel(k) {
    now = k;
    const nodes = levels.cuts[k - 1], isRun = k === levels.run, names = isRun ? levels.names : nodes.map((_, i) => String(i));
    const place = new Map(nodes.flatMap((node, i) => levels.leaves[node].map((below) => [below, i])));
    group.codes.forEach((_, i) => { group.codes[i] = place.get(leaf[i]) ?? MISSING; });
    Object.assign(group, { suggested: isRun ? suggested : [], categories: names, colors: nodes.map((node) => levels.color[node]), sizes: nodes.map((node) => levels.size[node]) });
    for (const picture of explore.pictures) if (picture.choice.group === group) { picture.single.clear(); picture.legend(); picture.later(); }
    explore.renew();
    document.body.classList.toggle("other-level", !isRun);
    const found = !isRun && genes && $("level-markers") ? findMarkers(nodes.length) : null;
    show("cluster-table", isRun ? null : clusterBody(nodes, names, found));
    show("label-table", isRun ? null : labelBody(nodes, names));
    for (const id of ["level-markers", "level-markers-note", "level-dots"]) if ($(id)) $(id).hidden = !found;
    if (found) markerTables(names, found);
    explore.onLevel?.();
    $("level").value = k;
    $("level-n").textContent = k;
    $("level-run").disabled = isRun;
    $("level-note").replaceChildren();
    if (!isRun) {
      const said = changes(nodes, names);
      $("level-note").append(`${said[0].toUpperCase()}${said.slice(1)}. Scores, significance and stability describe the run. To keep these clusters: `, make("code", "", `scrae recluster OUT --cut ${k}`));
    }
  }

  $("level-bar").hidden = false;
  // While the slider moves, the page follows when it rests: the markers of 20,000 cells take half a second.
  let rest;
  $("level").addEventListener("input", (event) => {
    $("level-n").textContent = event.target.value;
    clearTimeout(rest);
    rest = setTimeout(setLevel, 150, Number(event.target.value));
  });
  $("level").addEventListener("change", (event) => { clearTimeout(rest); if (now !== Number(event.target.value)) setLevel(Number(event.target.value)); });
  $("level-run").addEventListener("click", () => setLevel(levels.run));
  addEventListener("beforeprint", () => { if (now !== levels.run) setLevel(levels.run); });
  explore.ready.then(() => { genes = true; if (now !== levels.run) setLevel(now); page.onTheme(() => { if (now !== levels.run) setLevel(now); }); });
})();
