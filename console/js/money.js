// Exact decimals. Money is never a double: it is read from the JSON text, added as integers and written digit by digit.

const PLACES = 12;
const UNIT = 10n ** BigInt(PLACES);
const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** A hundredth of the decimal in a text, with every digit: `12.345` → `0.12345`. */
export function hundredthOf(text) {
  const [, sign, whole, places = ''] = NUMBER.exec(text);
  const digits = whole.padStart(3, '0');
  return `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}${places}`;
}

/** A decimal with at most twelve places: an integer count of 10^-12. */
export class Decimal {
  constructor(units) {
    this.units = units;
  }

  /** From the text of a JSON number. Places beyond the twelfth are rounded half to even, as the API does. */
  static of(text) {
    const match = NUMBER.exec(text);
    if (!match) throw new TypeError(`not a decimal: ${text}`);
    const [, sign, whole, places = '', exponent = '0'] = match;
    const digits = BigInt(whole + places);
    const shift = PLACES - places.length + Number(exponent);
    const units = shift >= 0 ? digits * 10n ** BigInt(shift) : roundHalfEven(digits, 10n ** BigInt(-shift));
    return new Decimal(sign ? -units : units);
  }

  static zero() {
    return new Decimal(0n);
  }

  static sum(values) {
    return values.reduce((sum, value) => sum.plus(value), Decimal.zero());
  }

  plus(other) {
    return new Decimal(this.units + other.units);
  }

  minus(other) {
    return new Decimal(this.units - other.units);
  }

  /** Moved by powers of ten: cents are hundredths. Exact up to the twelfth place. */
  hundredth() {
    return new Decimal(roundHalfEven(this.units, 100n));
  }

  compare(other) {
    return this.units < other.units ? -1 : this.units > other.units ? 1 : 0;
  }

  get isZero() {
    return this.units === 0n;
  }

  get isNegative() {
    return this.units < 0n;
  }

  /** A double, for the length of bars and for percentages only. */
  toNumber() {
    return Number(this.units) / Number(UNIT);
  }

  /** Exact, without trailing zeros. */
  toString() {
    const size = this.isNegative ? -this.units : this.units;
    const places = String(size % UNIT)
      .padStart(PLACES, '0')
      .replace(/0+$/, '');
    return `${this.isNegative ? '-' : ''}${size / UNIT}${places && '.'}${places}`;
  }

  /** With a fixed number of places, rounded half to even. */
  toFixed(places) {
    const step = 10n ** BigInt(PLACES - places);
    const text = new Decimal(roundHalfEven(this.units, step) * step).toString();
    const [whole, rest = ''] = text.split('.');
    return places ? `${whole}.${rest.padEnd(places, '0')}` : whole;
  }

  toJSON() {
    return this.toString();
  }
}

function roundHalfEven(value, step) {
  const sign = value < 0n ? -1n : 1n;
  const size = value * sign;
  const [quotient, rest] = [size / step, (size % step) * 2n];
  const up = rest > step || (rest === step && quotient % 2n === 1n);
  return sign * (up ? quotient + 1n : quotient);
}

/** The number of a measure, whatever it is kept as: for drawing. */
export const plain = value => (value instanceof Decimal ? value.toNumber() : Number(value ?? 0));

/** Adds what may be decimals or integers. */
export function add(a, b) {
  if (a instanceof Decimal || b instanceof Decimal) return decimal(a).plus(decimal(b));
  const sum = a + b;
  return Number.isSafeInteger(sum) || !Number.isInteger(sum) ? sum : decimal(a).plus(decimal(b));
}

export function subtract(a, b) {
  return a instanceof Decimal || b instanceof Decimal ? decimal(a).minus(decimal(b)) : a - b;
}

const decimal = value => (value instanceof Decimal ? value : new Decimal(BigInt(value ?? 0) * UNIT));

/** The change from one measure to another as a fraction; null where there was nothing before. */
export function change(before, after) {
  const [from, to] = [plain(before), plain(after)];
  return from === 0 ? null : (to - from) / from;
}

const MONEY = new Set(['costEstimateCents']);
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
// No text of the API has a NUL.
const MARK = '\u0000decimal:';

/** Whether a number has to be a decimal: money, and integers that a double cannot hold. */
const isDecimal = (key, text) => MONEY.has(key) || (/^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text)));

/** Reads JSON. Money, and integers that are too large for a double, are decimals of the digits in the text. */
export function readJson(text, { sources = hasSources() } = {}) {
  if (sources) {
    return JSON.parse(text, (key, value, context) =>
      typeof value === 'number' && isDecimal(key, context.source) ? Decimal.of(context.source) : value,
    );
  }
  let key = '';
  const marked = text.replace(TOKEN, (token, at) => {
    if (token[0] !== '"') return isDecimal(key, token) ? `"\\u0000decimal:${token}"` : token;
    if (/^\s*:/.test(text.slice(at + token.length, at + token.length + 8))) key = JSON.parse(token);
    return token;
  });
  return JSON.parse(marked, (_, value) =>
    typeof value === 'string' && value.startsWith(MARK) ? Decimal.of(value.slice(MARK.length)) : value,
  );
}

let sources;
/** Whether the browser gives a reviver the text of each number. */
function hasSources() {
  sources ??= (() => {
    let seen = false;
    JSON.parse('1', (_, value, context) => {
      seen = context?.source === '1';
      return value;
    });
    return seen;
  })();
  return sources;
}

/** JSON with line breaks, its numbers and strings as they are written; what is no JSON stays as it is. */
export function prettyJson(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  return tokens
    .map((token, n) => {
      const [before, after] = [tokens[n - 1], tokens[n + 1]];
      if (token === '{' || token === '[') {
        if (after === '}' || after === ']') return token;
        depth += 1;
        return token + line();
      }
      if (token === '}' || token === ']') {
        if (before === '{' || before === '[') return token;
        depth -= 1;
        return line() + token;
      }
      return token === ',' ? token + line() : token === ':' ? ': ' : token;
    })
    .join('');
}
