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
  const clear = () => { slow.depth.clear(); slow.dropped.clear(); };
  clear();
  showProblem("slow-problem", null);
  stateOfSlow("running");
  try {
    const items = follow(`/slow?${query}`, {
      signal: control.signal,
      headers: credentials,
      onReset: clear,
      onOpen: () => stateOfSlow("running"),
      onWait: ({error}) => show("slow-state", error.message),
    });
    for await (const {data} of items) takeSlow(JSON.parse(data));
    stateOfSlow("ended");
  } catch (error) {
    if (control.signal.aborted) return;
    showProblem("slow-problem", error);
    stateOfSlow("failed");
  } finally {
    if (slow.control === control) slow.control = null;
  }
}

function takeSlow(item) {
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
