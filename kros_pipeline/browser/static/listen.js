"use strict";
// The page works without this file: the player, links and forms are plain HTML. It adds keys, the waveform and seeking.
(() => {
  const find = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const say = (text) => { find("#spoken").textContent = text; };

  // What htmx asks for and does not get: the page stays as it is, with what was typed, and says why.
  const report = (text) => { find("#problem").textContent = text; find("#problem").hidden = !text; };
  document.addEventListener("htmx:beforeRequest", () => report(""));
  document.addEventListener("htmx:sendError", () => report("The page does not answer. Is it still running?"));
  document.addEventListener("htmx:responseError", (event) => {
    const answer = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    report((answer.querySelector("#message") || answer.body).textContent.trim());
  });

  // On a phone the results come first.
  const more = find("#more");
  if (more && window.matchMedia("(max-width: 720px)").matches) more.open = false;

  // Rows: j and k move through calls, days or turns.
  let current = null;
  const rows = () => all("[data-row]");
  function moveTo(row, focus = true) {
    if (!row) return;
    if (current) current.classList.remove("current");
    current = row;
    row.classList.add("current");
    if (!focus) return;
    row.scrollIntoView({ block: "nearest" });
    const target = row.matches("a, button") ? row : row.querySelector("a.call, .seek, a");
    if (target) target.focus({ preventScroll: true });
  }
  function step(by) {
    const list = rows();
    const at = current ? list.indexOf(current) : -1;
    moveTo(list[Math.min(Math.max(at < 0 ? (by > 0 ? 0 : list.length - 1) : at + by, 0), list.length - 1)]);
  }

  // A call that was opened from a list (of a search, of a sample) has its neighbours there, not those of the day.
  document.addEventListener("click", (event) => {
    if (!event.target.closest("ol.calls a")) return;
    const next = find('#results a[rel="next"]');
    const calls = all("ol.calls a.call").map((link) => link.getAttribute("href"));
    const list = { at: location.pathname + location.search, calls, next: next && next.getAttribute("href") };
    try { sessionStorage.setItem("list", JSON.stringify(list)); } catch { /* the neighbours of the day stay */ }
  }, true);
  function listOfThisTab() {
    try { return JSON.parse(sessionStorage.getItem("list")); } catch { return null; }
  }
  function lead(link, href, title) {
    link.hidden = !href;
    if (href) link.href = href; else link.removeAttribute("href"); // a key would follow it
    link.title = title;
  }
  if (find("#place")) {
    const list = listOfThisTab();
    const at = list ? list.calls.findIndex((href) => new URL(href, location.href).pathname === location.pathname) : -1;
    if (at >= 0) {
      find("#place").textContent = `${at + 1} of ${list.calls.length} on this page`;
      find("#place").title = "Place in the list that the call was opened from";
      find("#back").href = list.at;
      if (list.at.startsWith("/sample")) find("#back").textContent = "← Sample";
      lead(find("#previous-call"), list.calls[at - 1], "Previous call of the list");
      lead(find("#next-call"), list.calls[at + 1] || list.next, list.calls[at + 1] ? "Next call of the list" : "Next page of the list");
    }
  }

  // The player.
  const audio = find("#audio");
  const jump = (by) => { if (audio) audio.currentTime = Math.max(0, audio.currentTime + by); };
  const turns = all(".turn[data-seconds]");
  const usesEstimates = () => { const box = find("#estimates"); return !box || box.checked; };
  const usable = (turn) => usesEstimates() || !("estimate" in turn.dataset);
  const secondsOf = (turn) => Number(turn.dataset.seconds);
  // Nothing is loaded before somebody plays: what is loaded counts as played in the audit log.
  const length = () => (audio && (audio.duration || Number(audio.dataset.duration))) || 0;
  function seek(seconds, plays) {
    if (!audio) return;
    audio.currentTime = seconds;
    draw();
    if (plays) audio.play().catch(() => {});
  }
  function playTurn(turn) {
    if (turn && turn.dataset.seconds !== undefined && usable(turn)) seek(secondsOf(turn), true);
  }
  const speeds = () => [...find("#speed").options].map((option) => Number(option.value));
  function changeSpeed(by) {
    const choice = find("#speed");
    if (!choice) return;
    const at = Math.min(Math.max(choice.selectedIndex + by, 0), speeds().length - 1);
    choice.selectedIndex = at;
    audio.playbackRate = speeds()[at];
    say(`Speed ${speeds()[at]}`);
  }

  // The waveform: the loudest sample of each part.
  const wave = find("#wave");
  let peaks = [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  function draw() {
    if (audio) find("#at").textContent = clock(audio.currentTime);
    if (!wave || !peaks.length) return;
    const ratio = window.devicePixelRatio || 1;
    const width = wave.clientWidth, height = wave.clientHeight;
    wave.width = width * ratio;
    wave.height = height * ratio;
    const pen = wave.getContext("2d");
    pen.scale(ratio, ratio);
    const bars = Math.max(1, Math.floor(width / 3));
    const part = length() ? audio.currentTime / length() : 0;
    const loudest = Math.max(...peaks, 1);
    for (let bar = 0; bar < bars; bar += 1) {
      const begin = Math.floor((bar * peaks.length) / bars);
      const end = Math.max(begin + 1, Math.floor(((bar + 1) * peaks.length) / bars));
      const high = Math.max(2, (Math.max(...peaks.slice(begin, end)) / loudest) * (height - 8));
      pen.fillStyle = bar / bars < part ? colour("--played") : colour("--wave");
      pen.fillRect(bar * 3, (height - high) / 2, 2, high);
    }
  }
  if (wave) {
    fetch(wave.dataset.peaks).then((answer) => (answer.ok ? answer.json() : { peaks: [] })).then((found) => {
      peaks = found.peaks;
      wave.classList.toggle("empty-wave", !peaks.length);
      wave.dataset.ready = String(peaks.length);
      draw();
    }).catch(() => wave.classList.add("empty-wave"));
    wave.addEventListener("click", (event) => {
      if (length()) seek((event.offsetX / wave.clientWidth) * length(), !audio.paused);
    });
    window.addEventListener("resize", draw);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }

  if (audio) {
    audio.addEventListener("timeupdate", () => {
      draw();
      let playing = null;
      for (const turn of turns) if (usable(turn) && secondsOf(turn) <= audio.currentTime + 0.05) playing = turn;
      for (const turn of all(".turn.playing")) if (turn !== playing) turn.classList.remove("playing");
      if (playing && !audio.paused) playing.classList.add("playing");
    });
    audio.addEventListener("error", () => {
      const problem = find("#audio-problem");
      problem.hidden = false;
      problem.textContent = "The recording cannot be played.";
      fetch(audio.src, { headers: { Range: "bytes=0-0" } }).then(async (answer) => {
        if (!answer.ok) problem.textContent = (await answer.text()).trim() || problem.textContent;
        else problem.textContent = "This browser cannot decode the recording. Save it, and play it with another program.";
      }).catch(() => { problem.textContent = "The page does not answer. Is it still running?"; });
    });
    find("#speed").addEventListener("change", (event) => { audio.playbackRate = Number(event.target.value); });
    const estimates = find("#estimates");
    if (estimates) estimates.addEventListener("change", () => {
      document.body.classList.toggle("no-estimates", !estimates.checked);
    });
    find("#copy-link").addEventListener("click", copyLink);
    for (const button of all("[data-jump]")) button.addEventListener("click", () => jump(Number(button.dataset.jump)));
  }
  function confirmCopy(text) {
    say(text);
    find("#copied").textContent = text;
    setTimeout(() => { find("#copied").textContent = ""; }, 4000);
  }
  function copyLink() {
    const link = new URL(location.href);
    link.hash = `t=${audio ? audio.currentTime.toFixed(1) : 0}`;
    history.replaceState(null, "", link.hash);
    const copied = navigator.clipboard ? navigator.clipboard.writeText(link.href) : Promise.reject();
    copied.then(() => confirmCopy("Link copied"), () => confirmCopy("The address has the link"));
  }

  // Permalinks: #turn-12 and #t=63.5.
  const namedTurn = () => (/^#turn-\d+$/.test(location.hash) ? find(location.hash) : null);
  function show(turn) {
    if (turn.getBoundingClientRect().bottom + window.scrollY < window.innerHeight) window.scrollTo(0, 0);
    else turn.scrollIntoView({ block: "center" });
  }
  // The browser scrolls to the turn itself when the page has loaded, below the player.
  window.addEventListener("load", () => requestAnimationFrame(() => { if (namedTurn()) show(namedTurn()); }));
  function follow() {
    const second = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);
    if (second) seek(Number(second[1]), false);
    const turn = namedTurn();
    if (turn) {
      moveTo(turn, false);
      show(turn);
      if (turn.dataset.seconds !== undefined && usable(turn)) seek(secondsOf(turn), false);
    }
  }
  window.addEventListener("hashchange", follow);
  follow();

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".seek");
    if (button) { moveTo(button.closest(".turn"), false); playTurn(button.closest(".turn")); }
    else if (event.target.closest("#show-keys")) find("#keys").showModal();
  });

  // A closed dialog has the focus for a moment: a key that is pressed then is meant for the page.
  const isTyping = (element) => element.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, dialog[open]");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape" && !event.target.closest("dialog")) {
        event.preventDefault(); // a search box would be cleared, and searched anew
        event.target.blur();
      }
      return;
    }
    const onControl = event.target.closest("button, a, summary, audio, input, label");
    const actions = {
      "/": () => { const box = find("#search"); if (box) { box.focus(); box.select(); } else location.href = "/calls"; },
      "?": () => find("#keys").showModal(),
      j: () => step(1),
      k: () => step(-1),
      ArrowLeft: () => jump(-5),
      ArrowRight: () => jump(5),
      "[": () => changeSpeed(-1),
      "]": () => changeSpeed(1),
      c: () => audio && copyLink(),
      r: () => { const choice = find("#reviews input"); if (choice) { choice.focus(); choice.scrollIntoView({ block: "center" }); } },
      n: () => { const link = find("#next-call"); if (link) link.click(); },
      p: () => { const link = find("#previous-call"); if (link) link.click(); },
      " ": () => { if (audio) { if (audio.paused) audio.play().catch(() => {}); else audio.pause(); } },
      Enter: () => { if (current && current.classList.contains("turn")) playTurn(current); },
    };
    if (!(event.key in actions)) return;
    if ((event.key === "Enter" || event.key === " ") && onControl) return;
    if (event.key.startsWith("Arrow") && event.target.matches("input, audio")) return;
    if ((event.key === " " || event.key.startsWith("Arrow")) && !audio) return;
    event.preventDefault();
    actions[event.key]();
  });
})();
