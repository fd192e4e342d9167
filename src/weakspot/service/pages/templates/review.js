// The page Review: one key, next picture. The next three are loaded ahead.
"use strict";
const review = one("[data-review]");
if (review) {
  const queue = all(".queue li"), todo = [...queue], said = [], ahead = new Set(); // said: the last one last
  let shown = null;
  const reason = one("#reason"), reasons = all("[data-reason]");
  const addresses = (id) => [`/v1/inspections/${id}/picture.png`, `/v1/inspections/${id}/heat-map.png?colours=layer`];
  const load = ({ dataset: { id } }) => {
    if (!ahead.has(id)) addresses(id).forEach((address) => { new Image().src = address; });
    ahead.add(id);
  };
  const pace = () => {
    const minutes = (said.at(-1)?.time - said[0]?.time) / 60_000, each = minutes / (said.length - 1);
    return said.length < 4 ? "" : ` · ${Math.round(1 / each)} a minute, ${Math.ceil(each * todo.length)} min to go`;
  };
  const show = () => {
    const [item] = todo, count = (word) => said.filter((each) => each.verdict === word).length;
    queue.forEach((each) => { each.toggleAttribute("aria-current", each === item); each.classList.toggle("done", said.some((one) => one.item === each && one.verdict)); });
    one("#progress").textContent = item ? `${said.length + 1} of ${said.length + todo.length}: ${item.dataset.name}` : `${said.length} of ${said.length}`;
    one("#pace").textContent = pace();
    review.hidden = !item;
    one("#done").hidden = Boolean(item);
    if (!item) {
      one("#summary").textContent = `You judged ${count("good")} good, ${count("bad")} bad and ${count("unsure")} not sure, and skipped ${count("")}.`;
      return one("#done").focus();
    }
    const { id, name, ratio } = item.dataset, [picture, heat] = addresses(id);
    if (item === shown) return;
    shown = item;
    stage.style.setProperty("--ratio", ratio);
    Object.assign(stage.querySelector(".photo"), { src: picture, alt: `Picture of ${name}` });
    stage.querySelector(".heat").src = heat;
    one("#whole").href = `/inspections/${id}`;
    one("[data-opacity]").value = 0;
    shade(0);
    item.scrollIntoView({ block: "nearest", inline: "center" });
    because("");
    fit();
    todo.slice(0, 4).forEach(load);
  };

  // Why: a word of the list or one's own, sent with the next verdict.
  const because = (text) => {
    reason.value = text;
    reasons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.reason === text)));
  };
  const choose = (text) => because(reason.value === text ? "" : text);
  reasons.forEach((button, i) => { button.addEventListener("click", () => choose(button.dataset.reason)); KEYS[i + 1] = () => choose(button.dataset.reason); });
  reason.addEventListener("input", () => because(reason.value));
  reason.addEventListener("keydown", (event) => { if (["Enter", "Escape"].includes(event.key)) stage.focus(); });

  // A verdict is sent at once. One that was not kept brings its picture back, after the one under the hand.
  const post = (item, body) => ask("POST", `/v1/inspections/${item.dataset.id}/verdicts`, JSON.stringify(body));
  const lastOf = async (item) => (await ask("GET", `/v1/inspections/${item.dataset.id}`)).said.verdicts?.at(-1);
  const forget = (entry) => said.splice(said.indexOf(entry), 1);
  const give = (verdict) => {
    if (!todo.length) return;
    const item = todo.shift(), entry = { item, verdict, time: performance.now() };
    const sent = verdict ? post(item, { verdict, reason: reason.value.trim(), after: Number(item.dataset.after) }) : null;
    entry.kept = Promise.resolve(sent).then(async (answer) => {
      if (!answer || answer.ok) return answer?.said.number; // null: skipped
      const last = answer.said.type === "urn:weakspot:judged-meanwhile" ? await lastOf(item) : null;
      forget(entry);
      if (last && last.verdict !== "withdrawn") {
        show();
        return say(`${item.dataset.name}: judged meanwhile by ${last.by} as ${last.verdict}: yours is not kept`);
      }
      if (last) item.dataset.after = last.number;
      todo.splice(1, 0, item);
      show();
      say(`${item.dataset.name}: not kept, and comes again: ${answer.said.detail}`);
    });
    said.push(entry);
    say("");
    show();
  };

  // What is pressed while a verdict is taken back waits for its picture.
  let undoing = false;
  const waiting = [];
  const act = (action) => { if (undoing) waiting.push(action); else action(); };
  const undo = async () => {
    const last = said.at(-1);
    if (!last) return say("nothing to undo");
    undoing = true;
    const refused = await during(takenBack(last));
    undoing = false;
    if (refused) { waiting.length = 0; return say(`${last.item.dataset.name}: not taken back: ${refused}`); }
    forget(last);
    todo.unshift(last.item);
    show();
    say("taken back");
    waiting.splice(0).forEach(act);
  };
  const takenBack = async ({ item, verdict, kept }) => {
    if (!verdict) return "";
    const number = await kept;
    if (!number) return "it was not kept";
    const answer = await post(item, { verdict: "withdrawn", after: number });
    if (answer.ok) item.dataset.after = answer.said.number;
    return answer.ok ? "" : answer.said.detail;
  };

  const gives = (verdict) => () => act(() => give(verdict)), takes = () => act(undo);
  all("[data-verdict]").forEach((button) => button.addEventListener("click", gives(button.dataset.verdict)));
  one("[data-skip]").addEventListener("click", gives(""));
  all("[data-undo]").forEach((button) => button.addEventListener("click", takes));
  one("[data-keys]").addEventListener("click", () => one("#keys").showModal());
  Object.assign(KEYS, { g: gives("good"), b: gives("bad"), n: gives("unsure"), s: gives(""), u: takes, r: () => reason.focus() });
  show();

  // What others judge leaves the queue, but not from under the hand.
  const asked = () => `/review/judged?${todo.slice(1).map(({ dataset: { id } }) => `id=${id}`).join("&")}`;
  live(asked, 5, (text) => {
    const judged = new Set(JSON.parse(text)), gone = todo.filter((item, i) => i && judged.has(item.dataset.id));
    gone.forEach((item) => { todo.splice(todo.indexOf(item), 1); item.hidden = true; });
    if (gone.length) { show(); say(`${gone.length} judged meanwhile by others`); }
  });
}
