import test from 'ava';
import { parseAnswer, requestText } from '#src/cli/zt/http.js';

const parse = (text: string, ended = false) => {
  const p = parseAnswer(Buffer.from(text, 'latin1'), ended);
  return typeof p === 'string' ? p : { status: p.status, body: p.body.toString('latin1') };
};

test('a request has its headers in the order of the reference and no others', (t) => {
  t.is(requestText('GET', '/status', 'tok', ''), 'GET /status HTTP/1.1\r\nX-ZT1-Auth: tok\r\n\r\n');
  t.is(
    requestText('DELETE', '/network/1', 'tok', ''),
    'DELETE /network/1 HTTP/1.1\r\nX-ZT1-Auth: tok\r\n\r\n',
  );
  t.is(
    requestText('POST', '/moon/1', 'tok', '{"a":"é"}'),
    'POST /moon/1 HTTP/1.1\r\nContent-Length: 10\r\nContent-Type: application/json\r\nX-ZT1-Auth: tok\r\n\r\n{"a":"é"}',
  );
});

test('an answer with a length is whole when the length is there', (t) => {
  const whole = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}';
  t.deepEqual(parse(whole), { status: 200, body: '{}' });
  t.deepEqual(parse(`${whole}more`), { status: 200, body: '{}' });
  for (let len = 1; len < whole.length; len++) t.is(parse(whole.slice(0, len)), 'more');
  t.is(parse(whole.slice(0, -1), true), 'bad');
});

test('an answer without a length ends with the connection', (t) => {
  t.is(parse('HTTP/1.1 200 OK\r\n\r\n{'), 'more');
  t.deepEqual(parse('HTTP/1.1 200 OK\r\n\r\n{}', true), { status: 200, body: '{}' });
});

test('chunks are joined, extensions and trailers passed over', (t) => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  t.deepEqual(parse(`${head}2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n`), { status: 200, body: 'abcde' });
  t.is(parse(`${head}5\r\nab`), 'more');
  t.is(parse(`${head}zz\r\n`), 'bad');
  t.is(parse(`${head}2\r\nabXX0\r\n`), 'bad');
  t.is(parse(`${head}2\r\nab\r\n`, true), 'bad');
});

test('interim answers are passed over and 204 has no body', (t) => {
  t.deepEqual(parse('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'), {
    status: 200,
    body: '',
  });
  t.deepEqual(parse('HTTP/1.1 204 No Content\r\n\r\n'), { status: 204, body: '' });
});

test('what is no answer is refused as soon as it shows', (t) => {
  t.is(parse('garbage'), 'bad');
  t.is(parse('SSH-2.0\r\n'), 'bad');
  t.is(parse('HTTP/2 200 OK\r\n\r\n'), 'bad');
  t.is(parse('HTTP/1.1 abc\r\n\r\n'), 'bad');
  t.is(parse('HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n'), 'bad');
  t.is(parse('', true), 'bad');
  t.is(parse(''), 'more');
});
