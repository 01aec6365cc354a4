//! The plain form, in which nearly all messages are written, read in one pass and with few allocations.
//!
//! Plain is: an object of nothing but the contract's fields and unknown ones with simple values, each of the contract's at most once; strings
//! without escapes; numbers without exponents and of few digits. Whatever else a message is, and whatever rule it breaks, is left to
//! the decoder of every form. So the two must agree on each message that is plain: a test compares them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::scanner::Scanner;
use crate::domain::{
    event::{
        Event, MAX_LATENCY_MS, MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, MAX_TEXT_CHARS, MAX_TOKENS, Metadata, Rules,
        Status,
    },
    money::{self, Cents},
    timestamp,
};

/// Digits in front of the point of a plain amount: with the decimals that are kept it fits 64 bits.
const WHOLE_DIGITS: usize = 6;
/// Most pairs of plain metadata.
const MOST_PAIRS: usize = 16;

/// The event that a plain message is; `None` where it is not plain, or no event.
pub(super) fn read(body: &[u8], rules: &Rules) -> Option<Event> {
    if body.len() > MAX_MESSAGE_BYTES {
        return None;
    }
    let mut scanner = Scanner::new(std::str::from_utf8(body).ok()?);
    let mut fields = Fields::default();
    scanner.skip_blanks();
    scanner.members(|scanner, name| fields.take(name, scanner, rules))?;
    scanner.skip_blanks();
    if scanner.at() == body.len() { fields.event() } else { None }
}

/// What has come so far. An inner `None` is a null.
#[derive(Default)]
struct Fields<'a> {
    event_id: Option<Uuid>,
    org_id: Option<Uuid>,
    model_id: Option<Uuid>,
    actor_id: Option<Option<Uuid>>,
    client_id: Option<&'a str>,
    occurred_at: Option<DateTime<Utc>>,
    status: Option<Status>,
    error_code: Option<Option<&'a str>>,
    latency_ms: Option<u32>,
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
    cost: Option<Cents>,
    metadata: Option<Metadata>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &str, scanner: &mut Scanner<'a>, rules: &Rules) -> Option<()> {
        match name {
            "eventId" => once(&mut self.event_id, scanner.uuid()?),
            "orgId" => once(&mut self.org_id, scanner.uuid()?),
            "modelId" => once(&mut self.model_id, scanner.uuid()?),
            "actorId" => once(&mut self.actor_id, scanner.or_null(Scanner::uuid)?),
            "clientId" => once(&mut self.client_id, scanner.short_text()?),
            "occurredAt" => once(&mut self.occurred_at, scanner.time(rules)?),
            "status" => once(&mut self.status, scanner.status()?),
            "errorCode" => once(&mut self.error_code, scanner.or_null(Scanner::short_text)?),
            "latencyMs" => once(&mut self.latency_ms, scanner.integer(MAX_LATENCY_MS)?),
            "inputTokens" => once(&mut self.input_tokens, scanner.integer(MAX_TOKENS)?),
            "outputTokens" => once(&mut self.output_tokens, scanner.integer(MAX_TOKENS)?),
            "costEstimateCents" => once(&mut self.cost, scanner.amount()?),
            "metadata" => once(&mut self.metadata, scanner.metadata()?),
            _ => scanner.skip_simple(),
        }
    }

    fn event(self) -> Option<Event> {
        Some(Event {
            event_id: self.event_id?,
            org_id: self.org_id?,
            model_id: self.model_id?,
            actor_id: self.actor_id.flatten(),
            client_id: self.client_id.map(str::to_owned),
            occurred_at: self.occurred_at?,
            status: self.status?,
            error_code: self.error_code.flatten().map(str::to_owned),
            latency_ms: self.latency_ms?,
            input_tokens: self.input_tokens?,
            output_tokens: self.output_tokens?,
            cost_estimate_cents: self.cost?,
            metadata: self.metadata,
        })
    }
}

/// A field that comes again makes the message one that is not plain.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

impl<'a> Scanner<'a> {
    /// A string of which no one needs to count the characters.
    fn short_text(&mut self) -> Option<&'a str> {
        self.string().filter(|text| text.len() <= MAX_TEXT_CHARS)
    }

    fn or_null<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.peek()? == b'n' { self.literal("null").map(|()| None) } else { read(self).map(Some) }
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.expect(b'"')?;
        let id = Uuid::try_parse_ascii(self.bytes(uuid::fmt::Hyphenated::LENGTH)?).ok()?;
        self.expect(b'"').map(|()| id)
    }

    fn time(&mut self, rules: &Rules) -> Option<DateTime<Utc>> {
        let at = timestamp::occurred(self.string()?)?;
        (at <= rules.now + rules.max_ahead && at >= rules.now - rules.retention).then_some(at)
    }

    fn status(&mut self) -> Option<Status> {
        self.string()?.parse().ok()
    }

    /// The whole part of a number, of at most so many digits.
    fn whole(&mut self, most: usize) -> Option<u64> {
        let digits = self.digits();
        let is_plain = (1..=most).contains(&digits.len()) && (digits[0] != b'0' || digits.len() == 1);
        is_plain.then(|| number(digits))
    }

    /// A number ends here.
    fn ends(&self) -> Option<()> {
        (!matches!(self.peek(), Some(b'.' | b'e' | b'E'))).then_some(())
    }

    fn integer(&mut self, max: u32) -> Option<u32> {
        let value = self.whole(10)?;
        self.ends()?;
        u32::try_from(value).ok().filter(|value| *value <= max)
    }

    fn amount(&mut self) -> Option<Cents> {
        let mut units = self.whole(WHOLE_DIGITS)?;
        let mut missing = money::SCALE;
        if self.expect(b'.').is_some() {
            let digits = self.digits();
            missing = missing.checked_sub(u32::try_from(digits.len()).ok().filter(|count| *count > 0)?)?;
            units = units * 10_u64.pow(money::SCALE - missing) + number(digits);
        }
        self.ends()?;
        Some(Cents::from_units(i128::from(units * 10_u64.pow(missing))))
    }

    fn metadata(&mut self) -> Option<Metadata> {
        let start = self.at();
        let (mut pairs, mut count) = ([("", ""); MOST_PAIRS], 0);
        self.members(|scanner, name| {
            *pairs.get_mut(count)? = (name, scanner.string()?);
            count += 1;
            Some(())
        })?;
        let written = self.since(start).filter(|text| text.len() <= MAX_METADATA_BYTES)?;
        let pairs = &mut pairs[..count];
        // Quotes, colon and comma of each pair, and one brace more than there are commas.
        let compact = pairs.iter().map(|(name, value)| name.len() + value.len() + 6).sum::<usize>() + 1;
        if written.len() == compact.max(2) && pairs.is_sorted_by(|one, next| one.0 < next.0) {
            return Some(Metadata::from_compact(written));
        }
        pairs.sort_unstable();
        if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
            return None;
        }
        let mut text = String::with_capacity(compact);
        for (name, value) in pairs {
            text.push(if text.is_empty() { '{' } else { ',' });
            for part in ["\"", name, "\":\"", value, "\""] {
                text.push_str(part);
            }
        }
        text.push_str(if text.is_empty() { "{}" } else { "}" });
        Some(Metadata::from_compact(&text))
    }

    /// The value of an unknown field, if it is a plain string or number, or a literal.
    fn skip_simple(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'n' => self.literal("null"),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            _ => {
                let _ = self.expect(b'-');
                self.whole(usize::MAX)?;
                if self.expect(b'.').is_some() && self.digits().is_empty() {
                    return None;
                }
                self.ends()
            }
        }
    }
}

/// Of at most 19 digits.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
