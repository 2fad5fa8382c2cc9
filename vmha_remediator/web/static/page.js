// SPDX-License-Identifier: Apache-2.0
// The status page: asks the REST API every two seconds and shows what it says.
import { ago, byId, clock, el, focusOn, show } from "./dom.js";

const EVERY = 2000;        // ms between looks
const PATIENCE = 10000;    // ms until a look is given up
const HELD = "held";
const DONE = new Set(["done", "skipped"]);
let timer = null;
let latest = 0;            // when the last good look was, ms since the epoch

const SILENT = { reason: "the API does not answer", way_out: "is it running, and the network?" };
const ODD = { reason: "the API answers something that this page does not understand",
  way_out: "load the page anew; is that the vmha API, or something before it?" };

class Refused extends Error {
  constructor(status, error) {
    super(error ? `${error.reason}; ${error.way_out}` : `the API answers ${status}`);
    this.status = status;
  }
}

async function ask(method, path, body) {
  let answer = null;
  try {
    answer = await fetch(`/v1/${path}`, {
      method,
      credentials: "same-origin",
      headers: { Accept: "application/json", "X-Vmha-Page": "1" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new Refused(0, SILENT);
  }
  const found = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, found?.error);
  if (found === null) throw new Refused(answer.status, ODD);
  return found;
}

// What went wrong, in words: never what the browser says of a line of this file.
const inWords = (problem) => (problem instanceof Refused ? problem : new Refused(0, ODD)).message;

// -- looking --------------------------------------------------------------------------------

async function look() {
  clearTimeout(timer);
  try {
    const [cluster, hosts, active, past, protection, capacity] = await Promise.all([
      ask("GET", "cluster"), ask("GET", "hosts"), ask("GET", "incidents?active=true&limit=100"),
      ask("GET", "incidents?active=false&limit=5"),
      ask("GET", "protection").catch((refused) => ({ servers: [], trouble: [refused.message] })),
      ask("GET", "capacity").catch((refused) => (
        { fit: "not known", says: refused.message, hosts: [] })),
    ]);
    const wanted = active.incidents.slice(0, 20);
    const whole = await Promise.all(wanted.map((i) => ask("GET", `incidents/${i.id}`)));
    latest = Date.now();
    byId("login").hidden = true;
    byId("status").hidden = false;
    draw({
      cluster, hosts: hosts.hosts, incidents: whole.map((answer) => answer.incident),
      past: past.incidents, protection: protection.servers, capacity,
      trouble: [...new Set([...cluster.trouble, ...hosts.trouble, ...protection.trouble])],
    });
  } catch (problem) {
    if (problem.status === 401) return logIn();
    trouble([`What you see is old: ${inWords(problem)}`]);
  }
  timer = setTimeout(look, EVERY);
}

function tick() {
  if (!latest) return;
  const age = (Date.now() - latest) / 1000;
  byId("fresh").textContent = age < 6 ? "Live" : `As of ${ago(age)}`;
  byId("fresh").className = age < 6 ? "ok" : "lost";
}

// -- drawing --------------------------------------------------------------------------------

function draw(seen) {
  const held = seen.incidents.filter((i) => i.state === HELD);
  const running = seen.incidents.filter((i) => i.state !== HELD);
  say(byId("summary"), summary(seen, held));
  document.title = held.length ? `(${held.length}) waiting for a person` : "VM high availability";
  trouble(seen.trouble);
  byId("held-section").hidden = held.length === 0;
  show(byId("held"), held.map((i) => incident(i, seen.cluster.time)));
  show(byId("running"), running.length
    ? running.map((i) => incident(i, seen.cluster.time))
    : el("p", {}, held.length ? "No other incidents." : "None. No verdict stands."));
  show(byId("hosts"), seen.hosts.map(host));
  room(seen.capacity);
  protect(seen.protection);
  show(byId("past"), seen.past.length ? seen.past.map((i) => over(i, seen.cluster.time))
    : el("li", {}, "None yet."));
}

function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function summary(seen, held) {
  const { total, well, unwell, unknown } = seen.cluster.hosts;
  const parts = [];
  if (held.length) parts.push(`${count(held.length, "incident waits", "incidents wait")} for a person.`);
  if (seen.cluster.situation) parts.push(seen.cluster.situation.evidence);
  parts.push(`${well} of ${count(total, "host", "hosts")} well`
    + (unwell ? `, ${unwell} not` : "") + (unknown ? `, ${unknown} unknown` : "") + ".");
  const leader = seen.cluster.leader;
  parts.push(leader ? `${leader.owner} leads.` : "No engine leads: nothing is done.");
  const { masters, witnesses } = seen.cluster;
  if (masters.length) {
    parts.push(`The agents' ${masters.length > 1 ? "masters are" : "master is"} `
      + masters.join(" and ") + (witnesses.length ? `, with ${witnesses.join(" and ")}` : "") + ".");
  }
  return parts.join(" ");
}

const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;

function trouble(sentences) {
  byId("trouble").hidden = sentences.length === 0;
  say(byId("trouble"), sentences.join(" "));
}

function host(h) {
  const compute = h.service === null ? ["unknown", "not known"]
    : h.service.forced_down ? ["lost", "forced down"]
    : !h.service.up ? ["lost", "down"]
    : h.service.enabled ? ["ok", "up"] : ["unknown", "up, disabled"];
  const path = (name) => cell(h.paths[name].state, h.paths[name].says);
  const kept = h.maintenance ? ` In maintenance: ${h.maintenance.reason}` : "";
  return el("tr", { class: h.state },
    el("th", { scope: "row" }, h.host,
      h.role && h.role !== "member" ? el("small", {}, h.role) : null),
    el("td", {}, badge(h.state, h.verdict ?? h.state), el("small", {}, h.says + kept)),
    path("network"), path("storage"), path("reachable"), path("telemetry"),
    cell(...compute), el("td", { class: "number" }, h.protected ?? "?"));
}

// A sign beside the colour: nobody has to tell red from green.
const SIGNS = { ok: "\u2713", well: "\u2713", lost: "\u2717", unwell: "\u2717", unknown: "?" };
const badge = (state, text) => el("strong", { class: `badge ${state}` },
  el("span", { "aria-hidden": "true" }, `${SIGNS[state]} `), text);
const cell = (state, text) => el("td", { class: state },
  el("span", { "aria-hidden": "true" }, `${SIGNS[state]} `), text);

function incident(i, now) {
  const name = `${i.rule} of ${i.host === "*" ? "the cluster" : i.host}`;
  return el("article", { class: `incident ${i.severity} ${i.state}`, "aria-label": name },
    el("h3", {}, `${name}: ${i.state}`,
      el("small", {}, ` incident ${i.id}, since ${clock(i.opened)} (${ago(now - i.opened)})`)),
    // While it is held, the latest sentence ends in the advice, which stands below.
    el("p", {}, (i.state === HELD && i.reason) || i.says),
    i.state === HELD ? toDo(i) : null,
    i.servers.length ? progress(i) : null,
    el("details", { "data-key": `line-${i.id}` },
      el("summary", { "data-key": `sum-${i.id}` }, "Time line and evidence"),
      el("p", {}, i.evidence),
      i.proof ? el("p", {}, `Proof: ${i.proof.proves} (${i.proof.driver}): ${i.proof.evidence}`)
        : null,
      el("ol", { class: "line" }, i.steps.map((s) => el("li", { class: s.ok === false ? "lost" : "" },
        el("time", {}, `+${(s.time - i.opened).toFixed(1)} s`), ` ${s.sentence}`,
        s.ok === false ? " (failed)" : s.ok === null ? " ..." : "")))));
}

function toDo(i) {
  return el("div", { class: "todo" },
    el("p", {}, el("strong", {}, "To do: "), i.advice,
      el("small", {}, ` (held by ${i.held_by})`)),
    el("ul", { class: "deeds" },
      i.held_by === "no-proof" ? deed(`openstack vmha host confirm-fenced ${i.host}`,
        { "data-key": `confirm-${i.id}`, "data-confirm": i.host }, "I have seen that it is off ...")
        : null,
      deed(`openstack vmha incident release ${i.id}`, { "data-key": `release-${i.id}`,
        "data-release": i.id, "data-host": i.host }, "Release ...")));
}

// A button, and the same as a command.
const deed = (command, data, text) => el("li", {},
  el("button", { type: "button", ...data }, text), el("code", {}, command));

function progress(i) {
  const done = i.servers.filter((vm) => DONE.has(vm.status)).length;
  return el("div", {},
    el("p", {}, el("progress", { max: i.servers.length, value: done,
      "aria-label": `${done} of ${i.servers.length} VMs are back` }),
    ` ${done} of ${count(i.servers.length, "VM", "VMs")} back`),
    el("ul", { class: "vms" }, i.servers.map((vm) => el("li", { class: vm.status },
      el("b", {}, vm.name), ` ${vm.status}`, vm.to ? ` on ${vm.to}` : "",
      vm.reason ? ` (${vm.reason})` : ""))));
}

function over(i, now) {
  const vms = i.vms.total ? `, ${i.vms.done} of ${i.vms.total} VMs back` : "";
  return el("li", {}, `${i.rule} of ${i.host}: ${i.state} ${ago(now - (i.closed ?? i.updated))}${vms}`);
}

const ROOM = { fits: "ok", "does not fit": "lost" };

function room(capacity) {
  const state = ROOM[capacity.fit] ?? "unknown";
  show(byId("capacity"), badge(state, capacity.says));
  const short = capacity.hosts.filter((h) => h.fit !== "fits");
  show(byId("rooms"), short.length > 1 ? el("ul", {}, short.map((h) =>
    el("li", {}, badge(ROOM[h.fit] ?? "unknown", h.host), ` ${h.says}.`))) : el("span", {}));
}

function protect(servers) {
  const kept = servers.filter((s) => s.protected);
  const cannot = kept.filter((s) => s.problem);
  say(byId("protection"), `${count(kept.length, "VM is", "VMs are")} protected, of `
    + `${count(servers.length, "VM", "VMs")}.`
    + (cannot.length ? ` ${cannot.length} of them could not be recovered now:` : ""));
  show(byId("problems"), cannot.length ? el("ul", {}, cannot.map((s) =>
    el("li", {}, el("b", {}, s.name), ` on ${s.host}: ${s.problem}`))) : el("span", {}));
}

// -- what a person does ---------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.release) {
    const { release, host: name } = button.dataset;
    sure("Release the incident", "What holds it is overruled for this incident, in your name. "
      + "It replaces no proof that the host is off.", name,
    () => ask("POST", `incidents/${release}/release`));
  } else if (button?.dataset.confirm) {
    const name = button.dataset.confirm;
    sure("Confirm that the host is off", "Its VMs are started elsewhere on your word. If it still "
      + "runs, two copies of a VM write to one disk.", name,
    () => ask("POST", `hosts/${encodeURIComponent(name)}/confirm-fenced`, { host: name }));
  }
});

let go = null;
let asked = null;          // the key of the button that asked; it may be drawn anew meanwhile

function sure(title, text, name, action) {
  byId("sure-title").textContent = title;
  byId("sure-text").textContent = text;
  byId("sure-label").textContent = `Type the host's name (${name}) to go on:`;
  byId("sure-input").value = "";
  byId("sure-error").textContent = "";
  go = async () => {
    if (byId("sure-input").value.trim() !== name) {
      byId("sure-error").textContent = "That is not its name; nothing was done.";
      return;
    }
    try {
      await action();
      byId("sure").close();
      look();
    } catch (problem) {
      byId("sure-error").textContent = inWords(problem);
    }
  };
  asked = document.activeElement?.dataset.key;
  byId("sure").showModal();
  byId("sure-input").focus();
}

byId("sure").addEventListener("close", () => focusOn(asked));

byId("sure-go").addEventListener("click", () => go?.());
byId("sure-input").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  go?.();
});

// -- logging in -----------------------------------------------------------------------------

const login = byId("login");

function logIn() {
  byId("status").hidden = true;
  login.hidden = false;
  latest = 0;
  byId("fresh").textContent = "Not logged in";
  byId("fresh").className = "";
  say(byId("summary"), "");
  trouble([]);
  byId("logout").hidden = true;
}

login.addEventListener("change", () => {
  const kind = login.elements.kind.value;
  for (const part of login.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== kind;
});

login.addEventListener("submit", async (event) => {
  event.preventDefault();
  const names = login.elements.kind.value === "password"
    ? ["user", "password", "domain", "project"] : ["id", "secret"];
  const given = names.map((name) => [name, login.elements[name].value.trim()]);
  byId("login-error").textContent = "";
  try {
    await ask("POST", "login", Object.fromEntries(given.filter(([, value]) => value)));
    login.elements.password.value = login.elements.secret.value = "";
    byId("logout").hidden = false;
    look();
  } catch (problem) {
    byId("login-error").textContent = inWords(problem);
  }
});

byId("logout").addEventListener("click", async () => {
  clearTimeout(timer);
  await ask("DELETE", "login").catch(() => null);
  logIn();
});

ask("GET", "login").then((state) => { byId("logout").hidden = !state.needed; }).catch(() => null);
byId("fresh").textContent = "Loading ...";
setInterval(tick, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden && latest) look(); });
look();
