"use strict";
// Trying again: as the service says by Retry-After, else after longer and longer pauses; not for ever.

class Patience {
  /** `tell(text)` shows what is waited for, and an empty text when that is over. */
  constructor(tell, tries = 6) {
    this.tell = tell;
    this.tries = tries;
    this.failed = 0;
    this.wake = () => {};
  }

  /** Something has come: the tries begin anew. */
  progress() {
    this.failed = 0;
  }

  /** Wait before the next try, by `seconds` or longer each time. Throws `failure` after the last. */
  async wait(why, seconds, failure = new Failure("Nobody answers", why)) {
    this.failed += 1;
    if (this.failed >= this.tries) throw failure;
    const longest = 0.4 * 2 ** this.failed;
    const pause = seconds ?? longest * (0.5 + Math.random() / 2);
    const until = now() + 1000 * pause;
    let hurried = false;
    const hurry = new Promise((resolve) => { this.wake = () => { hurried = true; resolve(); }; });
    for (let left; !hurried && (left = until - now()) > 0;) {
      this.tell(`${why}. Try ${this.failed + 1} of ${this.tries} in ${(left / 1000).toFixed(1)} s`);
      await Promise.race([hurry, new Promise((resolve) => setTimeout(resolve, Math.min(100, left)))]);
    }
    this.tell("");
  }

  /** Wait no longer. */
  hurry() {
    this.wake();
  }
}

/** The seconds of a Retry-After, which may be a date; undefined without one. */
function retryAfter(response) {
  const said = response.headers.get("Retry-After");
  if (said === null) return undefined;
  const seconds = /^\d+$/.test(said) ? Number(said) : (Date.parse(said) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}

/** A fetch that is made again while it is refused for now, or while nobody answers. */
async function patiently(patience, path, options) {
  for (;;) {
    let response;
    try {
      // For the cache one URL is one answer, and the second of two would wait for the first.
      response = await fetch(path, {...options, cache: "no-store"});
    } catch (error) {
      if (options.signal.aborted) throw error;
      await patience.wait("The service does not answer");
      options.signal.throwIfAborted();
      continue;
    }
    if (response.status !== 429 && response.status !== 503) return response;
    const failure = await Failure.ofResponse(response);
    await patience.wait(`Refused for now (${response.status})`, retryAfter(response), failure);
    options.signal.throwIfAborted();
  }
}
