// Learning curves, failed children and tables.

const CURVE_COLOURS = ["var(--accent)", "var(--lengthens)", "#3f9d6b", "#9a6bc2", "#b8912e", "#c2588a", "#5f7d8c"];

function niceTicks(low, high, count) {
  const step = roundStep(Math.max((high - low) / count, 1e-12)), ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(k * step);
  return ticks;
}

function chartCard(chart) {
  const width = 420, height = 230, inset = {left: 50, right: 20, top: 10, bottom: 40};
  const xs = chart.series.flatMap(each => each.xs), ys = chart.series.flatMap(each => each.ys);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const y0 = Math.min(0, ...ys), y1 = Math.max(...ys, y0 + 1e-9) + 0.04 * (Math.max(...ys) - y0);
  const X = x => inset.left + (width - inset.left - inset.right) * (x1 > x0 ? (x - x0) / (x1 - x0) : 0.5);
  const Y = y => height - inset.bottom - (height - inset.top - inset.bottom) * (y - y0) / (y1 - y0);
  const parts = [];
  for (const y of niceTicks(y0, y1, 4)) {
    parts.push(svg("line", {x1: inset.left, x2: width - inset.right, y1: Y(y), y2: Y(y), stroke: "var(--line)"}));
    parts.push(svgText(inset.left - 6, Y(y) + 4, short(y), "end"));
  }
  for (const x of niceTicks(x0, x1, 6)) parts.push(svgText(X(x), height - inset.bottom + 16, short(x), "middle"));
  parts.push(svgText((inset.left + width) / 2, height - 6, chart.x, "middle"));
  for (const x of chart.marks) parts.push(svg("line", {x1: X(x), x2: X(x), y1: inset.top, y2: height - inset.bottom, stroke: "var(--soft)", "stroke-dasharray": "4 4"}));
  chart.series.forEach((each, k) => {
    const stroke = CURVE_COLOURS[k % CURVE_COLOURS.length], points = each.xs.map((x, i) => `${X(x).toFixed(1)},${Y(each.ys[i]).toFixed(1)}`);
    if (chart.series.length === 1)
      parts.push(svg("polygon", {points: `${X(each.xs[0])},${Y(y0)} ${points.join(" ")} ${X(each.xs[each.xs.length - 1])},${Y(y0)}`, fill: stroke, opacity: 0.1}));
    parts.push(svg("polyline", {points: points.join(" "), fill: "none", stroke, "stroke-width": 2, "stroke-linejoin": "round", opacity: each.points || k === 0 ? 1 : 0.9}));
    if (each.points) each.xs.forEach((x, i) => parts.push(svg("circle", {cx: X(x), cy: Y(each.ys[i]), r: 3, fill: stroke})));
  });
  const said = chart.series.map(each => `${each.name}: from ${short(each.ys[0])} to ${short(each.ys[each.ys.length - 1])}`).join("; ");
  const drawing = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${chart.title}, ${chart.y}. ${said}.`}, ...parts);
  const keys = chart.series.length < 2 ? [] : chart.series.map((each, k) => {
    const mark = el("i");
    mark.style.background = CURVE_COLOURS[k % CURVE_COLOURS.length];
    return el("span", {}, mark, each.name);
  });
  return el("div", {class: "card"}, el("h3", {}, chart.title, " ", el("span", {class: "hint"}, chart.y)), drawing, el("div", {class: "keys"}, ...keys));
}

function setUpLists() {
  const {charts, failures, tables, benchmarks} = store.data;
  $("charts").replaceChildren(...charts.map(chartCard));
  const failed = failures.kinds.reduce((sum, kind) => sum + kind.count, 0);
  $("failure-note").textContent = `${counted(failed)} of ${plural(failures.children, "child").replace("childs", "children")} got no distance. Some of each kind can be read.`;
  const most = Math.max(1, ...failures.kinds.map(kind => kind.count));
  $("failure-kinds").replaceChildren(...failures.kinds.map(kind => {
    const fill = el("span", {class: "fill"});
    fill.style.width = `${100 * kind.count / most}%`;
    return el("button", {type: "button", "data-kind": kind.kind, onclick: () => setState({kind: kind.kind})},
      el("span", {}, titled(kind.kind.replaceAll("_", " "))), el("span", {}, fill), el("span", {class: "count"}, counted(kind.count)));
  }));
  const cards = [...benchmarks.map(table => ({...table, title: `Benchmark: ${table.title}`})), ...tables].map(table => {
    const numeric = table.columns.map((_, k) => k > 0 && table.rows.every(row => /^[-+–0-9.,%/ e]*$/.test(row[k])));
    const cell = (tag, words, k) => el(tag, {class: numeric[k] ? "number" : null, scope: tag === "th" ? "col" : null}, words);
    return el("div", {class: "card table-card"}, el("h2", {}, table.title), table.note ? el("p", {class: "hint"}, table.note) : null,
      el("div", {class: "sideways", tabindex: "0", role: "region", "aria-label": table.title}, el("table", {},
        el("thead", {}, el("tr", {}, ...table.columns.map((words, k) => cell("th", words, k)))),
        el("tbody", {}, ...table.rows.map(row => el("tr", {}, ...row.map((words, k) => cell("td", words, k))))))));
  });
  $("tables").replaceChildren(...cards);
}

function showFailures() {
  const {kinds} = store.data.failures, kind = kinds.find(each => each.kind === state.kind) || kinds[0];
  for (const button of $("failure-kinds").children) button.setAttribute("aria-pressed", String(button.dataset.kind === kind?.kind));
  if (!kind) { $("failure-samples").replaceChildren(); return; }
  const by = Object.entries(kind.operators).map(([name, count]) => `${counted(count)} by ${name}`).join(", ");
  $("failure-samples").replaceChildren(el("h2", {}, titled(kind.kind.replaceAll("_", " "))), el("p", {class: "hint"}, `${by}.`),
    ...kind.samples.map(sample => el("details", {},
      el("summary", {}, `Iteration ${counted(sample.iteration ?? 0)}, ${sample.operator}: ${sample.explanation || "no explanation"}`),
      el("pre", {tabindex: "0"}, sample.program || "(no program came out)", sample.cut ? `\n… ${counted(sample.cut)} more characters` : ""))));
}
