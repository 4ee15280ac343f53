// The live feed. It reconnects for as long as the page is open.

const FEED = {
  cpu_percent: new Chart("charts", "Processors", {format: (value) => `${value.toFixed(0)} %`, top: 100}),
  memory_percent: new Chart("charts", "Memory", {format: (value) => `${value.toFixed(0)} %`, top: 100}),
  load: new Chart("charts", "Load", {format: (value) => value.toFixed(2)}),
  network_received_bytes_per_second:
    new Chart("charts", "Received", {format: (value) => `${(value / 1024).toFixed(1)} kB/s`}),
};
const feed = {control: null, paused: false, events: 0};

async function openFeed() {
  const {signal} = feed.control = new AbortController();
  show("feed-state", feed.events ? "reconnecting" : "connecting");
  const samples = follow("/events", {
    signal,
    headers: credentials,
    attempts: Infinity,
    maxWait: 3000,
    onOpen: () => show("feed-state", "connected"),
    onWait: () => show("feed-state", "reconnecting"),
    onReset: () => {}, // what came before has been drawn
  });
  try {
    for await (const {data} of samples) {
      const sample = JSON.parse(data);
      sample.load = sample.load_average[0];
      show("feed-events", feed.events += 1);
      for (const [key, chart] of Object.entries(FEED)) chart.add(sample[key]);
    }
  } catch (error) {
    if (signal.aborted) return;
    show("feed-state", error.message);
    askForKey(error);
  }
}

function closeFeed(state) {
  feed.control.abort();
  show("feed-state", state);
}

$("feed-toggle").addEventListener("click", (event) => {
  feed.paused = !feed.paused;
  if (feed.paused) closeFeed("paused"); else openFeed();
  event.target.textContent = feed.paused ? "Resume" : "Pause";
});
$("key").addEventListener("change", () => { if (!feed.paused && !document.hidden) { feed.control.abort(); openFeed(); } });
// A browser opens six connections to a host: a hidden page should use none for the feed.
document.addEventListener("visibilitychange", () => {
  if (feed.paused) return;
  if (document.hidden) closeFeed("paused while hidden"); else openFeed();
});
openFeed();
