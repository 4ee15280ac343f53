// A moving line chart: the newest value at the right, with an optional line for a bound.

const SPAN = 60; // the number of values

class Chart {
  /** `top` is the value at the upper edge; without it, the largest value is. */
  constructor(parent, name, {format = String, top = 0, bound = false, hue = ""} = {}) {
    Object.assign(this, {format, top, values: [], limit: null}); // `limit`: where the bound is drawn
    this.text = element("b", {}, "–");
    this.area = element("polygon", {});
    this.line = element("polyline", {});
    this.bound = element("polyline", {class: "bound"});
    this.svg = element("svg", {viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": name},
      this.area, this.line, ...(bound ? [this.bound] : []));
    const caption = element("figcaption", {}, element("span", {}, name), this.text);
    $(parent).append(element("figure", hue ? {class: hue} : {}, caption, this.svg));
  }

  add(value) {
    this.values = [...this.values, value].slice(-SPAN - 1);
    this.text.textContent = this.format(value);
    this.draw();
  }

  clear() {
    this.values = [];
    this.text.textContent = "–";
    this.draw();
  }

  draw() {
    const top = this.top || Math.max(1e-9, ...this.values) * 1.2;
    const y = (value) => (98 - 94 * Math.min(1, value / top)).toFixed(2);
    const x = (index) => (100 * (SPAN - this.values.length + 1 + index) / SPAN).toFixed(2);
    const points = this.values.map((value, index) => `${x(index)},${y(value)}`);
    this.line.setAttribute("points", points.join(" "));
    this.area.setAttribute("points", points.length ? `${x(0)},100 ${points.join(" ")} 100,100` : "");
    if (this.limit !== null) this.bound.setAttribute("points", `0,${y(this.limit)} 100,${y(this.limit)}`);
  }
}
