import test from 'ava';
import { LinkedList } from '#src/lib/linked-list.js';

/** Everything in a list, which is empty then. */
function take<T>(list: LinkedList<T>, links: Map<T, ReturnType<LinkedList<T>['append']>>): T[] {
  const out: T[] = [];
  for (let first = list.first; first !== undefined; first = list.first) {
    out.push(first);
    list.remove(links.get(first)!);
  }
  return out;
}

test('a list keeps the order of what is left, wherever something leaves', (t) => {
  for (const gone of [1, 2, 3, 4]) {
    const list = new LinkedList<number>();
    const links = new Map([1, 2, 3, 4].map((n) => [n, list.append(n)]));
    list.remove(links.get(gone)!);
    t.is(list.length, 3);
    links.set(5, list.append(5));
    t.deepEqual(
      take(list, links),
      [1, 2, 3, 4, 5].filter((n) => n !== gone),
    );
    t.deepEqual([list.length, list.first], [0, undefined]);
    list.append(6);
    t.is(list.first, 6);
  }
});
