// Decimals: exact from the JSON text to the screen.
import { add, change, Decimal, hundredthOf, prettyJson, readJson, subtract } from '../js/money.js';

const LARGE = '9007199254740993.000000000001';

export default equal => ({
  a_decimal_keeps_every_digit() {
    for (const text of ['0', '1056.5044', '-0.000000000001', LARGE, '123456789012345678901234567890'])
      equal(Decimal.of(text).toString(), text);
    equal(Decimal.of('1e3').toString(), '1000');
    equal(Decimal.of('12.50E-2').toString(), '0.125');
  },
  a_hundredth_has_every_digit() {
    for (const [text, wanted] of [['0', '0.00'], ['7', '0.07'], ['-0.000000000001', '-0.00000000000001'], ['1056.5044', '10.565044'], [LARGE, '90071992547409.93000000000001']])
      equal(hundredthOf(text), wanted);
  },
  beyond_twelve_places_it_rounds_half_to_even() {
    equal(Decimal.of('0.0000000000005').toString(), '0');
    equal(Decimal.of('0.0000000000015').toString(), '0.000000000002');
    equal(Decimal.of('0.00000000000051').toString(), '0.000000000001');
  },
  sums_are_exact() {
    equal(Decimal.sum(['0.1', '0.2'].map(Decimal.of)).toString(), '0.3');
    equal(Decimal.of(LARGE).plus(Decimal.of('0.000000000001')).toString(), '9007199254740993.000000000002');
    equal(subtract(Decimal.of('1'), Decimal.of('0.9')).toString(), '0.1');
    equal(add(2, 3), 5);
    equal(add(Number.MAX_SAFE_INTEGER, 2).toString(), '9007199254740993');
  },
  places_are_fixed_by_rounding_half_to_even() {
    equal(Decimal.of('2.345').toFixed(2), '2.34');
    equal(Decimal.of('2.355').toFixed(2), '2.36');
    equal(Decimal.of('-0.005').toFixed(2), '0.00');
    equal(Decimal.of('7').toFixed(2), '7.00');
  },
  money_of_json_is_never_a_double() {
    const text = `{"costEstimateCents": ${LARGE}, "invocations": 12, "note": "costEstimateCents: 1.5", "series": [{"costEstimateCents": 3, "errorRate": 0.1}], "inputTokens": 9007199254740993}`;
    for (const sources of [true, false]) {
      if (sources && !hasSources()) continue;
      const found = readJson(text, { sources });
      equal(found.costEstimateCents.toString(), LARGE);
      equal(found.series[0].costEstimateCents.toString(), '3');
      equal([found.invocations, found.series[0].errorRate, found.note], [12, 0.1, 'costEstimateCents: 1.5']);
      equal(found.inputTokens.toString(), '9007199254740993');
    }
  },
  hostile_texts_of_json_stay_texts() {
    const text = JSON.stringify({ name: '"costEstimateCents": 1.5, \\" <img onerror=x>', other: 'a:1 \u202e😀' });
    equal(readJson(text, { sources: false }), JSON.parse(text));
  },
  pretty_json_keeps_numbers_as_written() {
    equal(prettyJson('{"a":1.50,"b":[1e3,{}],"c":"x:{,"}'), '{\n  "a": 1.50,\n  "b": [\n    1e3,\n    {}\n  ],\n  "c": "x:{,"\n}');
    equal(prettyJson('{"a":'), '{"a":');
  },
  a_change_from_nothing_has_no_percentage() {
    equal(change(0, 5), null);
    equal(change(Decimal.of('2'), Decimal.of('3')), 0.5);
  },
});

function hasSources() {
  let found;
  JSON.parse('1.0', (_, value, context) => {
    found = context?.source;
    return value;
  });
  return found === '1.0';
}
