// CSV and pasted tables.
import { csv, neutral, tabbed } from '../js/save.js';
import { fileRows } from '../js/parts/table.js';
import { Decimal } from '../js/money.js';

export default equal => ({
  csv_quotes_what_has_to_be_quoted() {
    equal(csv([['a', 'b"c', 'd,e', 'f\ng']]), 'a,"b""c","d,e","f\ng"\r\n');
    equal(csv([[null, undefined, 0, Decimal.of('1.10')]]), ',,0,1.1\r\n');
  },
  a_text_that_looks_like_a_formula_is_neutralised() {
    // As texts_like_formulas_are_neutralised has it of the exports.
    for (const [text, expected] of [
      ['=cmd()', "'=cmd()"],
      ['+1', "'+1"],
      ['-1', "'-1"],
      ['@SUM(A1)', "'@SUM(A1)"],
      ['  =1', "'  =1"],
      ['\u00a0\ufeff=1', "'\u00a0\ufeff=1"],
      ['\u200b=1', "'\u200b=1"],
      ['\t=1', "'\t'=1"],
      ['a;=1', "a;'=1"],
      ['a; =1;b|-2;c|d', "a;' =1;b|'-2;c|d"],
      ['a\t"@x', "a\t'\"@x"],
      ['a;\ufeff"" ＝1', "a;'\ufeff\"\" ＝1"],
      ['two\r\n=lines', "two\r\n'=lines"],
      ['a\u2028=1\u000b+2', "a\u2028'=1\u000b'+2"],
      ['a;b|c\td', 'a;b|c\td'],
      ["a;'=1", "a;'=1"],
      ['\tname', "'\tname"],
      ['\rname', "'\rname"],
      ['\nname', "'\nname"],
      ['＝1', "'＝1"],
      ['web-console', 'web-console'],
      [' a = b', ' a = b'],
      ["'=1", "'=1"],
      ['', ''],
      ['  ', '  '],
      ['é=1', 'é=1'],
    ])
      equal(neutral(text), expected);
    equal(csv([['=1', 'a;b', 'a|b', 'a\tb', 'a b']]), "'=1,\"a;b\",\"a|b\",\"a\tb\",a b\r\n");
    equal(tabbed([['=1', 'a\n=1']]), "'=1\ta '=1");
    equal(csv([[-5, Decimal.of('-1.5')]]), '-5,-1.5\r\n');
  },
  rows_of_a_file_are_added_up_without_counting_twice() {
    const columns = [
      { key: 'name', file: 'clientId', value: row => row.id },
      { key: 'invocations', label: 'Requests', value: row => row.n },
      { key: 'go', label: 'Open', screenOnly: true, value: () => '' },
    ];
    const foot = [
      { kind: 'rest', cells: { name: 'without client', invocations: 2 } },
      { kind: 'total', cells: { name: 'Total', invocations: 5 } },
    ];
    const wanted = [['clientId', 'Requests'], ['a', 3], ['without client', 2]];
    equal(fileRows({ columns, rows: [{ id: 'a', n: 3 }], foot }), wanted);
  },
  pasted_cells_have_no_tab_or_line_break() {
    equal(
      tabbed([
        ['a\tb', 'c\nd'],
        [1, 2],
      ]),
      'a b\tc d\n1\t2',
    );
  },
});
