"use strict";
(() => {
  const SHOWN = 5, AT_ONCE = 4;
  const $ = (id) => document.getElementById(id);
  const waiting = [];
  let models = [], explains = false, token = "", running = 0, total = 0, answered = 0;

  function element(tag, name, text) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function percent(value) {
    if (value < 1 && value > 0.9995) return "> 99.9%";
    if (value > 0 && value < 0.0005) return "< 0.1%";
    return (100 * value).toFixed(1) + "%";
  }

  async function ask(path, options = {}) {
    const headers = {...options.headers};
    if (token) headers.Authorization = "Bearer " + token;
    let response;
    try {
      response = await fetch(path, {...options, headers});
    } catch {
      throw new Error("the server cannot be reached");
    }
    if (response.ok) return response;
    if (response.status === 401) $("access").hidden = false;
    const value = await response.json().catch(() => ({}));
    const error = new Error(value.error ? value.error + (value.hint ? "; " + value.hint : "")
      : "the server answered " + response.status);
    error.status = response.status;
    error.seconds = Number(response.headers.get("Retry-After")) || 1;
    throw error;
  }

  // A server that is busy says when to come back.
  async function askUntilFree(path, options) {
    for (let tries = 0; ; tries++) {
      try {
        return await ask(path, options);
      } catch (error) {
        if (error.status !== 503 || tries === 5) throw error;
        await new Promise((done) => setTimeout(done, 1000 * Math.min(error.seconds, 10)));
      }
    }
  }

  function model() {
    return models.find((entry) => entry.name === $("model").value);
  }

  function address(action) {
    return "/v1/models/" + encodeURIComponent(model().name) + ":" + action;
  }

  function describe() {
    const entry = model();
    if (!entry) return;
    const names = entry.classes.slice(0, 12).join(", ") + (entry.classes.length > 12 ? ", …" : "");
    const unsure = entry.threshold === null ? "" :
      ` Below ${percent(entry.threshold)} the answer is “unsure”.`;
    $("facts").textContent = `${entry.run} tells ${entry.classes.length} classes apart: ${names}.${unsure}`;
  }

  async function start() {
    try {
      const value = await (await ask("/v1/models")).json();
      models = value.models;
      explains = value.explain;
    } catch (error) {
      $("status").textContent = error.message;
      if (error.status === 401) $("token").focus();
      return;
    }
    $("access").hidden = true;
    $("status").textContent = "";
    $("model").replaceChildren(...models.map((entry) => {
      const option = element("option", "", entry.name);
      option.value = entry.name;
      return option;
    }));
    $("choice").hidden = models.length < 2;
    describe();
  }

  function add(files) {
    if (!model() || !files.length) return;
    for (const file of files) {
      const card = element("li", "card");
      const picture = element("div", "picture");
      const image = element("img");
      image.alt = "";
      image.src = URL.createObjectURL(file);
      image.onerror = () => picture.replaceChildren(element("p", "", "no preview in this browser"));
      picture.append(image);
      const text = element("div", "text");
      text.append(element("p", "label soft", "…"), element("p", "name", file.name));
      card.append(picture, text);
      $("results").append(card);
      waiting.push({file, card, picture, text});
      total++;
    }
    $("clear").hidden = false;
    report();
    while (running < AT_ONCE && waiting.length) work();
  }

  function report() {
    $("status").textContent = answered === total
      ? `${total} ${total === 1 ? "photo" : "photos"} answered`
      : `${answered} of ${total} photos answered`;
  }

  async function work() {
    running++;
    for (let item; (item = waiting.shift());) {
      const path = address("predict") + "?top=" + SHOWN;
      try {
        const options = {method: "POST", body: item.file, headers: {"Content-Type": "application/octet-stream"}};
        show(item, await (await askUntilFree(path, options)).json());
      } catch (error) {
        item.text.replaceChildren(element("p", "error", error.message), element("p", "name", item.file.name));
      }
      answered++;
      report();
    }
    running--;
  }

  function show(item, answer) {
    const title = element("p", answer.unsure ? "label unsure" : "label");
    title.textContent = answer.unsure ? `unsure: ${answer.label}?` : answer.label;
    const list = element("ol", "classes");
    for (const entry of answer.top) {
      const row = element("li");
      const bar = element("progress");
      bar.value = entry.probability;
      bar.setAttribute("aria-hidden", "true");
      row.append(element("span", "", entry.label), element("span", "p", percent(entry.probability)), bar);
      list.append(row);
    }
    const name = item.file.name + (answer.seen_in_training ? " · was in the training set" : "");
    item.text.replaceChildren(title, element("p", "name", name), list);
    if (explains) item.text.append(heatButton(item, answer.label));
  }

  function heatButton(item, label) {
    const button = element("button", "", "Show where");
    const photo = item.picture.firstElementChild;
    const path = address("explain") + "?class=" + encodeURIComponent(label);
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    let heat = null;
    button.onclick = async () => {
      if (!heat) {
        button.disabled = true;
        button.textContent = "Looking … the first takes a few seconds";
        try {
          const options = {method: "POST", body: item.file, headers: {"Content-Type": "application/octet-stream"}};
          const png = await (await askUntilFree(path, options)).blob();
          heat = element("img");
          heat.alt = `Heat map: what speaks for ${label}`;
          heat.src = URL.createObjectURL(png);
        } catch (error) {
          button.textContent = error.message;
          return;
        }
        button.disabled = false;
        button.focus();
      }
      const shown = button.getAttribute("aria-pressed") === "true";
      item.picture.replaceChildren(shown ? photo : heat);
      button.setAttribute("aria-pressed", String(!shown));
      button.textContent = shown ? "Show where" : "Show the photo";
    };
    return button;
  }

  function clear() {
    waiting.length = 0;
    for (const image of document.querySelectorAll(".card img")) URL.revokeObjectURL(image.src);
    $("results").replaceChildren();
    total = answered = 0;
    $("clear").hidden = true;
    $("status").textContent = "";
    $("files").focus();
  }

  $("files").addEventListener("change", () => { add([...$("files").files]); $("files").value = ""; });
  $("model").addEventListener("change", describe);
  $("clear").addEventListener("click", clear);
  $("use-token").addEventListener("click", () => { token = $("token").value.trim(); start(); });
  $("token").addEventListener("keydown", (event) => { if (event.key === "Enter") $("use-token").click(); });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("drop").classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => add([...event.clipboardData.files]));
  start();
})();
