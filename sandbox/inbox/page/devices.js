// The page of the registry's devices: it fetches them once a second, and draws them if they changed.
//
// Ids, tags and tokens are inserted as text, never as markup.
"use strict";

const PAUSE = 1000; // milliseconds between two requests

const byId = (id) => document.getElementById(id);
let drawn; // the answer that the page shows

async function follow() {
  for (;;) {
    if (!document.hidden) await update();
    await new Promise((resume) => setTimeout(resume, PAUSE));
  }
}

async function update() {
  try {
    const answer = await (await fetch("registry")).text();
    if (answer === drawn) return;
    show(JSON.parse(answer));
    drawn = answer;
  } catch (error) {
    drawn = undefined;
    byId("status").textContent = `No answer from the sandbox: ${error.message}`;
  }
}

function show({ registries, count, devices }) {
  document.querySelector("tbody").replaceChildren(...devices.map(row));
  byId("devices").hidden = count === 0;
  byId("empty").hidden = count > 0 || registries === 0;
  byId("status").textContent = summary(registries, count, devices.length);
}

function summary(registries, count, shown) {
  if (registries === 0) return "No registry: no stack in this sandbox has the output DevicesTableName.";
  const number = `${count.toLocaleString("en")} ${count === 1 ? "device" : "devices"}`;
  return count > shown ? `${number} · the page shows the first ${shown}` : number;
}

function row(device) {
  const state = [device.invalid && "invalid", device.opted_out && "opted out"].filter(Boolean);
  const cells = [
    device.device_id,
    device.user_id,
    device.service,
    device.language,
    [device.tags ?? []].flat().join(", "),
    device.seen_at,
    state.join(", "),
    device.token,
    device.application_id,
  ];
  const element = document.createElement("tr");
  element.append(...cells.map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text ?? "";
    return cell;
  }));
  return element;
}

follow();
