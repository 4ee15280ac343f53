"use strict";
// The live feed: a plain EventSource. It reconnects by itself, except after a refusal.

const FEED = {
  cpu_percent: new Chart("charts", "Processors", {format: (value) => `${value.toFixed(0)} %`, top: 100}),
  memory_percent: new Chart("charts", "Memory", {format: (value) => `${value.toFixed(0)} %`, top: 100}),
  load: new Chart("charts", "Load", {format: (value) => value.toFixed(2)}),
  network_received_bytes_per_second:
    new Chart("charts", "Received", {format: (value) => `${(value / 1024).toFixed(1)} kB/s`}),
};
const feed = {source: null, paused: false, events: 0, again: 0};

function openFeed() {
  clearTimeout(feed.again);
  const source = feed.source = new EventSource("/events");
  show("feed-state", feed.events ? "reconnecting" : "connecting");
  source.onopen = () => show("feed-state", "connected");
  source.onerror = () => {
    show("feed-state", "reconnecting");
    if (source.readyState !== EventSource.CLOSED) return; // it reconnects by itself
    feed.again = setTimeout(openFeed, 3000); // it was refused
  };
  source.onmessage = (event) => {
    const sample = JSON.parse(event.data);
    sample.load = sample.load_average[0];
    show("feed-events", feed.events += 1);
    for (const [key, chart] of Object.entries(FEED)) chart.add(sample[key]);
  };
}

function closeFeed(state) {
  clearTimeout(feed.again);
  feed.source.close();
  show("feed-state", state);
}

$("feed-toggle").addEventListener("click", (event) => {
  feed.paused = !feed.paused;
  if (feed.paused) closeFeed("paused"); else openFeed();
  event.target.textContent = feed.paused ? "Resume" : "Pause";
});
// A browser opens six connections to a host: a hidden page should use none for the feed.
document.addEventListener("visibilitychange", () => {
  if (feed.paused) return;
  if (document.hidden) closeFeed("paused while hidden"); else openFeed();
});
openFeed();
