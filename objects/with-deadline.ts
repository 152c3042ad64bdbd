// A time limit for one call to another object. The call itself cannot be cancelled: its outcome is unknown after the limit.

export class DeadlineExceeded extends Error {
  override readonly name = "DeadlineExceeded";
}

export async function withDeadline<T>(call: Promise<T>, limitMs: number, target: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineExceeded(`${target} did not answer within ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}
