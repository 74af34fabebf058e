/** Growth laws: y = a + b x by least squares of relative errors, y = c x^k by those of logarithms. */
export interface Line {
  readonly a: number;
  readonly b: number;
  /** Largest difference between what was measured and the law, relative to what was measured. */
  readonly worst: number;
}

export interface Power {
  readonly c: number;
  readonly k: number;
  readonly worst: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** @param weight of a point's squared error. */
function leastSquares(
  points: readonly Point[],
  weight: (p: Point) => number,
): { a: number; b: number } {
  const sum = (f: (p: Point) => number): number => points.reduce((s, p) => s + weight(p) * f(p), 0);
  const n = sum(() => 1);
  const mx = sum((p) => p.x) / n;
  const my = sum((p) => p.y) / n;
  const sxx = sum((p) => (p.x - mx) ** 2);
  const sxy = sum((p) => (p.x - mx) * (p.y - my));
  const b = sxx === 0 ? 0 : sxy / sxx;
  return { a: my - b * mx, b };
}

function worst(points: readonly Point[], law: (x: number) => number): number {
  return Math.max(...points.map((p) => Math.abs(law(p.x) - p.y) / Math.max(1e-9, Math.abs(p.y))));
}

export function fitLine(points: readonly Point[]): Line {
  // Sizes differ by orders of magnitude: unweighted, the largest alone would decide.
  const { a, b } = leastSquares(points, (p) => 1 / Math.max(1e-9, p.y ** 2));
  return { a, b, worst: worst(points, (x) => a + b * x) };
}

/** Points with y = 0 have no logarithm and are left out. */
export function fitPower(points: readonly Point[]): Power {
  const usable = points.filter((p) => p.y > 0);
  const { a, b } = leastSquares(
    usable.map((p) => ({ x: Math.log(p.x), y: Math.log(p.y) })),
    () => 1,
  );
  const c = Math.exp(a);
  return { c, k: b, worst: worst(usable, (x) => c * x ** b) };
}
