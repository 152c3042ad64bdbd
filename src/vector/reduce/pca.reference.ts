// The plain twin of PCA: the eigenvalues of the covariance by Jacobi's rotations, greatest first.

/** Variances along the principal axes of rows, each summed over the rows. */
export function referenceVariances(rows: readonly ArrayLike<number>[], isCentred: boolean): number[] {
  const d = rows[0]!.length;
  const mean = Array.from({ length: d }, (_, i) =>
    isCentred ? rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length : 0,
  );
  const a = Array.from({ length: d }, (_, i) =>
    Array.from({ length: d }, (_unused, j) =>
      rows.reduce((sum, row) => sum + (row[i]! - mean[i]!) * (row[j]! - mean[j]!), 0),
    ),
  );
  for (let sweep = 0; sweep < 30; sweep++) for (let p = 0; p < d; p++) for (let q = p + 1; q < d; q++) rotate(a, p, q);
  return a.map((row, i) => row[i]!).sort((x, y) => y - x);
}

function rotate(a: number[][], p: number, q: number): void {
  if (Math.abs(a[p]![q]!) < 1e-12) return;
  const theta = (a[q]![q]! - a[p]![p]!) / (2 * a[p]![q]!);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (const row of a) [row[p], row[q]] = [c * row[p]! - s * row[q]!, s * row[p]! + c * row[q]!];
  const [rowP, rowQ] = [[...a[p]!], [...a[q]!]];
  for (let i = 0; i < a.length; i++) {
    a[p]![i] = c * rowP[i]! - s * rowQ[i]!;
    a[q]![i] = s * rowP[i]! + c * rowQ[i]!;
  }
}
