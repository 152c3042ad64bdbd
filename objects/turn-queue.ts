// Group commit: mutations that arrive close together run in one turn, so that SQLite commits (and fsyncs) once for all.
// Guarantees: jobs run in order, each atomic (a job that throws leaves nothing); bounded. Must not: run asynchronous jobs.

/** Waiting jobs; more means the object cannot keep up and must say so. */
const MAX_WAITING = 10_000;

export class QueueFull extends Error {
  override readonly name = "QueueFull";
}

interface Job {
  readonly run: () => void;
  readonly fail: (error: unknown) => void;
}

export class TurnQueue {
  readonly #atomically: (run: () => void) => void;
  #waiting: Job[] = [];
  commitsTotal = 0;

  /** `atomically` = the storage's `transactionSync`. */
  constructor(atomically: (run: () => void) => void) {
    this.#atomically = atomically;
  }

  /** Resolves in the turn that wrote; the platform's output gate holds the answer until that is durable. */
  run<T>(job: () => T): Promise<T> {
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(new QueueFull(`${MAX_WAITING} mutations wait`));
    return new Promise<T>((resolve, reject) => {
      if (this.#waiting.length === 0) setTimeout(() => this.#flush(), 0);
      this.#waiting.push({ run: () => resolve(job()), fail: reject });
    });
  }

  /** At once, in the turn that calls. */
  now<T>(job: () => T): T {
    this.commitsTotal++;
    let result: T | undefined;
    this.#atomically(() => {
      result = job();
    });
    return result as T;
  }

  #flush(): void {
    const jobs = this.#waiting;
    this.#waiting = [];
    this.commitsTotal++;
    for (const job of jobs) {
      try {
        this.#atomically(job.run);
      } catch (error) {
        job.fail(error);
      }
    }
  }
}
