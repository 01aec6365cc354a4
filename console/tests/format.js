// Numbers for people.
import { exactMoney, money, moneyChange } from '../js/format.js';
import { Decimal } from '../js/money.js';

const cents = text => Decimal.of(text);

export default equal => ({
  a_small_change_of_money_is_seen_with_every_digit() {
    equal([money(cents('0.0004')), exactMoney(cents('0.0004'))], ['0.00 ¢', '0.0004 ¢']);
    equal([moneyChange(cents('0.0004'), exactMoney), moneyChange(cents('-1.5'), exactMoney)], ['+0.0004 ¢', '−1.5 ¢']);
    equal([moneyChange(cents('0.0004')), moneyChange(cents('0'))], ['+0.00 ¢', '0.00 ¢']);
  },
});
