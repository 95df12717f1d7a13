// The inbox's page: asks for what is new once a second and draws it.
//
// Whatever comes out of a push is put into the page as text, never as markup, and none of its
// addresses is a link or an image: nothing that a push says may run, load or lead anywhere.
"use strict";

const CARDS = 200; // on the page; the sandbox keeps more, and a search finds them
const PAUSE = 1000; // milliseconds between two questions
const UNSURE = ["UNKNOWN_FAILURE", "MISSING"];

const byId = (id) => document.getElementById(id);
const list = byId("pushes");
let cursor = 0;
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
    show(news);
  } catch (fault) {
    if (!signal.aborted) tell(byId("status"), `No answer from the sandbox: ${fault.message}`);
  }
}

function query(since) {
  const wanted = { since, limit: CARDS, text: byId("text").value, service: byId("service").value };
  return new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== ""));
}

function search() {
  cursor = 0;
  list.replaceChildren();
  byId("json").href = `messages?${query(0)}`;
  follow();
}

// Drawing

function show(news) {
  for (const push of news.messages) list.prepend(item(push));
  cursor = news.cursor;
  // Those the sandbox has forgotten: cleared here or elsewhere, or too old.
  while (list.lastElementChild?.number < news.oldest) list.lastElementChild.remove();
  const full = list.children.length >= CARDS;
  while (list.children.length > CARDS) list.lastElementChild.remove();

  const searching = byId("text").value !== "" || byId("service").value !== "";
  byId("empty").hidden = news.kept > 0;
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
  const time = new Date(push.time);
  part("time").dateTime = push.time;
  part("time").title = push.time;
  tell(part("time"), time.toLocaleTimeString());
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
    "Image, not loaded": card.image,
    Badge: card.badge,
    Sound: card.sound,
    Action: card.action,
    Link: card.link,
    ...Object.fromEntries(Object.entries(card.data).map(([key, value]) => [`Data: ${key}`, value])),
  });

  part(".outcome").dataset.status = outcome.status;
  tell(part(".outcome strong"), outcome.status);
  tell(part(".outcome span"), [outcome.code, outcome.reason].filter(Boolean).join(" · "));
  describe(part(".facts"), {
    Token: push.token,
    Service: push.service,
    Door: push.door ?? "the API itself, by no function",
    Project: push.application_id,
    Form: card.form,
  });
  const notes = card.notes.map((note) => tell(document.createElement("li"), note));
  if (notes.length) part(".notes").append(...notes);
  else part(".notes").remove();
  part("details").addEventListener("toggle", () => reveal(element, push), { once: true });
  return element;
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

async function offerTokens() {
  const { tokens } = await (await fetch("tokens")).json();
  for (const service of Object.keys(tokens[0].answers)) {
    for (const id of ["service", "sender"]) byId(id).append(new Option(service, service));
  }
  for (const { token, meaning } of tokens) {
    const element = byId("token").content.firstElementChild.cloneNode(true);
    const button = tell(element.querySelector("button"), token);
    tell(element.querySelector("span"), meaning);
    button.addEventListener("click", () => send(token));
    byId("tokens").append(element);
  }
}

async function send(token) {
  const service = byId("sender").value;
  tell(byId("sent"), `${token}, ${service}: sending …`);
  try {
    const answer = await fetch("send", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token, service }),
    });
    const { status, answer: given, message } = await answer.json();
    const said = message ?? (given.Code ? `${given.Code}: ${given.Message}` : given.Result?.[token]?.DeliveryStatus ?? "missing from the answer");
    tell(byId("sent"), `${token}, ${service}: ${status ?? answer.status} ${said}`);
    follow();
  } catch (fault) {
    tell(byId("sent"), `${token}, ${service}: ${fault.message}`);
  }
}

async function clear() {
  await fetch("messages", { method: "DELETE" });
  follow();
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
byId("service").addEventListener("change", search);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("clear").addEventListener("click", clear);
document.addEventListener("visibilitychange", () => document.hidden || follow());
offerTokens().then(search);
