"use strict";
// The console works without this file. What is here saves a click or a page load.

const live = document.getElementById("live");

// Said anew even when it is what was said before.
function say(words) {
  if (!live) return;
  live.textContent = "";
  setTimeout(() => { live.textContent = words; }, 50);
}

// What went wrong is read first.
document.querySelector('#errors, #outcome[role="alert"]')?.focus();

// <button data-copy="id" hidden>: copies the text or the value of #id.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  const label = button.textContent;
  let timer;
  button.hidden = false;
  button.addEventListener("click", async () => {
    let word = "Copied";
    try {
      await navigator.clipboard.writeText("value" in source ? source.value : source.textContent.trim());
    } catch {
      // The browser refused: what is selected can be copied by hand.
      word = "Selected";
      if ("select" in source) source.select(); else getSelection().selectAllChildren(source);
    }
    button.textContent = word;
    say(word);
    clearTimeout(timer);
    timer = setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// <form data-preview="/path">: shows in #preview what the server makes of the fields, as they are typed. Passwords stay here.
for (const form of document.querySelectorAll("form[data-preview]")) {
  const place = document.getElementById("preview");
  if (!place) continue;
  let timer, request;
  const preview = async () => {
    request?.abort();
    request = new AbortController();
    const fields = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      const control = form.elements.namedItem(name);
      if (typeof value === "string" && !(control instanceof HTMLInputElement && control.type === "password")) fields.append(name, value);
    }
    try {
      const answer = await fetch(form.dataset.preview, { method: "POST", body: fields, credentials: "same-origin", redirect: "error", signal: request.signal });
      if (!answer.ok || !(answer.headers.get("content-type") ?? "").startsWith("text/html")) return;
      const fragment = new DOMParser().parseFromString(await answer.text(), "text/html");
      place.replaceChildren(...fragment.body.childNodes);
    } catch {
      // A newer request took its place, or the server is away: the last preview stays.
    }
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(preview, 300);
  };
  form.addEventListener("input", later);
  form.addEventListener("change", later);
}

// A form that is on its way is not sent twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  // Not form.method: a field of that name hides it.
  if (event.defaultPrevented || form.getAttribute("method") !== "post") return;
  // After the browser has gathered the fields: a disabled button would be left out.
  setTimeout(() => {
    for (const button of form.querySelectorAll("button:not([type=button])")) {
      button.disabled = true;
      button.dataset.sent = "";
    }
  });
});
// Back from another page the browser may show this one as it was left.
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[data-sent]")) {
    button.disabled = false;
    delete button.dataset.sent;
  }
});
