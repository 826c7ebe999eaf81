// Folded parts: opened before they are printed, and where an address leads into one.
const openAround = (element) => {
  for (let at = element; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
};
window.addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("main details")) if (one.id !== "columns") one.open = true;
});
window.addEventListener("hashchange", () => openAround(document.getElementById(window.location.hash.slice(1))));
