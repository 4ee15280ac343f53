"use strict";
// A slow consumer: the service reads a bounded buffer at the requested rate. The charts show its depth.

const slow = {
  control: null,
  depth: new Chart("slow-charts", "Items waiting in the buffer", {bound: true}),
  dropped: new Chart("slow-charts", "Items dropped", {}),
};

async function watchSlow() {
  slow.control?.abort();
  const control = slow.control = new AbortController();
  const size = Number($("slow-size").value);
  const query = new URLSearchParams({
    produce: $("slow-produce").value, drain: $("slow-drain").value, size,
    policy: $("slow-policy").value, seconds: 300,
  });
  [slow.depth.top, slow.depth.limit] = [size * 1.25, size];
  slow.depth.clear();
  slow.dropped.clear();
  showProblem("slow-problem", null);
  stateOfSlow("running");
  try {
    const retries = new Retries((text) => { if (text) show("slow-state", text); });
    const options = {headers: {Accept: "text/event-stream"}, signal: control.signal};
    const response = await fetchWithRetries(retries, `/slow?${query}`, options);
    if (!response.ok) throw await Failure.ofResponse(response);
    stateOfSlow("running");
    for await (const frame of readEvents(response)) takeSlow(frame);
    stateOfSlow("ended");
  } catch (error) {
    if (control.signal.aborted) return;
    showProblem("slow-problem", error instanceof Failure ? error : new Failure("The stream was interrupted", error.message));
    stateOfSlow("failed");
  } finally {
    if (slow.control === control) slow.control = null;
  }
}

function takeSlow(frame) {
  if (frame.event === "error") throw Failure.of(JSON.parse(frame.data));
  if (frame.data === undefined || frame.event) return;
  const item = JSON.parse(frame.data);
  slow.depth.add(item.waiting);
  slow.dropped.add(item.dropped);
  show("slow-produced", item.produced);
  show("slow-delivered", item.delivered);
  show("slow-waiting", item.waiting);
  show("slow-dropped", item.dropped);
  show("slow-producer", item.paused ? "paused" : "running");
}

function stateOfSlow(state) {
  show("slow-state", state);
  $("slow-stop").disabled = state !== "running";
}

$("slow").addEventListener("submit", (event) => { event.preventDefault(); watchSlow(); });
$("slow-stop").addEventListener("click", () => { slow.control?.abort(); stateOfSlow("stopped"); });
// A changed value restarts the stream at once.
for (const id of ["slow-produce", "slow-drain", "slow-size", "slow-policy"])
  $(id).addEventListener("change", () => { if (slow.control && $("slow").reportValidity()) watchSlow(); });
