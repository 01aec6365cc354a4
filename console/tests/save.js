// CSV and pasted tables.
import { csv, tabbed } from '../js/save.js';
import { Decimal } from '../js/money.js';

export default equal => ({
  csv_quotes_what_has_to_be_quoted() {
    equal(csv([['a', 'b"c', 'd,e', 'f\ng']]), 'a,"b""c","d,e","f\ng"\r\n');
    equal(csv([[null, undefined, 0, Decimal.of('1.10')]]), ',,0,1.1\r\n');
  },
  a_text_that_looks_like_a_formula_is_neutralised() {
    equal(csv([['=1+1', '+x', '-x', '@x', '\tx']]), "'=1+1,'+x,'-x,'@x,'\tx\r\n");
    equal(csv([[-5, Decimal.of('-1.5')]]), '-5,-1.5\r\n');
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
