
(() => {
  const places = [...document.querySelectorAll(".plot")];
  const plots = JSON.parse(document.getElementById("plots").textContent);
  // A finger that drags over a plot scrolls the page.
  const drag = matchMedia("(pointer: coarse)").matches ? { dragmode: false } : {};
  const config = { responsive: true, displayModeBar: false };
  const drawn = places.map((place, at) =>
    Plotly.newPlot(place, plots[at].data, { ...plots[at].layout, ...drag }, config));
  Promise.all(drawn).then(() => { document.documentElement.dataset.drawn = places.length; });
  const paper = 680;
  addEventListener("beforeprint", () => places.forEach((place) =>
    Plotly.relayout(place, { width: place.closest(".columns") ? paper / 2 - 14 : paper })));
  addEventListener("afterprint", () => places.forEach((place) => Plotly.relayout(place, { width: null, autosize: true })));
})();
