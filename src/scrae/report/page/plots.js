// Violins and dots of the genes that the reader types.
(() => {
  const { $ } = page, { explore } = page;
  if (!explore || !$("plot")) return;
  const { data, geneIndex, counted, unit, tally } = explore, menu = $("plot-group");
  let kind = "violins", drawn = "";
  data.groups.forEach((group, i) => menu.add(new Option(group.name, i)));

  function draw() {
    const group = data.groups[menu.value], names = $("plot-genes").value.split(/[\s,;]+/).filter(Boolean);
    const known = [...new Set(names.map((name) => geneIndex.get(name.toLowerCase())).filter((gene) => gene !== undefined))].slice(0, 40);
    const unknown = names.filter((name) => !geneIndex.has(name.toLowerCase()));
    $("plot-said").textContent = unknown.length ? `Not among the genes in this page: ${unknown.join(", ")}.` : known.length ? "" : "Type the names of genes.";
    drawn = "";
    if (group && known.length) {
      const sizes = tally(group.codes, group.categories.length), genes = known.map((gene) => data.genes.names[gene]);
      const counts = known.map((gene) => counted(gene, group.codes, sizes)), units = known.map(unit);
      drawn = kind === "violins" ? expression.violins(group.categories, group.colors, genes, counts, units)
        : expression.dotPlot(group.categories, genes, counts.map((rows, i) => rows.map((row) => expression.describe(row, units[i]))));
    }
    $("plot").innerHTML = drawn; // its texts are escaped
  }

  for (const name of ["violins", "dots"]) $(`plot-${name}`).addEventListener("click", () => {
    kind = name;
    for (const other of ["violins", "dots"]) $(`plot-${other}`).setAttribute("aria-pressed", String(other === kind));
    draw();
  });
  $("plot-genes").addEventListener("change", draw);
  menu.addEventListener("change", draw);
  $("plot-save").addEventListener("click", () => { if (drawn) page.save(`${kind}.svg`, new Blob([drawn], { type: "image/svg+xml" })); });
  explore.ready.then(() => {
    const box = $("plot-genes");
    box.disabled = false;
    box.value = (data.markers.length ? data.markers.map(([gene]) => gene) : data.genes.names).slice(0, 4).join(" ");
    draw();
    page.onTheme(draw);
    explore.onLevel = draw;
  });
})();
