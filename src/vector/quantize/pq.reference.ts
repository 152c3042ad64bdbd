// The plain twin of product quantization: nearest centres, and the distance to them, in float64.

/** Number of the nearest centre of each group; `centres` are 16 × `width` values a group. */
export function referenceProducts(row: ArrayLike<number>, centres: ArrayLike<number>, width: number): number[] {
  return Array.from({ length: row.length / width }, (_, group) => {
    const distances = distancesOf(row, centres, width, group);
    return distances.indexOf(Math.min(...distances));
  });
}

/** Squared distance of a query to the centres of a code. */
export function referenceProductDistance(
  query: ArrayLike<number>,
  codes: readonly number[],
  centres: ArrayLike<number>,
  width: number,
): number {
  return codes.reduce((sum, code, group) => sum + distancesOf(query, centres, width, group)[code]!, 0);
}

function distancesOf(values: ArrayLike<number>, centres: ArrayLike<number>, width: number, group: number): number[] {
  return Array.from({ length: 16 }, (_, centre) => {
    let sum = 0;
    for (let i = 0; i < width; i++)
      sum += (values[group * width + i]! - centres[(group * 16 + centre) * width + i]!) ** 2;
    return sum;
  });
}
