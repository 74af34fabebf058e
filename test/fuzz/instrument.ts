/**
 * Counts how often each block of a module runs: `instrument` puts `__c[n]++` into every function,
 * branch, loop body, case and right side of a logical operator of compiled JavaScript. Only text is
 * inserted, no line is added, so stack traces keep their lines.
 */
import ts from 'typescript';

interface Edit {
  readonly pos: number;
  readonly text: string;
  /** Ends of what was opened earlier come first, innermost first. */
  readonly rank: number;
}

const LOGICAL: ReadonlySet<ts.SyntaxKind> = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

class Instrumenter {
  readonly #file: ts.SourceFile;
  readonly #first: number;
  readonly #edits: Edit[] = [];
  /** By counter: the counter of the function around it; a function's own is its first. */
  readonly owners: number[] = [];
  #function = -1;

  constructor(source: string, first: number) {
    this.#file = ts.createSourceFile('m.js', source, ts.ScriptTarget.ES2022, true);
    this.#first = first;
    this.#visit(this.#file);
  }

  #counter(): string {
    const n = this.owners.length;
    this.owners.push(this.#function < 0 ? n : this.#function);
    return `__c[${this.#first + n}]++`;
  }

  #insert(pos: number, text: string): void {
    this.#edits.push({ pos, text, rank: this.#edits.length });
  }

  #wrap(node: ts.Node, open: string, close: string): void {
    this.#insert(node.getStart(this.#file), open);
    this.#edits.push({ pos: node.end, text: close, rank: -this.#edits.length });
  }

  #statement(node: ts.Statement): void {
    if (ts.isBlock(node)) this.#insert(node.getStart(this.#file) + 1, `${this.#counter()};`);
    else this.#wrap(node, `{${this.#counter()};`, '}');
  }

  #expression(node: ts.Expression): void {
    this.#wrap(node, `(${this.#counter()},`, ')');
  }

  #visit(node: ts.Node): void {
    if (ts.isFunctionLike(node)) {
      this.#functionLike(node);
      return;
    }
    if (ts.isIfStatement(node)) {
      this.#statement(node.thenStatement);
      if (node.elseStatement !== undefined) this.#statement(node.elseStatement);
    } else if (ts.isIterationStatement(node, false)) this.#statement(node.statement);
    else if (ts.isCaseOrDefaultClause(node)) this.#clause(node);
    else if (ts.isConditionalExpression(node)) {
      this.#expression(node.whenTrue);
      this.#expression(node.whenFalse);
    } else if (ts.isBinaryExpression(node) && LOGICAL.has(node.operatorToken.kind))
      this.#expression(node.right);
    else if (ts.isTryStatement(node) && node.catchClause !== undefined)
      this.#statement(node.catchClause.block);
    ts.forEachChild(node, (c) => this.#visit(c));
  }

  #functionLike(node: ts.SignatureDeclaration): void {
    const body = (node as ts.FunctionLikeDeclaration).body;
    const outer = this.#function;
    if (body !== undefined) {
      this.#function = -1;
      const own = this.owners.length;
      if (ts.isBlock(body)) this.#statement(body);
      else this.#expression(body);
      this.#function = own;
    }
    ts.forEachChild(node, (c) => this.#visit(c));
    this.#function = outer;
  }

  #clause(node: ts.CaseOrDefaultClause): void {
    const first = node.statements[0];
    if (first !== undefined) this.#insert(first.getStart(this.#file), `${this.#counter()};`);
  }

  apply(source: string): string {
    const sorted = [...this.#edits].sort((a, b) => a.pos - b.pos || a.rank - b.rank);
    let out = '';
    let at = 0;
    for (const e of sorted) {
      out += source.slice(at, e.pos) + e.text;
      at = e.pos;
    }
    return out + source.slice(at);
  }
}

/** Instrumented text whose counters begin at `first`, and of each counter its function's, from 0. */
export function instrument(source: string, first: number): { source: string; owners: number[] } {
  const work = new Instrumenter(source, first);
  return { source: work.apply(source), owners: work.owners };
}
