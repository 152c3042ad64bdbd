import { describe, expect, it } from "vitest";
import { Random } from "../../../test/simulation/random.ts";
import { cellOf, cellsWithin, distanceMeters } from "./geo.ts";
import type { Point } from "./values.ts";

const CENTERS: readonly Point[] = [
  { lat: 52.52, lon: 13.405 },
  { lat: 0, lon: 180 },
  { lat: -17.8, lon: -179.99 },
  { lat: 89.5, lon: 20 },
  { lat: -90, lon: 0 },
  { lat: 71.2, lon: -156.7 },
];

describe("places", () => {
  it("[VE-60] distances: Berlin to Potsdam, half the earth, across the date line", () => {
    expect(distanceMeters({ lat: 52.52, lon: 13.405 }, { lat: 52.39, lon: 13.06 }) / 1000).toBeCloseTo(27.5, 0);
    expect(distanceMeters({ lat: 90, lon: 0 }, { lat: -90, lon: 50 }) / 1000).toBeCloseTo(20_015, 0);
    expect(distanceMeters({ lat: 0, lon: 179.5 }, { lat: 0, lon: -179.5 }) / 1000).toBeCloseTo(111.2, 1);
  });

  it.each(CENTERS)("[VE-60] no point of a circle around %j is in another cell", (center) => {
    const random = new Random(Math.round(center.lat * 1000 + center.lon));
    let cellCount = 0;
    for (let round = 0; round < 3000; round++) {
      const radiusMeters = random.pick([0, 100, 30_000, 100_000, 400_000]);
      // Around the edge of the circle, where a cell too few would show.
      const reach = (radiusMeters / 111_195) * (0.9 + random.between(0, 200) / 1000);
      const angle = (random.between(0, 3600) / 1800) * Math.PI;
      const lat = center.lat + reach * Math.sin(angle);
      const squeeze = Math.max(1e-6, Math.cos((lat * Math.PI) / 180));
      const lon = ((((center.lon + (reach * Math.cos(angle)) / squeeze + 180) % 360) + 360) % 360) - 180;
      if (Math.abs(lat) > 90 || distanceMeters(center, { lat, lon }) > radiusMeters) continue;
      const cells = cellsWithin(center, radiusMeters);
      if (!cells) continue;
      cellCount += cells.length;
      expect(cells, JSON.stringify({ lat, lon, radiusMeters })).toContain(cellOf({ lat, lon }));
    }
    if (Math.abs(center.lat) < 80) expect(cellCount).toBeGreaterThan(0);
  });
});
