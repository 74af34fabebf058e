/** A doubly linked list: the order is that of `append`, and anything leaves it in constant time. */
export interface Link<T> {
  readonly value: T;
}

interface Node<T> extends Link<T> {
  before: Node<T> | undefined;
  after: Node<T> | undefined;
}

export class LinkedList<T> {
  #first: Node<T> | undefined;
  #last: Node<T> | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What was appended first of all that is left. */
  get first(): T | undefined {
    return this.#first?.value;
  }

  /** From the first on; nothing may be appended or removed meanwhile. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let node = this.#first; node !== undefined; node = node.after) yield node.value;
  }

  /** @returns what `remove` wants. */
  append(value: T): Link<T> {
    const node: Node<T> = { value, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = node;
    else this.#last.after = node;
    this.#last = node;
    this.#length++;
    return node;
  }

  /** @param link of an `append` to this list, once. */
  remove(link: Link<T>): void {
    const node = link as Node<T>;
    if (node.before === undefined) this.#first = node.after;
    else node.before.after = node.after;
    if (node.after === undefined) this.#last = node.before;
    else node.after.before = node.before;
    this.#length--;
  }
}
