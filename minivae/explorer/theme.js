// Light or dark, before anything is drawn: the reader's choice, or that of the book around this page.
const root = document.documentElement;
let dark = matchMedia("(prefers-color-scheme: dark)"), book = null;          // the body of the page around this one
try {
  if (parent !== window) { root.classList.add("framed"); book = parent.document.body; dark = parent.matchMedia(dark.media); }
} catch { /* a page of another site, which cannot be asked */ }

function chooseTheme() {
  const asked = book?.dataset.theme;
  root.dataset.theme = asked === "dark" || asked === "light" ? asked : dark.matches ? "dark" : "light";
}
chooseTheme();
