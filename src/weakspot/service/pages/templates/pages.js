// What a page does in the browser. Every change is asked for over the HTTP interface, with the words that it answers.
"use strict";
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const say = (text) => { one("#said").textContent = text; };

async function ask(method, path, body, kind = "application/json") {
  const headers = { "X-CSRF-Token": one("meta[name=csrf]").content, Accept: "application/json" };
  if (kind) headers["Content-Type"] = kind;
  let answer;
  try { answer = await fetch(path, { method, headers, body }); } catch { return { ok: false, status: 0, said: { detail: "the service does not answer; look whether it runs, and try again" } }; }
  const said = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  return { ok: answer.ok, status: answer.status, said };
}

one("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on a phone the row of pages is wider

// Pictures that were dropped: one after the other, then the page that shows them.
const drop = one("[data-drop]");
if (drop) {
  const send = async (files) => {
    const ids = [], progress = drop.querySelector("progress");
    progress.hidden = false;
    let refused = "";
    for (const [i, file] of [...files].entries()) {
      const form = new FormData();
      form.append("picture", file);
      say(`${i} of ${files.length} answered`);
      progress.value = i / files.length;
      let answer = await ask("POST", "/v1/inspections", form, null);
      while (answer.said.type === "urn:weakspot:full") {
        await new Promise((done) => setTimeout(done, 1000));
        answer = await ask("POST", "/v1/inspections", form, null);
      }
      const result = answer.said.result || answer.said;
      if (result.id) ids.push(result.id); else refused = `${file.name}: ${answer.said.detail}`;
    }
    progress.hidden = true;
    say(refused);
    if (ids.length && !refused) location.assign(`/inspect?${ids.slice(-50).map((id) => `id=${id}`).join("&")}`);
  };
  drop.querySelector("input").addEventListener("change", (event) => send(event.target.files));
  for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) send(event.dataTransfer.files);
  });
}

// The picture: heat at the opacity last used, bare while Space is held, zoom and pan.
const stage = one("[data-stage]");
const view = { scale: 1, x: 0, y: 0 };
const bare = (on) => document.body.classList.toggle("bare", on);
function place() {
  stage.querySelector(".pic").style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  stage.classList.toggle("close", view.scale > 3);
}
function zoom(by, x, y) {
  const scale = Math.min(40, Math.max(1, view.scale * by)), ratio = scale / view.scale;
  const box = stage.querySelector(".pic").getBoundingClientRect();
  const [left, top] = [(x ?? box.left + box.width / 2) - box.left, (y ?? box.top + box.height / 2) - box.top];
  Object.assign(view, scale === 1 ? { scale, x: 0, y: 0 } : { scale, x: view.x + left * (1 - ratio), y: view.y + top * (1 - ratio) });
  place();
}
function fit() { Object.assign(view, { scale: 1, x: 0, y: 0 }); place(); }
if (stage) {
  const opacity = one("[data-opacity]"), kept = localStorage.getItem("heat");
  const shade = () => { document.documentElement.style.setProperty("--opacity", opacity.value); localStorage.setItem("heat", opacity.value); };
  if (kept) opacity.value = kept;
  shade();
  opacity.addEventListener("input", shade);
  const hold = one("[data-bare]");
  hold.addEventListener("pointerdown", () => bare(true));
  for (const name of ["pointerup", "pointerleave", "pointercancel"]) hold.addEventListener(name, () => bare(false));
  all("[data-zoom]").forEach((button) => button.addEventListener("click", () => (Number(button.dataset.zoom) ? zoom(Number(button.dataset.zoom)) : fit())));
  stage.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX, event.clientY); }, { passive: false });
  const fingers = new Map();
  const spread = () => { const [a, b] = [...fingers.values()]; return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, d: Math.hypot(a.x - b.x, a.y - b.y) || 1 }; };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); fingers.set(event.pointerId, { x: event.clientX, y: event.clientY }); });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const apart = fingers.size === 2 && spread();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (apart) { const now = spread(); zoom(now.d / apart.d, now.x, now.y); }
    else if (view.scale > 1) { view.x += event.clientX - before.x; view.y += event.clientY - before.y; place(); }
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
}

// Keys. None is taken from somebody who writes.
const writes = (target) => target.closest("input:not([type=range]), select, textarea, [contenteditable]");
const KEYS = {};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || writes(event.target)) return;
  const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  if (stage && event.key === " " && !event.target.closest("a, summary, button:not([data-bare])")) { event.preventDefault(); bare(true); }
  else if (stage && moves && event.target === stage) { event.preventDefault(); view.x += moves[0]; view.y += moves[1]; place(); }
  else if (stage && (event.key === "+" || event.key === "-")) zoom(event.key === "+" ? 1.5 : 1 / 1.5);
  else if (stage && event.key === "0") fit();
  else if (event.key === "?" && one("#keys")) one("#keys").showModal();
  else if (KEYS[event.key.toLowerCase()] && !event.repeat && !one("dialog[open]")) KEYS[event.key.toLowerCase()]();
});
document.addEventListener("keyup", (event) => { if (event.key === " ") bare(false); });
addEventListener("blur", () => bare(false));

// A verdict on the one inspection of this page.
const judge = one("[data-judge]");
if (judge) {
  const give = async (verdict) => {
    const answer = await ask("POST", `/v1/inspections/${judge.dataset.judge}/verdicts`, JSON.stringify({ verdict }));
    if (answer.ok) location.reload(); else say(answer.said.detail);
  };
  judge.querySelectorAll("[data-verdict]").forEach((button) => button.addEventListener("click", () => give(button.dataset.verdict)));
  Object.assign(KEYS, { g: () => give("good"), b: () => give("bad"), n: () => give("unsure") });
}

// The stream: what is newer is shown at once where nobody has begun to look, and offered where somebody has.
const rows = one("[data-live]");
if (rows) {
  const newer = one("[data-newer]");
  let current = rows, fresh = null;
  const show = () => { if (!fresh) return; current.replaceWith(fresh); current = fresh; fresh = null; newer.hidden = true; };
  newer.addEventListener("click", () => { show(); scrollTo(0, 0); });
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!answer || !answer.ok || answer.redirected) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-rows]");
    if (!found || found.dataset.newest === current.dataset.newest) return;
    fresh = document.adoptNode(found);
    if (scrollY === 0 && !current.contains(document.activeElement) && !current.matches(":hover")) show(); else newer.hidden = false;
  }, 3000);
}

// Review: one key, next picture. The next three are loaded ahead; what was said is kept before the page forgets it.
const review = one("[data-review]");
if (review) {
  const queue = all(".queue li"), said = [], ahead = new Map();
  const addresses = (id) => [`/v1/inspections/${id}/picture.png`, `/v1/inspections/${id}/heat-map.png?colours=layer`];
  let at = 0, pending = Promise.resolve();
  const load = (item) => {
    if (!item || ahead.has(item.dataset.id)) return;
    ahead.set(item.dataset.id, addresses(item.dataset.id).map((address) => Object.assign(new Image(), { src: address })));
  };
  const show = () => {
    const item = queue[at], { id, name, ratio } = item?.dataset ?? {};
    one("#progress").textContent = item ? `${at + 1} of ${queue.length}: ${name}` : `${queue.length} of ${queue.length}`;
    queue.forEach((each, i) => { each.toggleAttribute("aria-current", i === at); each.classList.toggle("done", said.some((one) => one.id === each.dataset.id && one.verdict)); });
    review.hidden = !item;
    one("#done").hidden = Boolean(item);
    if (!item) {
      const count = (word) => said.filter((each) => each.verdict === word).length;
      one("#summary").textContent = `You judged ${count("good")} good, ${count("bad")} bad and ${count("unsure")} not sure, and skipped ${count("")}.`;
      one("#done").focus();
      return;
    }
    const [picture, heat] = addresses(id);
    stage.style.setProperty("--ratio", ratio);
    Object.assign(stage.querySelector(".photo"), { src: picture, alt: `Picture of ${name}` });
    stage.querySelector(".heat").src = heat;
    one("#whole").href = `/inspections/${id}`;
    item.scrollIntoView({ block: "nearest", inline: "center" });
    fit();
    queue.slice(at, at + 4).forEach(load);
  };
  const send = (id, verdict) => {
    pending = pending.then(() => ask("POST", `/v1/inspections/${id}/verdicts`, JSON.stringify({ verdict }))).then((answer) => {
      if (answer.ok) return;
      at = Math.max(0, queue.findIndex((each) => each.dataset.id === id));
      said.splice(said.findLastIndex((each) => each.id === id), 1);
      show();
      say(`not kept: ${answer.said.detail}`);
    });
  };
  const give = (verdict) => {
    if (!queue[at]) return;
    const id = queue[at].dataset.id;
    said.push({ id, verdict, at });
    at += 1;
    say("");
    show();
    if (verdict) send(id, verdict);
  };
  const undo = () => {
    const last = said.pop();
    if (!last) return say("nothing to undo");
    at = last.at;
    show();
    if (last.verdict) send(last.id, "withdrawn");
    say("taken back");
  };
  all("[data-verdict]").forEach((button) => button.addEventListener("click", () => give(button.dataset.verdict)));
  one("[data-skip]").addEventListener("click", () => give(""));
  all("[data-undo]").forEach((button) => button.addEventListener("click", undo));
  one("[data-keys]").addEventListener("click", () => one("#keys").showModal());
  Object.assign(KEYS, { g: () => give("good"), b: () => give("bad"), n: () => give("unsure"), s: () => give(""), u: undo });
  show();
}

// Forms that change something: their fields as JSON, then the page anew, or what was wrong.
async function changed(form, asked) {
  const button = form.querySelector("button");
  button.disabled = true;
  const answer = await asked;
  button.disabled = false;
  if (!answer.ok) return say(answer.said.detail);
  if (form.dataset.then) location.assign(form.dataset.then + answer.said.id);
  else if (form.dataset.thenGo) location.assign(form.dataset.thenGo);
  else location.reload();
}
all("form[data-post]").forEach((form) => form.addEventListener("submit", (event) => {
  event.preventDefault();
  const said = Object.fromEntries([...form.querySelectorAll("input, select")].map((input) => [input.name, "number" in input.dataset ? input.valueAsNumber : input.value]));
  changed(form, ask("POST", form.dataset.post, JSON.stringify(said)));
}));
all("form[data-upload]").forEach((form) => form.addEventListener("submit", (event) => {
  event.preventDefault();
  changed(form, ask("POST", form.dataset.upload, form.querySelector("input").files[0], "application/octet-stream"));
}));
all("form[data-delete]").forEach((form) => form.addEventListener("submit", (event) => {
  event.preventDefault();
  changed(form, ask("DELETE", form.dataset.delete));
}));

// What a training or a comparison has come to: its part of the page anew while it runs, the whole page when it ends.
const poll = one("[data-poll]");
if (poll && poll.dataset.poll.endsWith(" running")) {
  let current = poll;
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!answer || !answer.ok || answer.redirected) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-poll]");
    if (!found) return;
    if (found.dataset.poll !== poll.dataset.poll) return location.reload();
    if (current.contains(document.activeElement)) return;
    const fresh = document.adoptNode(found);
    current.replaceWith(fresh);
    current = fresh;
  }, 2000);
}
