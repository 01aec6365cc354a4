//! Values of AMQP 1.0, read from borrowed bytes without building them.
//!
//! Source: OASIS AMQP 1.0, part 1, sections 1.2 (encodings) and 1.6 (types). The first four bits of a constructor say how long its
//! value is, for types to come as well, so that every value can be passed over, compound ones at once.

/// Bytes of which one value after the other is read.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    pub rest: &'a [u8],
}

/// A value of which only the extent is known so far.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// Its constructor; 0 of a described value.
    pub code: u8,
    bytes: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    /// The next value; `None` where the bytes end, within it or before it, or are no value.
    fn next(&mut self) -> Option<Value<'a>> {
        let value = self.undescribed()?;
        // A descriptor and a value, each of which may be described again: counted, so that nothing is as deep as a sender likes.
        let mut missing = if value.code == 0 { 2_usize } else { 0 };
        while missing > 0 {
            missing -= 1;
            if self.undescribed()?.code == 0 {
                missing += 2;
            }
        }
        Some(value)
    }
}

impl<'a> Values<'a> {
    /// A value, or the mark that a descriptor and a value follow.
    fn undescribed(&mut self) -> Option<Value<'a>> {
        let (&code, rest) = self.rest.split_first()?;
        let (length, rest) = match code >> 4 {
            0 if code == 0 => (0, rest),
            0x4 => (0, rest),
            0x5 => (1, rest),
            0x6 => (2, rest),
            0x7 => (4, rest),
            0x8 => (8, rest),
            0x9 => (16, rest),
            0xa | 0xc | 0xe => {
                let (&length, rest) = rest.split_first()?;
                (usize::from(length), rest)
            }
            0xb | 0xd | 0xf => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u32::from_be_bytes(*length)).ok()?, rest)
            }
            _ => return None,
        };
        let (bytes, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Value { code, bytes })
    }
}

impl<'a> Value<'a> {
    pub fn binary(self) -> Option<&'a [u8]> {
        matches!(self.code, 0xa0 | 0xb0).then_some(self.bytes)
    }

    /// The bytes of a string or symbol.
    pub fn text(self) -> Option<&'a [u8]> {
        matches!(self.code, 0xa1 | 0xb1 | 0xa3 | 0xb3).then_some(self.bytes)
    }

    /// An integer of any width, or the milliseconds of a timestamp.
    pub fn integer(self) -> Option<i64> {
        match (self.code, self.bytes) {
            (0x43 | 0x44, _) => Some(0),
            (0x50 | 0x52 | 0x53, &[byte]) => Some(i64::from(byte)),
            (0x51 | 0x54 | 0x55, &[byte]) => Some(i64::from(byte.cast_signed())),
            (0x60, &[a, b]) => Some(i64::from(u16::from_be_bytes([a, b]))),
            (0x61, &[a, b]) => Some(i64::from(i16::from_be_bytes([a, b]))),
            (0x70, bytes) => Some(i64::from(u32::from_be_bytes(bytes.try_into().ok()?))),
            (0x71, bytes) => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
            (0x80, bytes) => i64::try_from(u64::from_be_bytes(bytes.try_into().ok()?)).ok(),
            (0x81 | 0x83, bytes) => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
            _ => None,
        }
    }

    /// What is in a list, or the keys and values of a map in turn.
    pub fn items(self) -> Option<Values<'a>> {
        let count = match self.code {
            0x45 => 0,
            0xc0 | 0xc1 => 1,
            0xd0 | 0xd1 => 4,
            _ => return None,
        };
        Some(Values { rest: self.bytes.get(count..)? })
    }

    /// Its type in the words of the standard.
    pub fn kind(self) -> &'static str {
        match self.code {
            0x00 => "described value",
            0x40 => "null",
            0x41 | 0x42 | 0x56 => "boolean",
            0xa0 | 0xb0 => "binary",
            0xa1 | 0xb1 => "string",
            0xa3 | 0xb3 => "symbol",
            0x45 | 0xc0 | 0xd0 => "list",
            0xc1 | 0xd1 => "map",
            0xe0 | 0xf0 => "array",
            _ => "number, time or id",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(bytes: &[u8]) -> Values<'_> {
        Values { rest: bytes }
    }

    /// Every constructor of the standard, with a value of its length.
    const ALL: &[&[u8]] = &[
        &[0x40],
        &[0x41],
        &[0x42],
        &[0x43],
        &[0x44],
        &[0x45],
        &[0x50, 1],
        &[0x51, 1],
        &[0x52, 1],
        &[0x53, 1],
        &[0x54, 1],
        &[0x55, 1],
        &[0x56, 1],
        &[0x60, 1, 2],
        &[0x61, 1, 2],
        &[0x70, 1, 2, 3, 4],
        &[0x71, 1, 2, 3, 4],
        &[0x72, 0x7f, 0xc0, 0, 0],
        &[0x73, 0, 0, 0, 97],
        &[0x74, 1, 2, 3, 4],
        &[0x80, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x81, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x82, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
        &[0x83, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x84, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x94, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x98, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xa0, 2, 1, 2],
        &[0xa1, 2, b'a', b'b'],
        &[0xa3, 2, b'a', b'b'],
        &[0xb0, 0, 0, 0, 2, 1, 2],
        &[0xb1, 0, 0, 0, 2, b'a', b'b'],
        &[0xb3, 0, 0, 0, 2, b'a', b'b'],
        &[0xc0, 3, 1, 0x50, 7],
        &[0xc1, 5, 2, 0x50, 7, 0x50, 8],
        &[0xd0, 0, 0, 0, 6, 0, 0, 0, 1, 0x50, 7],
        &[0xd1, 0, 0, 0, 8, 0, 0, 0, 2, 0x50, 7, 0x50, 8],
        &[0xe0, 4, 2, 0x50, 7, 8],
        &[0xf0, 0, 0, 0, 7, 0, 0, 0, 2, 0x50, 7, 8],
        &[0x00, 0x53, 0x24, 0x45],
        &[0x00, 0xa3, 1, b'x', 0x00, 0x53, 1, 0xc1, 1, 0],
        &[0x00, 0x00, 0x53, 1, 0x40, 0x00, 0x53, 2, 0x41],
    ];

    #[test]
    fn every_type_is_passed_over() {
        for value in ALL {
            let bytes = [value, &[0x50, 42][..]].concat();
            let mut values = values(&bytes);
            assert!(values.next().is_some(), "{value:02x?}");
            assert_eq!(values.next().and_then(Value::integer), Some(42), "{value:02x?}");
            assert!(values.next().is_none());
        }
    }

    #[test]
    fn a_value_cut_short_is_none() {
        for value in ALL {
            for length in 0..value.len() {
                assert!(values(&value[..length]).next().is_none(), "{value:02x?} cut to {length}");
            }
        }
        for code in [0x01, 0x10, 0x3f] {
            assert!(values(&[code, 0, 0, 0]).next().is_none(), "{code:02x}");
        }
        assert!(values(&[0xb0, 0xff, 0xff, 0xff, 0xff, 1]).next().is_none());
    }

    #[test]
    fn descriptors_of_descriptors_need_no_stack() {
        assert!(values(&[0; 1 << 20]).next().is_none());
        // 100,000 values, each described by the next.
        let nested = [vec![0; 100_000], vec![0x40; 100_001]].concat();
        let mut values = values(&nested);
        assert_eq!(values.next().map(|value| value.code), Some(0));
        assert!(values.rest.is_empty());
    }

    #[test]
    fn integers_of_every_width_are_read() {
        let read = |bytes: &[u8]| values(bytes).next().and_then(Value::integer);
        assert_eq!(read(&[0x43]), Some(0));
        assert_eq!(read(&[0x52, 200]), Some(200));
        assert_eq!(read(&[0x55, 0xff]), Some(-1));
        assert_eq!(read(&[0x60, 0xff, 0xff]), Some(65_535));
        assert_eq!(read(&[0x61, 0xff, 0xfe]), Some(-2));
        assert_eq!(read(&[0x70, 0xff, 0xff, 0xff, 0xff]), Some(4_294_967_295));
        assert_eq!(read(&[0x71, 0xff, 0xff, 0xff, 0xff]), Some(-1));
        assert_eq!(read(&[0x83, 0, 0, 1, 0x9a, 0, 0, 0, 0]), Some(0x019a_0000_0000));
        assert_eq!(read(&[0x80, 0xff, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(read(&[0xa1, 1, b'1']), None);
    }
}
