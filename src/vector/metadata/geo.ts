// Distances on the earth, and the grid cells that a circle touches.
import type { Point } from "./values.ts";

/** Mean radius (IUGG), as haversine formulas use it. Metres. */
const EARTH_RADIUS_METERS = 6_371_008.8;
const RADIANS = Math.PI / 180;
/** A cell is a quarter of a degree: 28 km at the equator. */
const CELLS_A_DEGREE = 4;
const ROWS_OF_CELLS = 180 * CELLS_A_DEGREE + 1;
const CELLS_A_ROW = 360 * CELLS_A_DEGREE;
/** Above so many cells it is cheaper to look at every point. */
const MOST_CELLS = 4096;

/** Great-circle distance by the haversine formula. Metres. */
export function distanceMeters(a: Point, b: Point): number {
  const halfLat = Math.sin(((b.lat - a.lat) * RADIANS) / 2);
  const halfLon = Math.sin(((b.lon - a.lon) * RADIANS) / 2);
  const chord = halfLat ** 2 + Math.cos(a.lat * RADIANS) * Math.cos(b.lat * RADIANS) * halfLon ** 2;
  return 2 * EARTH_RADIUS_METERS * Math.asin(Math.min(1, Math.sqrt(chord)));
}

export function cellOf({ lat, lon }: Point): number {
  return rowOf(lat) * CELLS_A_ROW + columnOf(lon);
}

function rowOf(lat: number): number {
  return Math.min(ROWS_OF_CELLS - 1, Math.floor((lat + 90) * CELLS_A_DEGREE));
}

/** ±180° are one meridian. */
function columnOf(lon: number): number {
  return Math.floor((lon + 180) * CELLS_A_DEGREE) % CELLS_A_ROW;
}

/** Cells that may hold a point within the circle, ascending; undefined = too many to be worth it. */
export function cellsWithin(center: Point, radiusMeters: number): readonly number[] | undefined {
  // A little wider than the formula says: rounding must not lose a point on the edge.
  const latReach = (radiusMeters / EARTH_RADIUS_METERS / RADIANS) * 1.000001 + 1e-9;
  const [south, north] = [center.lat - latReach, center.lat + latReach];
  if (south <= -90 || north >= 90) return undefined;
  const widest = Math.sin(latReach * RADIANS) / Math.cos(center.lat * RADIANS);
  if (widest >= 1) return undefined;
  const lonReach = Math.asin(widest) / RADIANS + 1e-9;
  if (lonReach >= 180 - 1 / CELLS_A_DEGREE) return undefined;
  const first = Math.floor((center.lon - lonReach + 180) * CELLS_A_DEGREE);
  const last = Math.floor((center.lon + lonReach + 180) * CELLS_A_DEGREE);
  const [bottom, top] = [rowOf(south), rowOf(north)];
  if ((last - first + 1) * (top - bottom + 1) > MOST_CELLS) return undefined;
  const cells = new Set<number>();
  for (let row = bottom; row <= top; row++) {
    for (let column = first; column <= last; column++) {
      cells.add(row * CELLS_A_ROW + (((column % CELLS_A_ROW) + CELLS_A_ROW) % CELLS_A_ROW));
    }
  }
  return [...cells].sort((a, b) => a - b);
}
