// A page with one table: it fetches the rows once a second, and draws them if they changed.
//
// All content is inserted as text, never as markup.
"use strict";

const PAUSE = 1000; // milliseconds between two requests

const byId = (id) => document.getElementById(id);
let drawn; // the answer that the page shows

async function follow(path, show) {
  for (;;) {
    if (!document.hidden) await update(path, show);
    await new Promise((resume) => setTimeout(resume, PAUSE));
  }
}

async function update(path, show) {
  try {
    const answer = await (await fetch(path)).text();
    if (answer === drawn) return;
    show(JSON.parse(answer));
    drawn = answer;
  } catch (error) {
    drawn = undefined;
    byId("status").textContent = `No answer from the sandbox: ${error.message}`;
  }
}

function fill(rows, count, isUsed = true) {
  document.querySelector("tbody").replaceChildren(...rows.map(row));
  byId("rows").hidden = count === 0;
  byId("empty").hidden = count > 0 || !isUsed;
}

function counted(count, noun, shown) {
  const number = `${count.toLocaleString("en")} ${count === 1 ? noun : `${noun}s`}`;
  return count > shown ? `${number} · the page shows the first ${shown}` : number;
}

function row(cells) {
  const element = document.createElement("tr");
  element.append(...cells.map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text ?? "";
    return cell;
  }));
  return element;
}
