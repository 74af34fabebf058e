/** Growth laws: y = a + b x by least squares, and y = c x^k by least squares of the logarithms. */
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

function leastSquares(points: readonly Point[]): { a: number; b: number } {
  const n = points.length;
  const mx = points.reduce((s, p) => s + p.x, 0) / n;
  const my = points.reduce((s, p) => s + p.y, 0) / n;
  const sxx = points.reduce((s, p) => s + (p.x - mx) ** 2, 0);
  const sxy = points.reduce((s, p) => s + (p.x - mx) * (p.y - my), 0);
  const b = sxx === 0 ? 0 : sxy / sxx;
  return { a: my - b * mx, b };
}

function worst(points: readonly Point[], law: (x: number) => number): number {
  return Math.max(...points.map((p) => Math.abs(law(p.x) - p.y) / Math.max(1e-9, Math.abs(p.y))));
}

export function fitLine(points: readonly Point[]): Line {
  const { a, b } = leastSquares(points);
  return { a, b, worst: worst(points, (x) => a + b * x) };
}

/** Points with y = 0 have no logarithm and are left out. */
export function fitPower(points: readonly Point[]): Power {
  const usable = points.filter((p) => p.y > 0);
  const { a, b } = leastSquares(usable.map((p) => ({ x: Math.log(p.x), y: Math.log(p.y) })));
  const c = Math.exp(a);
  return { c, k: b, worst: worst(usable, (x) => c * x ** b) };
}
