// Draws the page of `pagepool-stress --report`. Its data is in the element #data: the report, and for each phase a
// recording. All text comes in as text nodes.
//
// The files of this folder are the body of one function, in this order: data, words, figures, plot, plots, film, map,
// page. Here: the data, and what is done about errors.

const errors = [];
const sayErrors = () => {
  document.body.dataset.errors = String(errors.length);
  if (errors.length) {
    const verdict = document.getElementById("verdict");
    verdict.textContent = "This page could not be drawn as a whole: " + errors.join("; ") + ". The figures are in report.json.";
    verdict.className = "violation";
  }
};
window.addEventListener("error", (event) => { errors.push(event.message); sayErrors(); });

const data = JSON.parse(document.getElementById("data").textContent);
const { report, recordings } = data;
