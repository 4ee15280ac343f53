"use strict";
// Retries: after Retry-After, else with exponential backoff; a limited number of times.

class Retries {
  /** `show(text)` shows why and how long the page waits; an empty text ends it. */
  constructor(show, tries = 6) {
    this.show = show;
    this.tries = tries;
    this.failed = 0;
    this.wake = () => {};
  }

  /** Something has arrived: start counting again. */
  progress() {
    this.failed = 0;
  }

  /** Wait before the next try, for `seconds` or with backoff. Throws `failure` after the last. */
  async wait(why, seconds, failure = new Failure("No answer", why)) {
    this.failed += 1;
    if (this.failed >= this.tries) throw failure;
    const longest = 0.4 * 2 ** this.failed;
    const pause = seconds ?? longest * (0.5 + Math.random() / 2);
    const until = now() + 1000 * pause;
    let hurried = false;
    const hurry = new Promise((resolve) => { this.wake = () => { hurried = true; resolve(); }; });
    for (let left; !hurried && (left = until - now()) > 0;) {
      this.show(`${why}. Try ${this.failed + 1} of ${this.tries} in ${(left / 1000).toFixed(1)} s`);
      await Promise.race([hurry, new Promise((resolve) => setTimeout(resolve, Math.min(100, left)))]);
    }
    this.show("");
  }

  /** End the current pause. */
  retryNow() {
    this.wake();
  }
}

/** The seconds of Retry-After, which may be a date; undefined without the header. */
function retryAfter(response) {
  const said = response.headers.get("Retry-After");
  if (said === null) return undefined;
  const seconds = /^\d+$/.test(said) ? Number(said) : (Date.parse(said) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}

/** A fetch that is repeated while the service does not answer, or refuses with 429 or 503. */
async function fetchWithRetries(retries, path, options) {
  for (;;) {
    let response;
    try {
      // With the cache, a second request for the same URL would wait for the first.
      response = await fetch(path, {...options, cache: "no-store"});
    } catch (error) {
      if (options.signal.aborted) throw error;
      await retries.wait("The service does not answer");
      options.signal.throwIfAborted();
      continue;
    }
    if (response.status !== 429 && response.status !== 503) return response;
    const failure = await Failure.ofResponse(response);
    await retries.wait(`Refused for now (${response.status})`, retryAfter(response), failure);
    options.signal.throwIfAborted();
  }
}
