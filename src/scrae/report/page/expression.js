// Expression of genes in groups of cells, from the packed steps: numbers, dot plots and violins.
const expression = (() => {
  const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const cut = (name, most = 24) => name.length > most ? `${name.slice(0, most - 1)}…` : name;

  // Numbers of some steps: counts[s] cells have the value s * unit.
  function describe(counts, unit) {
    let n = 0, sum = 0, squares = 0;
    counts.forEach((count, s) => {
      const x = s * unit;
      n += count; sum += count * x; squares += count * x * x;
    });
    const mean = sum / (n || 1);
    return { n, mean, variance: n > 1 ? Math.max(squares - n * mean * mean, 0) / (n - 1) : 0, seen: n - counts[0] };
  }

  // Probability that a cell of the first has the larger value than one of the second; ties count half.
  function auroc(inside, outside) {
    let below = 0, wins = 0, a = 0;
    inside.forEach((count, s) => { wins += count * (below + outside[s] / 2); below += outside[s]; a += count; });
    return wins / ((a * below) || 1);
  }

  // log2 fold change of the mean normalized counts, with a pseudocount of 0.01.
  function change(first, second, unit) {
    const [inside, outside] = [first, second].map((counts) => 0.01 + counts.reduce((sum, count, s) => sum + count * Math.expm1(s * unit), 0) / (counts.reduce((a, b) => a + b) || 1));
    return Math.log2(inside / outside);
  }

  // An SVG with its own size; text in the colors of the page.
  function sheet(width, height, parts, title) {
    const { css } = page;
    return `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escape(title)}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" `
      + `font-family="${escape(css("--sans"))}" font-size="11.5" fill="${css("--ink")}">${parts.join("")}</svg>`;
  }
  const text = (x, y, words, more = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escape(words)}</text>`;
  const wide = (names) => 16 + 6.6 * Math.max(0, ...names.map((name) => cut(name).length));

  // described[gene][group], as describe returns it; the area of a dot is the share, its shade the mean within a gene.
  function dotPlot(groups, genes, described) {
    const shades = page.ramp(11), left = wide(groups), top = wide(genes), step = 20;
    const width = left + step * genes.length + 16, height = top + step * groups.length + 12, parts = [];
    groups.forEach((name, row) => {
      const y = top + step * (row + 0.5);
      parts.push(`<line x1="${left}" x2="${width - 8}" y1="${y}" y2="${y}" stroke="${page.css("--grid")}"/>`, text(left - 8, y + 4, cut(name), 'text-anchor="end"'));
    });
    genes.forEach((gene, column) => {
      const x = left + step * (column + 0.5), means = described[column].map((d) => d.mean);
      const low = Math.min(...means), span = Math.max(...means) - low || 1;
      parts.push(text(0, 0, cut(gene), `font-style="italic" transform="translate(${x + 4} ${top - 6}) rotate(-90)"`));
      described[column].forEach((d, row) => {
        const share = d.seen / (d.n || 1);
        if (share >= 0.01) parts.push(`<circle cx="${x}" cy="${top + step * (row + 0.5)}" r="${(8.3 * Math.sqrt(share)).toFixed(2)}" fill="${shades[Math.round(10 * (d.mean - low) / span)]}"/>`);
      });
    });
    return sheet(width, height, parts, `Dot plot of ${genes.join(", ")}`);
  }

  // Gaussian kernel density of steps at points of [lowest, highest value], bandwidth as in scipy.stats.gaussian_kde.
  function density(counts, unit, points = 60) {
    const { n, variance } = describe(counts, unit), width = Math.sqrt(variance) * n ** -0.2;
    const there = [...counts.keys()].filter((s) => counts[s]), low = there[0] * unit, high = there.at(-1) * unit;
    return Array.from({ length: points }, (_, i) => {
      const y = low + (high - low) * i / (points - 1);
      let sum = 0;
      for (const s of there) sum += counts[s] * Math.exp(-0.5 * ((y - s * unit) / width) ** 2);
      return [y, sum / (n * width * Math.sqrt(2 * Math.PI))];
    });
  }

  // counted[gene][group] are the steps, units[gene] the value of a step.
  function violins(groups, colors, genes, counted, units) {
    const left = 52, panel = 104, step = Math.max(26, Math.min(60, 640 / groups.length)), bottom = wide(groups) + 4;
    const width = left + step * groups.length + 10, height = panel * genes.length + bottom, parts = [];
    genes.forEach((gene, row) => {
      const top = panel * row + 20, base = panel * (row + 1) - 8, unit = units[row];
      const highest = unit * Math.max(1, ...counted[row].map((c) => c.findLastIndex((count) => count > 0)));
      const y = (value) => base - (base - top) * value / highest;
      parts.push(text(left, top - 7, gene, 'font-style="italic" font-weight="600"'), `<line x1="${left}" x2="${width - 8}" y1="${base}" y2="${base}" stroke="${page.css("--grid")}"/>`);
      for (const value of [0, highest]) parts.push(text(left - 8, y(value) + 4, page.write(value), 'text-anchor="end"'));
      counted[row].forEach((counts, group) => {
        const x = left + step * (group + 0.5), fill = page.visible(colors[group]), filled = counts.filter((count) => count).length;
        if (filled === 1) parts.push(`<line x1="${x - step / 3}" x2="${x + step / 3}" y1="${y(counts.findIndex((c) => c) * unit)}" y2="${y(counts.findIndex((c) => c) * unit)}" stroke="${fill}" stroke-width="2"/>`);
        if (filled < 2) return;
        const shape = density(counts, unit), most = Math.max(...shape.map(([, d]) => d));
        const side = (sign) => shape.map(([value, d]) => `${(x + sign * 0.45 * step * d / most).toFixed(1)} ${y(value).toFixed(1)}`);
        parts.push(`<path fill="${fill}" d="M${[...side(-1), ...side(1).reverse()].join("L")}Z"/>`);
      });
    });
    const turned = groups.some((name) => name.length > 3);
    groups.forEach((name, group) => parts.push(turned ? text(0, 0, cut(name), `text-anchor="end" transform="translate(${left + step * (group + 0.5) + 4} ${height - bottom + 8}) rotate(-90)"`)
      : text(left + step * (group + 0.5), height - bottom + 14, name, 'text-anchor="middle"')));
    return sheet(width, height, parts, `Violin plots of ${genes.join(", ")}`);
  }

  return { describe, auroc, change, dotPlot, density, violins };
})();
