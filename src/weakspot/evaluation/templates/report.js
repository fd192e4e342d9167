"use strict";
// The gallery's filters, its order and the opened picture live in the address (#truth=bad&sort=rising&p=12), so that a view can be sent and Back works.
(() => {
  const form = document.querySelector(".tools"), list = document.querySelector(".cards"), viewer = document.querySelector("#viewer");
  const cards = [...list.children], byNumber = new Map(cards.map(card => [card.querySelector("a").id.slice(8), card]));
  const defaults = { truth: "", decision: "", q: "", sort: "falling" };
  const orders = {
    falling: (a, b) => b.dataset.score - a.dataset.score,
    rising: (a, b) => a.dataset.score - b.dataset.score,
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
  };
  let shown = cards, current = null;

  const state = () => new URLSearchParams(location.hash.slice(1));
  const address = values => {
    const parts = new URLSearchParams();
    for (const [key, value] of Object.entries(values)) if (value && value !== defaults[key]) parts.set(key, value);
    return "#" + (parts.toString() || "gallery");
  };
  const filters = () => Object.fromEntries(Object.keys(defaults).map(key => [key, form.elements[key].value]));
  const fits = (card, f) => {
    const d = card.dataset;
    if (f.truth && d.truth !== f.truth) return false;
    if (f.decision === "wrong" ? d.wrong !== "1" : f.decision && d.decision !== f.decision) return false;
    return f.q.toLowerCase().split(/\s+/).every(word => d.text.includes(word));
  };

  function filter() {
    const f = filters();
    shown = cards.filter(card => fits(card, f)).sort(orders[f.sort] || orders.falling);
    list.replaceChildren(...shown);
    document.querySelector("#shown-count").textContent = `${shown.length} of ${cards.length} pictures`;
    document.querySelector(".none-left").hidden = shown.length > 0;
  }

  function open(card) {
    const link = card.querySelector("a"), big = document.querySelector(`.worst [data-number="${CSS.escape(link.id.slice(8))}"] .pic:not(.bare-only)`);
    const picture = (big || link.querySelector(".pic")).cloneNode(true);
    viewer.querySelector("h2").textContent = card.dataset.name;
    viewer.querySelector(".stage").replaceChildren(picture);
    const side = viewer.querySelector(".side");
    side.replaceChildren(...[".said", ".scale", ".tag"].map(part => link.querySelector(part)?.cloneNode(true) ?? ""), card.querySelector(".facts").cloneNode(true));
    side.scrollTop = 0;
    current = card;
    if (!viewer.open) viewer.showModal();
    viewer.focus();
  }

  function follow() {
    const wanted = state();
    if (location.hash && !location.hash.includes("=")) { if (viewer.open) viewer.close(); return; }
    for (const key of Object.keys(defaults)) {
      const field = form.elements[key], value = wanted.get(key) ?? defaults[key];
      if (!(field instanceof RadioNodeList)) field.value = value;
      else if ([...field].some(one => one.value === value)) for (const one of field) one.checked = one.value === value;
    }
    if (!orders[form.elements.sort.value]) form.elements.sort.value = defaults.sort;
    filter();
    const card = byNumber.get(wanted.get("p"));
    if (card) open(card); else if (viewer.open) viewer.close();
  }

  function step(by) {
    const now = shown.findIndex(card => card === byNumber.get(state().get("p"))), next = shown[now + by];
    if (next) { history.replaceState(null, "", address({ ...filters(), p: next.querySelector("a").id.slice(8) })); open(next); }
  }

  const bare = on => document.documentElement.classList.toggle("bare", on);
  const types = target => target.closest("input, select, textarea, summary, button") !== null;

  form.hidden = false;
  document.querySelector(".hint").hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", event => {
    if (event.target.name === "opacity") document.documentElement.style.setProperty("--opacity", event.target.value / 100);
    else { history.replaceState(null, "", address(filters())); filter(); }
  });
  document.querySelector(".clear").addEventListener("click", () => { history.pushState(null, "", "#truth="); follow(); });
  list.addEventListener("click", event => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    location.hash = address({ ...filters(), p: link.id.slice(8) });
  });
  addEventListener("hashchange", follow);
  viewer.addEventListener("close", () => {
    bare(false);
    if (state().has("p")) history.replaceState(null, "", address(filters()));
    if (current?.isConnected) current.querySelector("a").focus();
  });
  viewer.addEventListener("click", event => {
    if (event.target === viewer || event.target.closest(".close")) viewer.close();
    if (event.target.closest(".previous")) step(-1);
    if (event.target.closest(".next")) step(1);
  });
  for (const [start, end] of [["pointerdown", "pointerup"], ["pointerdown", "pointercancel"], ["pointerdown", "pointerleave"]]) {
    const hold = viewer.querySelector(".hold");
    hold.addEventListener(start, () => bare(true));
    hold.addEventListener(end, () => bare(false));
  }
  addEventListener("keydown", event => {
    if (event.key === " " && (!types(event.target) || event.target.closest(".hold"))) { event.preventDefault(); bare(true); }
    if (viewer.open && event.key === "ArrowLeft") step(-1);
    if (viewer.open && event.key === "ArrowRight") step(1);
  });
  addEventListener("keyup", event => { if (event.key === " ") bare(false); });
  addEventListener("beforeprint", () => { for (const closed of document.querySelectorAll("details")) closed.open = true; });
  addEventListener("blur", () => bare(false));
  filter();
  follow();
})();
