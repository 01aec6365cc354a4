# Adds up a spreadsheet that was saved as flat OpenDocument XML; its path is the argument.
import json, sys, xml.etree.ElementTree as tree
from decimal import Decimal
T, O, X = ('{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}' % n for n in ('table', 'office', 'text'))
rows, formulas = [], 0
for row in tree.parse(sys.argv[1]).iter(T + 'table-row'):
    cells = []
    for cell in row.iter(T + 'table-cell'):
        formulas += (T + 'formula') in cell.attrib
        value = cell.get(O + 'value') or ''.join(p.text or '' for p in cell.iter(X + 'p'))
        cells += [(cell.get(O + 'value-type'), value)] * min(int(cell.get(T + 'number-columns-repeated', 1)), 100)
    if cells and cells[0][1]:
        rows += [cells] * min(int(row.get(T + 'number-rows-repeated', 1)), 100)
names = [value for _, value in rows[0]]
at = names.index
body = rows[1:]
text = names[13]
print(json.dumps({'rows': len(body), 'formulas': formulas,
    'invocations': sum(int(r[at('invocations')][1]) for r in body),
    'cost': str(sum(Decimal(r[at('cost_estimate_cents')][1]) for r in body)),
    'texts': sorted({r[at(text)][1] for r in body if len(r) > 13})}))
