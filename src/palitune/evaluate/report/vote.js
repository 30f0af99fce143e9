"use strict";
// Votes on a page of answers. Every sentence is in the page: an element's data-text has names in braces for values.
const LONG = 90; // half-width characters, above which answers stand above each other on a narrow screen
const KEYS = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 3: "both", 4: "neither" };
const at = (id) => document.getElementById(id);
const page = JSON.parse(at("content").textContent);
const records = new Map(page.records.map((record) => [record.id, record]));
const choices = [...document.querySelectorAll("[data-choice]")].map((button) => button.dataset.choice);
const words = at("words").dataset;
let voter = "";
let votes = []; // [record's id, choice], in the order in which they were given

function say(element, values) {
  element.textContent = element.dataset.text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function added(parent, tag, kind, text) {
  const made = document.createElement(tag);
  made.className = kind;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// What a browser keeps for the page: the last voter, and of each voter the votes. Some browsers keep nothing.
const LAST = `palitune votes ${page.page}`;
const keyOf = (name) => `${LAST} ${name}`;

function kept(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(LAST, voter);
    localStorage.setItem(keyOf(voter), JSON.stringify(votes));
  } catch {
    at("unkept").hidden = false;
  }
}

function restore() {
  let found;
  try {
    found = JSON.parse(kept(keyOf(voter)));
  } catch {
    found = null;
  }
  const usable = Array.isArray(found) ? found.filter((vote) => Array.isArray(vote)) : [];
  votes = [...new Map(usable.filter(([id, choice]) => records.has(id) && choices.includes(choice)))];
}

const isOpen = () => !at("votes").hidden && votes.length < records.size;

function current() {
  const done = new Map(votes);
  return page.records.find((record) => !done.has(record.id));
}

const widthOf = (text) => text.replace(/[\u2e80-\uffff]/g, "xx").length;

function showAnswer(parent, answers) {
  parent.replaceChildren();
  for (const [name, text] of answers) {
    const shown = text.trim() ? text : words.nothing;
    added(parent, "div", text.trim() ? "answer" : "answer nothing", name ? `${name}: ${shown}` : shown);
  }
}

function showRecord(record) {
  const asked = at("asked");
  asked.replaceChildren();
  asked.className = record.turns.length > 1 ? "chat" : "";
  for (const turn of record.turns) {
    const parent = added(asked, "div", `turn ${turn.role}`);
    if (record.turns.length > 1) added(parent, "div", "role", words[turn.role]);
    for (const number of turn.images) {
      const image = added(parent, "img", "");
      image.alt = "";
      image.src = page.images[number];
    }
    for (const about of turn.about) added(parent, "div", "about", about);
    if (turn.text) added(parent, "div", "text", turn.text);
  }
  at("same").hidden = !record.same.length;
  say(at("same"), { answers: record.same.map(([name, text]) => `${name}: ${text}`).join(", ") });
  showAnswer(at("left"), record.left);
  showAnswer(at("right"), record.right);
  const isLong = [...record.left, ...record.right].some(([name, text]) => widthOf(name + text) > LONG);
  at("answers").classList.toggle("long", isLong);
  at("choices").classList.toggle("long", isLong);
}

function show() {
  const record = current();
  say(at("done"), { done: votes.length, all: records.size });
  at("bar").value = votes.length;
  at("undo").disabled = !votes.length;
  for (const one of document.querySelectorAll(".save")) one.disabled = !votes.length;
  at("example").hidden = at("choices").hidden = !record;
  at("end").hidden = Boolean(record);
  if (record) showRecord(record);
  at("text").value = file();
  scrollTo(0, 0);
}

function changed() {
  for (const one of document.querySelectorAll(".saved")) one.hidden = true;
  keep();
  show();
}

function vote(choice) {
  votes.push([current().id, choice]);
  changed();
}

function undo() {
  if (votes.pop()) changed();
}

function begin(name) {
  voter = name;
  restore();
  at("start").hidden = true;
  at("votes").hidden = false;
  say(at("voter"), { voter });
  changed();
}

function file() {
  const { format, version, seed } = page;
  const given = { format, version, page: page.page, seed, voter, saved: new Date().toISOString() };
  return JSON.stringify({ ...given, records: [...records.keys()], votes: Object.fromEntries(votes) }, null, 1) + "\n";
}

function save() {
  const safe = voter.replace(/[^\p{L}\p{M}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  const name = ["votes", safe].filter(Boolean).join("-") + ".json";
  const link = added(document.body, "a", "");
  link.href = URL.createObjectURL(new Blob([file()], { type: "application/json" }));
  link.download = name;
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  for (const one of document.querySelectorAll(".saved")) {
    say(one, { count: votes.length, file: name });
    one.hidden = false;
  }
  scrollTo(0, 0);
}

at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("name").value.normalize("NFC").trim().replace(/\s+/g, " ");
  if (name) begin(name);
});
at("other").addEventListener("click", () => {
  at("votes").hidden = true;
  at("start").hidden = false;
  at("name").value = "";
  at("name").focus();
});
at("undo").addEventListener("click", undo);
for (const one of document.querySelectorAll(".save")) one.addEventListener("click", save);
for (const one of document.querySelectorAll("[data-choice]")) {
  // The second click of a double click would be a vote on the next example.
  one.addEventListener("click", (event) => { if (event.detail < 2) vote(one.dataset.choice); });
}
addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
  if (at("votes").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
  if (event.key === "Backspace" || event.key.toLowerCase() === "u") undo();
  else if (KEYS[event.key] && isOpen()) vote(KEYS[event.key]);
  else return;
  event.preventDefault();
});
// The same page in another window.
addEventListener("storage", (event) => {
  if (voter && event.key === keyOf(voter)) {
    restore();
    show();
  }
});

const last = kept(LAST);
if (last) begin(last);
else at("start").hidden = false;
