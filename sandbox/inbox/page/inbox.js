// The inbox's page: asks for what is new once a second and draws it.
//
// Whatever comes out of a push is put into the page as text, never as markup, and none of its
// addresses is a link or an image: nothing that a push says may run, load or lead anywhere.
"use strict";

const CARDS = 200; // on the page; the sandbox keeps more, and a search finds them
const PAUSE = 1000; // milliseconds between two questions
const NO_FUNCTION = "none, by no function";
const UNSURE = ["UNKNOWN_FAILURE", "MISSING"];

const byId = (id) => document.getElementById(id);
const list = byId("pushes");
const FILTERS = ["text", "service", "outcome", "door"];
let cursor = 0;
let clearings; // how often something was cleared when the list was begun
let asked = new AbortController();

// Asking

async function follow() {
  asked.abort(); // what was asked for another search no longer matters
  asked = new AbortController();
  const { signal } = asked;
  while (!signal.aborted) {
    if (!document.hidden) await ask(signal);
    await new Promise((resume) => setTimeout(resume, PAUSE));
  }
}

async function ask(signal) {
  try {
    const answer = await fetch(`messages?${query(cursor)}`, { signal });
    const news = await answer.json();
    if (signal.aborted) return;
    if (!answer.ok) throw new Error(news.message);
    clearings ??= news.clearings;
    if (clearings !== news.clearings) search(); // here or elsewhere: what is left is drawn anew
    else show(news);
  } catch (fault) {
    if (!signal.aborted) tell(byId("status"), `No answer from the sandbox: ${fault.message}`);
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
  // Those the sandbox has forgotten: cleared here or elsewhere, or too old.
  while (list.lastElementChild?.number < news.oldest) list.lastElementChild.remove();
  const full = list.children.length >= CARDS;
  while (list.children.length > CARDS) list.lastElementChild.remove();

  const searching = chosen().length > 0;
  byId("empty").hidden = news.kept > 0 || list.children.length > 0;
  byId("nothing").hidden = news.kept === 0 || list.children.length > 0;
  byId("more").hidden = !full;
  tell(byId("more"), `The page shows no more than the newest ${CARDS}. A search, or the JSON, finds the others.`);
  tell(byId("status"), summary(news, searching));
}

function summary({ kept, dropped, calls }, searching) {
  const number = (count) => count.toLocaleString("en");
  const parts = [`${number(kept)} ${kept === 1 ? "push" : "pushes"}`];
  if (searching) parts.push(`${number(list.children.length)} shown for the search`);
  if (dropped) parts.push(`${number(dropped)} older dropped, for only so many are kept`);
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
  tell(part(".arrival"), UNSURE.includes(outcome.status) ? "Nobody knows whether it arrived:" : "Not delivered:");
  part(".phone").dataset.platform = card.platform;
  tell(part(".platform"), `${card.platform} · ${card.provider}`);
  date(part("time"), push.time);
  part(".silent").hidden = !card.silent;
  for (const name of ["title", "subtitle", "text"]) {
    // An empty heading would be read out; where there is none, the token stands for it.
    if (card[name]) tell(part(`.${name}`), card[name]);
    else if (name !== "title") part(`.${name}`).remove();
  }
  if (!card.title) {
    part(".title").classList.add("unseen");
    tell(part(".title"), `Push to ${push.token}`);
  }
  describe(part(".extras"), {
    "Interruption level": card.interruption_level,
    Channel: card.channel,
    Colour: card.color,
    "Image, not loaded": card.image,
    Badge: card.badge,
    Sound: card.sound,
    Action: card.action,
    Link: card.link,
    ...Object.fromEntries(Object.entries(card.data).map(([key, value]) => [`Data: ${key}`, value])),
  });

  mark(part(".named"), push.outcome_in_report);
  tell(part(".outcome strong"), outcome.status);
  tell(part(".outcome span"), [outcome.code, outcome.reason].filter(Boolean).join(" · "));
  describe(part(".facts"), {
    Token: push.token,
    Service: push.service,
    "Entry point": push.door ?? NO_FUNCTION,
    Project: push.application_id,
    Form: card.form,
  });
  const notes = card.notes.map((note) => tell(document.createElement("li"), note));
  if (notes.length) part(".notes").append(...notes);
  else part(".notes").remove();
  part("details").addEventListener("toggle", () => reveal(element, push), { once: true });
  return element;
}

// A call of which nothing arrived, be it a button's or a program's.
function refused(call) {
  const element = byId("refused").content.firstElementChild.cloneNode(true);
  const part = (selector) => element.querySelector(selector);
  const [first, ...others] = call.addresses;
  element.number = call.number;
  date(part("time"), call.time);
  tell(part(".refusal"), `${call.status} ${call.code}`);
  mark(part(".named"), call.outcome_in_report);
  tell(part(".outcome span"), call.reason);
  describe(part(".facts"), {
    Token: first && first.token + (others.length ? ` and ${others.length} more` : ""),
    Service: [...new Set(call.addresses.map(({ service }) => service))].join(", "),
    "Entry point": call.door ?? NO_FUNCTION,
    Project: call.application_id,
  });
  return element;
}

function mark(element, outcome) {
  element.dataset.outcome = outcome;
  tell(element, outcome);
}

function date(element, time) {
  element.dateTime = element.title = time;
  tell(element, new Date(time).toLocaleTimeString());
}

// The call as it travelled, for this one address; made when somebody looks.
function reveal(element, push) {
  const { Address, ...request } = push.request;
  const part = (selector) => element.querySelector(selector);
  const others = push.addresses - 1;
  tell(part("h4"), `POST /v1/apps/${push.application_id}/messages`);
  tell(part(".request"), pretty({ Addresses: { [push.token]: Address }, ...request }));
  tell(part(".others"), others ? `… and ${others} other ${others === 1 ? "address" : "addresses"} in the same call.` : "");
  tell(part(".answer"), pretty({
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
    const [term, told] = [document.createElement("dt"), document.createElement("dd")];
    row.append(tell(term, `${name}:`), " ", tell(told, value));
    terms.append(row);
  }
  if (!terms.children.length) terms.remove();
}

// Changes only what differs: a status that is set again would be read out again.
function tell(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
  return element;
}

const pretty = (value) => JSON.stringify(value, null, 2);

// Sending

async function offer() {
  const { services, outcomes, doors } = await (await fetch("filters")).json();
  const options = { service: services, sender: services, outcome: outcomes, door: doors };
  for (const [id, values] of Object.entries(options)) {
    byId(id).append(...values.map((value) => new Option(value, value)));
  }
  const { tokens } = await (await fetch("tokens")).json();
  for (const { token, meaning } of tokens) {
    const element = byId("token").content.firstElementChild.cloneNode(true);
    const button = tell(element.querySelector("button"), token);
    tell(element.querySelector("span"), meaning);
    button.addEventListener("click", () => send(button, { token }));
    byId("tokens").append(element);
  }
}

// Makes one call, and tells what came of it beside the button that was pressed.
async function send(button, wanted) {
  const sent = byId("sent");
  const service = byId("sender").value;
  const [token, say] = [wanted.token, (text) => tell(sent, `${wanted.token}, ${service}: ${text}`)];
  button.after(sent);
  sent.classList.remove("failed");
  say("sending …");
  try {
    const answer = await fetch("send", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...wanted, service }),
    });
    // What is no JSON is the sandbox's own failure, which its terminal tells.
    const { status = answer.status, answer: given = {}, message } = await answer.json().catch(() => ({}));
    const failed = message ?? (given.Code && `${given.Code}: ${given.Message}`) ?? (status >= 400 && "the sandbox failed");
    sent.classList.toggle("failed", Boolean(failed));
    say(`${status} ${failed || (given.Result?.[token]?.DeliveryStatus ?? "missing from the answer")}`);
    follow();
  } catch (fault) {
    sent.classList.add("failed");
    say(`no answer from the sandbox: ${fault.message}`);
  }
}

// Clearing

function askToClear() {
  const what = chosen().map(([name, value]) => `${name} “${value}”`).join(", ");
  tell(byId("question"), what ? `Clear what fits ${what}? All else stays.` : "Clear all pushes, calls and counts?");
  byId("sure").showModal();
}

async function clear() {
  byId("sure").close();
  try {
    const answer = await fetch(`messages?${new URLSearchParams(chosen())}`, { method: "DELETE" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    search();
  } catch (fault) {
    tell(byId("status"), `Nothing was cleared: ${fault.message}`);
  }
}

// Beginning

byId("how").textContent = [
  `export AWS_ENDPOINT_URL_PINPOINT=${location.origin} AWS_DEFAULT_REGION=us-east-1`,
  "export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox",
  "python your_program.py",
].join("\n");
// Where there is one column, the tokens would stand between the search and what it finds.
byId("sending").open = matchMedia("(min-width: 60rem)").matches;
let typed;
byId("text").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(search, 150);
});
for (const id of ["service", "outcome", "door"]) byId(id).addEventListener("change", search);
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
