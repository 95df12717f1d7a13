// The inbox's page: it fetches new pushes once a second and draws them.
//
// The content of a push is inserted as text, never as markup, and its addresses become neither
// links nor images: nothing in a push may run, load or lead anywhere.
"use strict";

const CARDS = 200; // shown on the page; the sandbox keeps more, and a search finds them
const PAUSE = 1000; // milliseconds between two requests
const NO_FUNCTION = "none, not sent by the function";
const UNSURE = ["UNKNOWN_FAILURE", "MISSING"];

const byId = (id) => document.getElementById(id);
const list = byId("pushes");
const FILTERS = ["text", "service", "outcome", "entry_point"];
let cursor = 0;
let clearings; // the number of clearings when the list was begun
let pending = new AbortController();

// Fetching

async function follow() {
  pending.abort(); // the answer to an earlier search no longer matters
  pending = new AbortController();
  const { signal } = pending;
  while (!signal.aborted) {
    if (!document.hidden) await update(signal);
    await new Promise((resume) => setTimeout(resume, PAUSE));
  }
}

async function update(signal) {
  try {
    const answer = await fetch(`messages?${query(cursor)}`, { signal });
    const news = await answer.json();
    if (signal.aborted) return;
    if (!answer.ok) throw new Error(news.message);
    clearings ??= news.clearings;
    if (clearings !== news.clearings) search(); // cleared here or elsewhere: draw the rest again
    else show(news);
  } catch (error) {
    if (!signal.aborted) setText(byId("status"), `No answer from the sandbox: ${error.message}`);
  }
}

function chosen() {
  return FILTERS.map((name) => [name, byId(name).value]).filter(([, value]) => value !== "");
}

function query(since) {
  return new URLSearchParams([["since", since], ["limit", CARDS], ...chosen()]);
}

function search() {
  cursor = 0;
  clearings = undefined;
  list.replaceChildren();
  byId("json").href = `messages?${query(0)}`;
  follow();
}

// Drawing

function show(news) {
  const arrived = [...news.messages.map(item), ...news.refused.map(refused)];
  for (const element of arrived.sort((one, other) => one.number - other.number)) list.prepend(element);
  cursor = news.cursor;
  // Remove what the sandbox no longer keeps: cleared, or too old.
  while (list.lastElementChild?.number < news.oldest) list.lastElementChild.remove();
  const full = list.children.length >= CARDS;
  while (list.children.length > CARDS) list.lastElementChild.remove();

  const searching = chosen().length > 0;
  byId("empty").hidden = news.kept > 0 || list.children.length > 0;
  byId("nothing").hidden = news.kept === 0 || list.children.length > 0;
  byId("more").hidden = !full;
  setText(byId("more"), `The page shows only the newest ${CARDS}. Use the search or the JSON to find the others.`);
  setText(byId("status"), summary(news, searching));
}

function summary({ kept, dropped, calls }, searching) {
  const number = (count) => count.toLocaleString("en");
  const parts = [`${number(kept)} ${kept === 1 ? "push" : "pushes"}`];
  if (searching) parts.push(`${number(list.children.length)} match the search`);
  if (dropped) parts.push(`${number(dropped)} older dropped, because the number is limited`);
  const counts = Object.entries(calls).map(([status, count]) => `${number(count)} × ${status}`);
  if (counts.length) parts.push(`calls by HTTP status: ${counts.join(", ")}`);
  return parts.join(" · ");
}

function item(push) {
  const { card, outcome } = push;
  const element = byId("push").content.firstElementChild.cloneNode(true);
  const part = (selector) => element.querySelector(selector);
  element.number = push.number;

  element.classList.toggle("quiet", card.silent);
  element.classList.toggle("lost", outcome.status !== "SUCCESSFUL");
  part(".arrival").hidden = outcome.status === "SUCCESSFUL";
  setText(part(".arrival"), UNSURE.includes(outcome.status) ? "It is unknown whether it arrived:" : "Not delivered:");
  part(".phone").dataset.platform = card.platform;
  setText(part(".platform"), `${card.platform} · ${card.provider}`);
  date(part("time"), push.time);
  part(".silent").hidden = !card.silent;
  for (const name of ["title", "subtitle", "text"]) {
    // A screen reader would read an empty heading; without a title, the token is the heading.
    if (card[name]) setText(part(`.${name}`), card[name]);
    else if (name !== "title") part(`.${name}`).remove();
  }
  if (!card.title) {
    part(".title").classList.add("unseen");
    setText(part(".title"), `Push to ${push.token}`);
  }
  describe(part(".extras"), {
    "Interruption level": card.interruption_level,
    Channel: card.channel,
    Colour: card.color,
    Tag: card.tag,
    "Image, not loaded": card.image,
    Badge: card.badge,
    Sound: card.sound,
    Action: card.action,
    Link: card.link,
    ...Object.fromEntries(Object.entries(card.data).map(([key, value]) => [`Data: ${key}`, value])),
  });

  mark(part(".named"), push.outcome_in_report);
  setText(part(".outcome strong"), outcome.status);
  setText(part(".outcome span"), [outcome.code, outcome.reason].filter(Boolean).join(" · "));
  describe(part(".facts"), {
    Token: push.token,
    Service: push.service,
    "Entry point": push.entry_point ?? NO_FUNCTION,
    Project: push.application_id,
    Device: push.device?.device_id,
    User: push.device?.user_id,
    Form: card.form,
  });
  const notes = card.notes.map((note) => setText(document.createElement("li"), note));
  if (notes.length) part(".notes").append(...notes);
  else part(".notes").remove();
  part("details").addEventListener("toggle", () => reveal(element, push), { once: true });
  return element;
}

// A call that the API refused as a whole.
function refused(call) {
  const element = byId("refused").content.firstElementChild.cloneNode(true);
  const part = (selector) => element.querySelector(selector);
  const [first, ...others] = call.addresses;
  element.number = call.number;
  date(part("time"), call.time);
  setText(part(".refusal"), `${call.status} ${call.code}`);
  mark(part(".named"), call.outcome_in_report);
  setText(part(".outcome span"), call.reason);
  describe(part(".facts"), {
    Token: first && first.token + (others.length ? ` and ${others.length} more` : ""),
    Service: [...new Set(call.addresses.map(({ service }) => service))].join(", "),
    "Entry point": call.entry_point ?? NO_FUNCTION,
    Project: call.application_id,
  });
  return element;
}

function mark(element, outcome) {
  element.dataset.outcome = outcome;
  setText(element, outcome);
}

function date(element, time) {
  element.dateTime = element.title = time;
  setText(element, new Date(time).toLocaleTimeString());
}

// Shows the call with only this address; made when the details are opened.
function reveal(element, push) {
  const { Address, ...request } = push.request;
  const part = (selector) => element.querySelector(selector);
  const others = push.addresses - 1;
  setText(part("h4"), `POST /v1/apps/${push.application_id}/messages`);
  setText(part(".request"), pretty({ Addresses: { [push.token]: Address }, ...request }));
  setText(part(".others"), others ? `… and ${others} other ${others === 1 ? "address" : "addresses"} in the same call.` : "");
  setText(part(".answer"), pretty({
    MessageResponse: {
      ApplicationId: push.application_id,
      RequestId: push.request_id,
      Result: push.answer === null ? {} : { [push.token]: push.answer },
    },
  }));
}

function describe(terms, members) {
  for (const [name, value] of Object.entries(members)) {
    if (value === null || value === undefined || value === "") continue;
    const row = document.createElement("div");
    const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
    row.append(setText(term, `${name}:`), " ", setText(detail, value));
    terms.append(row);
  }
  if (!terms.children.length) terms.remove();
}

// Changes only what differs: a screen reader would read an unchanged status again.
function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
  return element;
}

const pretty = (value) => JSON.stringify(value, null, 2);

// Sending

async function offer() {
  const { services, outcomes, entry_points } = await (await fetch("filters")).json();
  const options = { service: services, sender: services, outcome: outcomes, entry_point: entry_points };
  for (const [id, values] of Object.entries(options)) {
    byId(id).append(...values.map((value) => new Option(value, value)));
  }
  const { tokens } = await (await fetch("tokens")).json();
  for (const { token, meaning } of tokens) {
    const element = byId("token").content.firstElementChild.cloneNode(true);
    const button = setText(element.querySelector("button"), token);
    setText(element.querySelector("span"), meaning);
    button.addEventListener("click", () => send(button, { token }));
    byId("tokens").append(element);
  }
}

// Makes one call, and shows its result beside the button.
async function send(button, push) {
  const sent = byId("sent");
  const service = byId("sender").value;
  const [token, report] = [push.token, (text) => setText(sent, `${push.token}, ${service}: ${text}`)];
  button.after(sent);
  sent.classList.remove("failed");
  report("sending …");
  try {
    const answer = await fetch("send", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...push, service }),
    });
    // An answer without JSON is a failure of the sandbox, which its terminal shows.
    const { status = answer.status, answer: given = {}, message } = await answer.json().catch(() => ({}));
    const failed = message ?? (given.Code && `${given.Code}: ${given.Message}`) ?? (status >= 400 && "the sandbox failed");
    sent.classList.toggle("failed", Boolean(failed));
    report(`${status} ${failed || (given.Result?.[token]?.DeliveryStatus ?? "missing from the answer")}`);
    follow();
  } catch (error) {
    sent.classList.add("failed");
    report(`no answer from the sandbox: ${error.message}`);
  }
}

// Clearing

function askToClear() {
  const filters = chosen().map(([name, value]) => `${name} “${value}”`).join(", ");
  setText(byId("question"), filters ? `Clear the pushes that match ${filters}? The others stay.` : "Clear all pushes, calls and counts?");
  byId("sure").showModal();
}

async function clear() {
  byId("sure").close();
  try {
    const answer = await fetch(`messages?${new URLSearchParams(chosen())}`, { method: "DELETE" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    search();
  } catch (error) {
    setText(byId("status"), `Nothing was cleared: ${error.message}`);
  }
}

// Beginning

byId("how").textContent = [
  `export AWS_ENDPOINT_URL_PINPOINT=${location.origin} AWS_DEFAULT_REGION=us-east-1`,
  "export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox",
  "python your_program.py",
].join("\n");
// With one column, the tokens would stand between the search and its results.
byId("sending").open = matchMedia("(min-width: 60rem)").matches;
let typed;
byId("text").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(search, 150);
});
for (const id of ["service", "outcome", "entry_point"]) byId(id).addEventListener("change", search);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("clear").addEventListener("click", askToClear);
byId("yes").addEventListener("click", clear);
byId("no").addEventListener("click", () => byId("sure").close());
byId("one").addEventListener("submit", (event) => {
  event.preventDefault();
  send(event.submitter ?? event.target.lastElementChild, { token: byId("to").value, text: byId("what").value });
});
document.addEventListener("visibilitychange", () => document.hidden || follow());
offer().then(search);
