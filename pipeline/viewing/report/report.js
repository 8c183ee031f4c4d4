"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = data.columns;
  const count = columns.status.length;
  const by = (id) => document.getElementById(id);
  const words = { answered: "answered", not_answerable: "not answerable", needs_review: "to review", failed: "failed", skipped: "skipped", pending: "not done yet" };
  const kinds = { new: "new", answer: "other answer", status: "other status", gone: "gone" };
  const number = new Intl.NumberFormat("en");

  // All text from documents enters the page here, as text.
  function element(name, options = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key === "class") made.className = value;
      else made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  // Tabulator holds one small object per row; the values stay in the columns.
  class Row {
    constructor(i) { this.i = i; }
  }
  const fields = {
    status: (i) => data.statuses[columns.status[i]],
    document: (i) => data.documents[columns.document[i]],
    question: (i) => data.questions[columns.question[i]].id,
    page: (i) => columns.page[i],
    answer: (i) => columns.answer[i],
    confidence: (i) => columns.confidence[i],
    kept: (i) => columns.kept[i],
    ms: (i) => columns.ms[i],
    change: (i) => (columns.change ? data.kinds[columns.change[i]] : ""),
    reasons: (i) => data.reasons[columns.reasons[i]],
  };
  for (const [name, read] of Object.entries(fields)) {
    // Tabulator writes each value back as it shows it.
    Object.defineProperty(Row.prototype, name, { get() { return read(this.i); }, set() {} });
  }

  const folded = data.documents.map((name) => name.toLowerCase());
  const asked = data.questions.map((question) => `${question.id} ${question.text}`.toLowerCase());
  const collator = new Intl.Collator("en", { numeric: true });
  const ranks = (texts) => {
    const order = texts.map((_, at) => at).sort((a, b) => collator.compare(texts[a], texts[b]));
    const rank = new Array(texts.length);
    order.forEach((at, place) => { rank[at] = place; });
    return rank;
  };
  const documentRank = ranks(data.documents);

  const nullsLast = (a, b, direction, compare) => {
    if (a === null || b === null) return (a === b ? 0 : a === null ? 1 : -1) * (direction === "asc" ? 1 : -1);
    return compare(a, b);
  };
  const numeric = (a, b, _x, _y, _column, direction) => nullsLast(a, b, direction, (x, y) => x - y);
  const textual = (a, b, _x, _y, _column, direction) => nullsLast(a, b, direction, (x, y) => (x < y ? -1 : x > y ? 1 : 0));
  const ofDocument = (_a, _b, x, y) =>
    documentRank[columns.document[x.getData().i]] - documentRank[columns.document[y.getData().i]];
  const ofColumn = (name) => (_a, _b, x, y) => columns[name][x.getData().i] - columns[name][y.getData().i];

  const text = (cell) => {
    const value = cell.getValue();
    return element("bdi", {}, value === null || value === "" ? "\u2013" : String(value));
  };
  const pages = (row) => row.page === null ? "\u2013" : data.together[row.i] || String(row.page);  // 1+2: read together
  const measured = (write) => (cell) => {
    const value = cell.getValue();
    return element("span", {}, value === null ? "\u2013" : write(value));
  };
  const status = (cell) => {
    const value = cell.getValue();
    const said = words[value] || value;
    return element("span", { class: "status", title: said },
      element("span", { class: `glyph g-${value}`, "aria-hidden": "true" }), element("span", { class: "said" }, said));
  };
  const change = (cell) => element("span", { class: "change" }, kinds[cell.getValue()] || "");
  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  const state = { text: "", status: "", change: "", question: "", reason: "" };
  const columnOf = (name) => state[name] !== "" ? state[name] : null;
  function fits(row) {
    const i = row.i;
    if (columnOf("status") && row.status !== state.status) return false;
    if (columnOf("change") && row.change !== state.change) return false;
    if (columnOf("question") && row.question !== state.question) return false;
    if (columnOf("reason") && !row.reasons.includes(state.reason)) return false;
    if (!state.text) return true;
    return folded[columns.document[i]].includes(state.text) || asked[columns.question[i]].includes(state.text) ||
      (columns.answer[i] !== null && columns.answer[i].toLowerCase().includes(state.text));
  }

  const narrow = matchMedia("(max-width: 900px)").matches;
  let picked = null;
  const missing = new Set(data.not_on_page);
  const rows = Array.from({ length: count }, (_, i) => new Row(i));
  const shown = [
    { title: "Status", field: "status", width: narrow ? 64 : 142, responsive: 0, formatter: status, sorter: ofColumn("status") },
    { title: "Answer", field: "answer", widthGrow: 4, minWidth: 150, responsive: 0, formatter: text, sorter: textual },
    { title: "Question", field: "question", widthGrow: 2, minWidth: 104, responsive: 1, formatter: text, sorter: ofColumn("question") },
    { title: "Document", field: "document", widthGrow: 3, minWidth: 140, responsive: 3, formatter: text, sorter: ofDocument },
    { title: "Page", field: "page", width: 70, responsive: 4, formatter: (cell) => element("bdi", {}, pages(cell.getData())), sorter: numeric, hozAlign: "right" },
    { title: "Sure", field: "confidence", width: 78, responsive: 2, formatter: measured((value) => value.toFixed(3)), sorter: numeric, hozAlign: "right" },
    { title: "Kept", field: "kept", width: 84, responsive: 6, formatter: measured(percent), sorter: numeric, hozAlign: "right" },
    { title: "ms", field: "ms", width: 74, responsive: 7, formatter: measured((value) => number.format(value)), sorter: numeric, hozAlign: "right" },
    { title: "Order", field: "i", visible: false, sorter: "number" },
  ];
  if (columns.change) shown.splice(1, 0, { title: "Change", field: "change", width: 110, responsive: 1, formatter: change, sorter: ofColumn("change") });

  const table = new Tabulator("#table", {
    data: rows,
    index: "i",
    height: "100%",
    rowHeight: 36,
    layout: "fitColumns",
    responsiveLayout: "hide",
    keybindings: false,
    placeholder: "No answer fits. Clear the search, or choose other filters.",
    columnDefaults: { resizable: false, headerHozAlign: "left" },
    columns: shown,
    rowFormatter: (row) => {
      const made = row.getElement();
      made.id = `row-${row.getData().i}`;
      made.classList.toggle("picked", row.getData().i === picked);
      made.setAttribute("aria-selected", String(row.getData().i === picked));
    },
  });

  const shell = (word) => (/^[\w./:=@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  function command(row, question) {
    const named = [data.folder, row.document, question];
    const plain = named.every((word) => !word.startsWith("-"));
    const page = `--page ${row.page}`;
    return plain ? `docpipe show ${named.map(shell).join(" ")} ${page}` : `docpipe show ${page} -- ${named.map(shell).join(" ")}`;
  }

  function picture(row) {
    const crop = data.crops[row.i];
    if (crop) {
      const places = crop.boxes === 0 ? "the whole page, as no place was found" : crop.boxes === 1 ? "the place framed" : "the places framed";
      return element("figure", { class: "crop" }, element("img", { src: crop.src, alt: `Page ${pages(row)} of ${row.document}: ${places}` }));
    }
    if (row.status === "failed" || row.page === null || row.change === "gone") return null;
    return element("p", { class: "crop empty" }, "No picture of this row in this file.");
  }

  function detail(row) {
    const question = data.questions[columns.question[row.i]];
    const facts = element("dl", {});
    const fact = (name, value) => { if (value !== null && value !== "") facts.append(element("dt", {}, name), element("dd", {}, element("bdi", {}, value))); };
    const parts = [picture(row), element("p", { class: "asked" }, element("bdi", {}, question.text || question.id))];
    if (row.answer) parts.push(element("p", { class: "said-answer", dir: "auto" }, element("mark", {}, row.answer)));
    else parts.push(element("p", { class: "said-answer none" }, row.status === "failed" ? "failed" : "no answer"));
    const note = data.notes[row.i];
    const reasons = [...row.reasons, ...(note === undefined ? [] : [data.errors[note]]), ...(missing.has(row.i) ? ["the text of the page does not have the answer"] : [])];
    if (reasons.length) parts.push(element("ul", { class: "why" }, ...reasons.map((reason) => element("li", {}, element("bdi", {}, reason)))));
    const before = data.before && data.before[row.i];
    if (row.change === "gone") fact("Change", "only in the older run");
    if (before) fact("Was", `${before.answer === null ? "no answer" : before.answer} (${words[before.status] || before.status})`);
    fact("Printed there", data.printed[row.i] === undefined ? "" : data.printed[row.i]);
    fact("Another look", data.otherwise[row.i] === undefined ? "" : data.otherwise[row.i]);
    fact("Reviewed", data.reviewed[row.i] === undefined ? "" : "by a person; " + data.reviewed[row.i]);
    fact("Value", data.values[row.i] === undefined ? "" : data.values[row.i]);
    fact("Status", words[row.status] || row.status);
    fact("Sure", row.confidence === null ? "" : row.confidence.toFixed(3));
    fact("Document", row.document);
    fact("Page", row.page === null ? "" : pages(row));
    fact("Question", question.id);
    fact("Kept", row.kept === null ? "" : percent(row.kept));
    parts.push(facts);
    if (row.status !== "failed" && row.page !== null && row.change !== "gone") {
      parts.push(element("p", { class: "command" }, "See it large: ", element("code", { tabindex: "0" }, command(row, question.id))));
    }
    return parts.filter((part) => part !== null);
  }

  // Tabulator finds a row by its place in steps that grow with the square of the rows, so the places are kept here.
  let order = null;
  const places = new Int32Array(count);  // of each row in the table, from 1; 0 where it is filtered out
  function ordered() {
    if (order === null) {
      order = table.getRows("active");
      places.fill(0);
      order.forEach((row, at) => { places[row.getData().i] = at + 1; });
    }
    return order;
  }

  const holder = () => document.querySelector("#table .tabulator-tableholder");
  function pick(row, scroll) {
    const old = picked;
    picked = row ? row.getData().i : null;
    for (const i of [old, picked]) {
      const made = i === null ? null : by(`row-${i}`);
      if (made) { made.classList.toggle("picked", i === picked); made.setAttribute("aria-selected", String(i === picked)); }
    }
    if (!row) { by("detail").replaceChildren(); by("place").textContent = ""; holder().removeAttribute("aria-activedescendant"); return; }
    by("detail").replaceChildren(...detail(row.getData()));
    by("place").textContent = `${number.format(places[picked])} of ${number.format(order.length)}`;
    holder().setAttribute("aria-activedescendant", `row-${picked}`);
    if (scroll) row.scrollTo("nearest", false).catch(() => {});  // it rejects for a row that a filter has just hidden
  }

  function move(steps) {
    const most = ordered().length;
    const place = picked !== null && places[picked] ? places[picked] + steps : 1;
    if (most) pick(order[Math.min(Math.max(place, 1), most) - 1], true);
  }

  function repick() {
    const rows = ordered();
    const place = picked === null ? 0 : places[picked];
    pick(rows.length ? rows[Math.max(place, 1) - 1] : null, true);
  }

  function apply() {
    if (Object.values(state).some((value) => value !== "")) table.setFilter(fits);
    else table.clearFilter();
    for (const chip of document.querySelectorAll("[data-status], [data-change]"))
      chip.setAttribute("aria-pressed", String(chip.dataset.status ? chip.dataset.status === state.status : chip.dataset.change === state.change));
    const left = ordered().length;
    by("count").textContent = left === count ? `${number.format(count)} rows` : `${number.format(left)} of ${number.format(count)} rows`;
    repick();
  }

  function fill(select, values) { for (const [value, said] of values) select.append(element("option", { value }, said)); }

  function keyboard() {
    const inside = holder();
    inside.setAttribute("tabindex", "0");
    inside.setAttribute("aria-label", "Answers: arrow keys choose one");
    inside.addEventListener("keydown", (event) => {
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -count, End: count }[event.key];
      if (steps === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      move(steps);
    });
    for (const header of document.querySelectorAll("#table .tabulator-col.tabulator-sortable")) {
      header.setAttribute("tabindex", "0");
      header.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        header.click();
      });
    }
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.closest("input, select, textarea")) return;
      event.preventDefault();
      by("search").focus();
    });
  }

  let typing = 0;
  by("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => { state.text = event.target.value.trim().toLowerCase(); apply(); }, 120);
  });
  by("by-question").addEventListener("change", (event) => { state.question = event.target.value; apply(); });
  by("by-reason").addEventListener("change", (event) => { state.reason = event.target.value; apply(); });
  by("again").addEventListener("click", () => {
    for (const name of Object.keys(state)) state[name] = "";
    by("search").value = by("by-question").value = by("by-reason").value = "";
    table.setSort("i", "asc");
    picked = null;
    apply();
  });
  by("next").addEventListener("click", () => move(1));
  by("previous").addEventListener("click", () => move(-1));
  for (const chip of document.querySelectorAll("[data-status], [data-change]")) {
    chip.addEventListener("click", () => {
      const name = chip.dataset.status ? "status" : "change";
      state[name] = state[name] === chip.dataset[name] ? "" : chip.dataset[name];
      apply();
    });
  }
  for (const link of document.querySelectorAll("[data-question]")) {
    link.addEventListener("click", () => {
      state.question = by("by-question").value = link.dataset.question;
      apply();
      by("answers").scrollIntoView();
    });
  }

  const price = by("price");
  function priced() {
    const per = price.value === "" ? NaN : Number(price.value);
    for (const cell of document.querySelectorAll("[data-hours]")) {
      const cost = per * Number(cell.dataset.hours);
      cell.textContent = Number.isFinite(cost) ? cost.toLocaleString("en", { maximumSignificantDigits: 3 }) : "\u2013";
    }
  }
  if (price) { price.addEventListener("input", priced); priced(); }

  fill(by("by-question"), data.questions.map((question) => [question.id, question.id]));
  fill(by("by-reason"), [...new Set(data.reasons.flat())].sort().map((reason) => [reason, reason]));
  table.on("rowClick", (_event, row) => { ordered(); pick(row, false); });
  for (const change of ["dataFiltered", "dataSorted"]) table.on(change, () => { order = null; });
  table.on("renderComplete", () => { if (order === null && picked !== null) { ordered(); pick(order[places[picked] - 1] || null, false); } });
  table.on("tableBuilt", () => {
    keyboard();
    apply();
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  });
})();
