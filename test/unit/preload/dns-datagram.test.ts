/** What of an answer fits into a datagram: RFC 1035 section 4.2.1, RFC 6891. */
import test from 'ava';
import { concatBytes } from '#src/lib/bytes.js';
import { datagramRoom, fitDatagram } from '#src/preload/dns-datagram.js';
import {
  DnsType,
  emitQuery,
  emitReply,
  parseAnswers,
  parseQuestion,
} from '#src/preload/dns-message.js';

/** An OPT record of a sender that takes `room` bytes, with `len` bytes of options. */
function opt(room: number, len = 0): Uint8Array {
  const out = new Uint8Array(11 + len);
  out.set([0, 0, 41, room >> 8, room & 0xff]);
  out.set([len >> 8, len & 0xff], 9);
  return out;
}

/** `message` with one more record in a section: 6 answer, 8 authority, 10 additional. */
function withRecord(message: Uint8Array, section: number, record: Uint8Array): Uint8Array {
  const out = concatBytes(message, record);
  const v = new DataView(out.buffer, out.byteOffset, out.byteLength);
  v.setUint16(section, v.getUint16(section) + 1);
  return out;
}

const counts = (m: Uint8Array): number[] => [6, 8, 10].map((i) => (m[i]! << 8) | m[i + 1]!);
const query = emitQuery(7, 'many.example', DnsType.a)!;
const question = parseQuestion(query)!;
/** 16 bytes each, behind 30 of header and question. */
const answers = (n: number): Uint8Array =>
  emitReply(
    query,
    question,
    0,
    Array.from({ length: n }, (_, i) => Uint8Array.of(10, 1, 1, i)),
  );

test('a question takes 512 bytes, or what its OPT record says, and never less', (t) => {
  t.is(question.end, 30);
  t.is(datagramRoom(query), 512);
  for (const [said, room] of [
    [1232, 1232],
    [512, 512],
    [0, 512],
    [100, 512],
    [65_535, 65_507],
  ] as const)
    t.is(datagramRoom(withRecord(query, 10, opt(said))), room, String(said));
  t.is(datagramRoom(withRecord(query, 10, opt(4096).subarray(0, 8))), 512, 'half a record');
  t.is(datagramRoom(withRecord(query, 6, opt(4096))), 512, 'not an OPT record in its place');
  t.is(datagramRoom(Uint8Array.of(1, 2, 3)), 512);
});

test('an answer that fits is left alone', (t) => {
  const whole = answers(30);
  t.is(whole.length, 510);
  t.is(fitDatagram(whole, 512), whole);
  t.false(parseQuestion(fitDatagram(whole, 510))!.isTruncated);
});

test('a longer one is cut between records and says so', (t) => {
  for (let room = 512; room < 600; room++) {
    const cut = fitDatagram(answers(120), room);
    const kept = Math.floor((room - 30) / 16);
    t.is(cut.length, 30 + 16 * kept);
    t.deepEqual(counts(cut), [kept, 0, 0]);
    t.true(parseQuestion(cut)!.isTruncated);
    t.is(parseQuestion(cut)!.id, 7);
    t.deepEqual([...parseAnswers(cut)!.at(-1)!.data], [10, 1, 1, kept - 1]);
  }
});

test('the OPT record stays, also behind what is cut', (t) => {
  const cut = fitDatagram(withRecord(answers(120), 10, opt(1232)), 512);
  t.deepEqual(counts(cut), [Math.floor((512 - 30 - 11) / 16), 0, 1]);
  t.deepEqual([...cut.subarray(-11)], [...opt(1232)]);
  t.true(parseQuestion(cut)!.isTruncated);
  const large = fitDatagram(withRecord(answers(120), 10, opt(1232, 600)), 512);
  t.deepEqual(counts(large), [30, 0, 0], 'one that does not fit itself is left out');
});

test('additional records may be left out without a word, those of the authority may not', (t) => {
  const record = answers(1).subarray(30);
  const more = (section: number, n: number): Uint8Array =>
    Array.from({ length: n }).reduce<Uint8Array>(
      (m) => withRecord(m, section, record),
      answers(20),
    );
  const additional = fitDatagram(more(10, 40), 512);
  t.deepEqual(counts(additional), [20, 0, 10]);
  t.false(parseQuestion(additional)!.isTruncated);
  const authority = fitDatagram(more(8, 40), 512);
  t.deepEqual(counts(authority), [20, 10, 0]);
  t.true(parseQuestion(authority)!.isTruncated);
});

test('what is malformed is cut where it begins to be', (t) => {
  const bad = answers(120);
  bad[30 + 16 * 3] = 0x40;
  const cut = fitDatagram(bad, 512);
  t.deepEqual(counts(cut), [3, 0, 0]);
  t.true(parseQuestion(cut)!.isTruncated);
  t.is(cut.length, 30 + 16 * 3);
});
